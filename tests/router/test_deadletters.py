"""Tests of router/deadletters.py against a real nats-server."""

from __future__ import annotations

import time
from datetime import datetime, timedelta

from router.broker import Broker
from router.codec import encode
from router.deadletter import Origin, actor_subject, ingest_subject, webhook_subject
from router.deadletters import DeadLetters
from router.event import Event
from router.subject import STORED


async def test_a_dead_letter_is_read_as_it_was_added(broker: Broker, entity: str) -> None:
    dead = DeadLetters(broker)
    origin = Origin("EVENTS", 7, f"ev.orders.{entity}.placed")

    ack = await dead.add(
        actor_subject(entity),
        b"\x00raw",
        origin=origin,
        reason="rejected",
        detail="no sku\r\nNats-Msg-Id: forged äöü",
        attempts=3,
        first=1_700_000_000_123_456_789,
        last=1_700_000_001_000_000_000,
        destination="actor-stock",
        source="stock",
        redrives=2,
        back="cmd.stock.main.redrive",
    )

    found = await dead.get(ack.sequence)
    assert found is not None
    assert found.subject == f"dead.actor.{entity}.rejected"
    assert (found.kind, found.name, found.event_subject) == ("actor", entity, f"orders.{entity}.placed")
    assert found.payload == b"\x00raw"
    assert found.origin == origin
    assert (found.reason, found.attempts) == ("rejected", 3)
    assert found.detail == "no sku Nats-Msg-Id: forged äöü"
    assert found.first == "2023-11-14T22:13:20.123456Z"
    assert found.last == "2023-11-14T22:13:21.000000Z"
    assert (found.destination, found.source) == ("actor-stock", "stock")
    assert (found.redrives, found.back, found.event_id) == (2, "cmd.stock.main.redrive", "")
    assert found.event() is None
    assert abs(datetime.fromisoformat(found.stored).timestamp() - time.time()) < 60


async def test_times_that_are_not_said_are_now(broker: Broker, entity: str) -> None:
    dead = DeadLetters(broker)

    ack = await dead.add(webhook_subject(entity), b"x", origin=Origin("EVENTS", 1, "ev.a.b.c"), reason="overflow")

    found = await dead.get(ack.sequence)
    assert found is not None and found.first == found.last
    assert abs(datetime.fromisoformat(found.last).timestamp() - time.time()) < 60


async def test_the_events_id_is_known_without_decoding_it(broker: Broker, entity: str) -> None:
    dead = DeadLetters(broker)
    event = Event.new(f"job.{entity}.progress", {"n": 1})

    ack = await dead.add(
        webhook_subject(entity), encode(event), origin=Origin("EVENTS", 1, STORED + event.subject), reason="gone"
    )

    found = await dead.get(ack.sequence)
    assert found is not None
    assert found.event_id == event.id
    assert found.event() == event


async def test_a_dead_letter_whose_redrive_failed_is_added_with_the_new_reason(broker: Broker, entity: str) -> None:
    dead = DeadLetters(broker)
    ack = await dead.add(
        actor_subject(entity),
        b"x",
        origin=Origin("EVENTS", 5, "ev.a.b.c"),
        reason="attempts_spent",
        attempts=5,
        first=1_700_000_000_000_000_000,
        back="cmd.x.main.redrive",
    )
    old = await dead.get(ack.sequence)
    assert old is not None

    again = [await dead.add_again(old, reason="rejected", detail="no", attempts=1, id=f"rd.{entity}.1") for _ in "ab"]

    assert [each.duplicate for each in again] == [False, True]
    new = await dead.get(again[0].sequence)
    assert new is not None
    assert (new.subject, new.reason, new.detail) == (f"dead.actor.{entity}.rejected", "rejected", "no")
    assert (new.attempts, new.redrives, new.first, new.back) == (6, 1, old.first, old.back)
    assert new.last > old.last


async def test_an_undecodable_record_is_one_dead_letter_however_many_readers_find_it(
    broker: Broker, entity: str
) -> None:
    dead = DeadLetters(broker)
    found = {"stream": "EVENTS", "sequence": 77, "subject": f"ev.a.{entity}.c", "payload": entity.encode()}

    one = await dead.add_undecodable(**found, fault="not msgpack", source="alerts")  # type: ignore[arg-type]
    two = await dead.add_undecodable(**found, fault="not msgpack", source="edge")  # type: ignore[arg-type]
    other = await dead.add_undecodable(**{**found, "sequence": 78}, fault="not msgpack", source="edge")  # type: ignore[arg-type]

    assert (one.duplicate, two.duplicate, other.duplicate) == (False, True, False)
    found = await dead.get(one.sequence)
    assert found is not None
    assert (found.subject, found.kind, found.name) == ("dead.ingest.EVENTS.decode_error", "ingest", "EVENTS")
    assert (found.origin.sequence, found.detail, found.source) == (77, "not msgpack", "alerts")


