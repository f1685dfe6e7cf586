"""Events that are packed once and stamped by patching bytes."""

from __future__ import annotations

import json
import time

from ops.bench.producer import EventTemplate, TemplateRing, data
from router.codec import decode
from router.subject import STORED


def test_data_has_as_many_bytes_of_json_as_asked_for() -> None:
    stamped = {**data(100), "at": time.time_ns()}

    assert len(json.dumps(stamped, separators=(",", ":"))) == 100


def test_each_event_has_an_id_of_its_own_and_the_time_it_was_made() -> None:
    before = time.time_ns()
    template = EventTemplate("job.bench.said", "_INBOX.x")

    messages = (template.make(2) + template.make(1)).split(f"HPUB {STORED}job.bench.said _INBOX.x ".encode())[1:]
    events = [decode(message.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n")) for message in messages]

    assert len({event.id for event in events}) == 3
    for message, event in zip(messages, events, strict=True):
        assert f"Nats-Msg-Id: {event.id}\r\n".encode() in message
        assert before <= event.time <= time.time_ns() and event.data["at"] == event.time


def test_events_of_several_subjects_are_made_in_turn_for_where_each_is_stored() -> None:
    places = {"job.a.said": "evs.1.0.", "job.b.said": "evs.1.1."}
    ring = TemplateRing([EventTemplate(subject, "_INBOX.x", prefix) for subject, prefix in places.items()])

    made = ring.make(3) + ring.make(1)

    stored = [line.split()[1].decode() for line in made.split(b"\r\n") if line.startswith(b"HPUB ")]
    assert stored == ["evs.1.0.job.a.said", "evs.1.1.job.b.said"] * 2