async def test_a_second_dead_letter_of_the_same_delivery_is_dropped(broker: Broker, entity: str) -> None:
    dead = DeadLetters(broker)
    subject = actor_subject(entity)
    origin = Origin("EVENTS", 7, f"ev.orders.{entity}.placed")

    first = await dead.add(subject, b"x", origin=origin, reason="rejected", destination="a")
    again = await dead.add(subject, b"x", origin=origin, reason="rejected", destination="a")
    other = await dead.add(subject, b"x", origin=origin, reason="rejected", destination="b")

    assert (first.duplicate, again.duplicate, other.duplicate) == (False, True, False)
    assert len((await dead.read(pattern=subject)).deadletters) == 2


async def test_dead_letters_are_listed_page_by_page(broker: Broker, entity: str) -> None:
    dead = DeadLetters(broker)
    subject = webhook_subject(entity)
    for number in range(5):
        await dead.add(subject, b"%d" % number, origin=Origin("HOOKS", number, entity), reason="exhausted")

    first = await dead.read(limit=3, pattern=subject)
    rest = await dead.read(after=first.deadletters[-1].sequence, limit=3, pattern=subject)
    none = await dead.read(after=rest.deadletters[-1].sequence, pattern=subject)

    assert [found.payload for found in first.deadletters + rest.deadletters] == [b"0", b"1", b"2", b"3", b"4"]
    assert (first.more, rest.more, none) == (True, False, ([], False))


async def test_a_removed_dead_letter_is_gone(broker: Broker, entity: str) -> None:
    dead = DeadLetters(broker)
    ack = await dead.add(ingest_subject(entity), b"x", origin=Origin("", 0, ""), reason="too_large")

    assert await dead.remove(ack.sequence)
    assert not await dead.remove(ack.sequence)
    assert await dead.get(ack.sequence) is None


async def _add(dead: DeadLetters, subject: str, *reasons: str) -> list[int]:
    origin = Origin("EVENTS", 1, "ev.a.b.c")
    return [
        (await dead.add(subject, b"x", origin=origin, reason=reason, id=f"{subject}-{n}")).sequence
        for n, reason in enumerate(reasons)
    ]


async def test_dead_letters_are_counted_and_purged_by_subject(broker: Broker, entity: str) -> None:
    dead = DeadLetters(broker)
    subject = webhook_subject(entity)
    numbers = await _add(dead, subject, "gone", "exhausted", "gone", "gone")

    state = await dead.stats(subject)
    counts = [await dead.count(after, f"{subject}.gone") for after in (0, numbers[0], numbers[3])]
    purged = await dead.purge(f"{subject}.gone", numbers[2])

    assert state.subjects == {f"{subject}.gone": 3, f"{subject}.exhausted": 1}
    assert state.complete and state.last >= numbers[3] and 0 < state.fullness < 1
    assert counts == [3, 2, 0]
    assert purged == 2
    assert [found.sequence for found in (await dead.read(pattern=subject)).deadletters] == [numbers[1], numbers[3]]


async def test_a_time_is_found_in_the_stream(broker: Broker, entity: str) -> None:
    dead = DeadLetters(broker)
    (first,) = await _add(dead, webhook_subject(entity), "gone")
    found = await dead.get(first)
    assert found is not None
    (second,) = await _add(dead, actor_subject(entity), "rejected")
    moment = datetime.fromisoformat(found.stored[:26] + "+00:00")

    assert await dead.at(moment) == first
    assert await dead.at(moment + timedelta(microseconds=1)) == second
    assert await dead.at(moment + timedelta(days=1)) is None


async def test_a_page_ends_at_its_bytes_and_has_at_least_one_dead_letter(broker: Broker, entity: str) -> None:
    dead = DeadLetters(broker)
    subject = actor_subject(entity)
    for number in range(3):
        await dead.add(subject, bytes(10_000), origin=Origin("EVENTS", number, entity), reason="rejected")

    page = await dead.read(pattern=subject, max_bytes=1000)

    assert (len(page.deadletters), page.more) == (1, True)
