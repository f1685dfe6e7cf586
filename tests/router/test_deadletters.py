"""Tests of router/deadletters.py against a real nats-server."""

from __future__ import annotations

import time
from datetime import datetime, timedelta

from router.broker import Broker
from router.codec import encode
from router.deadletters import DeadLetters, Origin, actor_subject, ingest_subject, webhook_subject
from router.event import Event
from router.subject import STORED


def test_an_origin_is_read_as_it_was_written() -> None:
    origin = Origin("EVENTS", 42, "ev.orders.1.placed")

    assert str(origin) == "EVENTS:42:ev.orders.1.placed"
    assert Origin.parse(str(origin)) == origin
    assert Origin.parse("nonsense") == Origin("nonsense", 0, "")


def test_subjects_are_escaped() -> None:
    assert actor_subject("stock") == "dead.actor.stock"
    assert webhook_subject("sess.1") == "dead.webhook.sess=2E1"
    assert ingest_subject("EVENTS") == "dead.ingest.EVENTS"


async def test_a_dead_letter_is_read_as_it_was_buried(broker: Broker, entity: str) -> None:
    dead = DeadLetters(broker)
    origin = Origin("EVENTS", 7, f"ev.orders.{entity}.placed")

    ack = await dead.bury(
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

    letter = await dead.get(ack.sequence)
    assert letter is not None
    assert letter.subject == f"dead.actor.{entity}.rejected"
    assert (letter.kind, letter.name, letter.event_subject) == ("actor", entity, f"orders.{entity}.placed")
    assert letter.payload == b"\x00raw"
    assert letter.origin == origin
    assert (letter.reason, letter.attempts) == ("rejected", 3)
    assert letter.detail == "no sku Nats-Msg-Id: forged äöü"
    assert letter.first == "2023-11-14T22:13:20.123456Z"
    assert letter.last == "2023-11-14T22:13:21.000000Z"
    assert (letter.destination, letter.source) == ("actor-stock", "stock")
    assert (letter.redrives, letter.back, letter.event_id) == (2, "cmd.stock.main.redrive", "")
    assert letter.event() is None
    assert abs(datetime.fromisoformat(letter.buried).timestamp() - time.time()) < 60


async def test_times_that_are_not_said_are_now(broker: Broker, entity: str) -> None:
    dead = DeadLetters(broker)

    ack = await dead.bury(webhook_subject(entity), b"x", origin=Origin("EVENTS", 1, "ev.a.b.c"), reason="overflow")

    letter = await dead.get(ack.sequence)
    assert letter is not None and letter.first == letter.last
    assert abs(datetime.fromisoformat(letter.last).timestamp() - time.time()) < 60


async def test_the_events_id_is_known_without_decoding_it(broker: Broker, entity: str) -> None:
    dead = DeadLetters(broker)
    event = Event.new(f"job.{entity}.progress", {"n": 1})

    ack = await dead.bury(
        webhook_subject(entity), encode(event), origin=Origin("EVENTS", 1, STORED + event.subject), reason="gone"
    )

    letter = await dead.get(ack.sequence)
    assert letter is not None
    assert letter.event_id == event.id
    assert letter.event() == event


async def test_a_letter_that_was_sent_in_vain_is_kept_with_what_is_known_now(broker: Broker, entity: str) -> None:
    dead = DeadLetters(broker)
    ack = await dead.bury(
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

    again = [await dead.bury_again(old, reason="rejected", detail="no", attempts=1, id=f"rd.{entity}.1") for _ in "ab"]

    assert [each.duplicate for each in again] == [False, True]
    new = await dead.get(again[0].sequence)
    assert new is not None
    assert (new.subject, new.reason, new.detail) == (f"dead.actor.{entity}.rejected", "rejected", "no")
    assert (new.attempts, new.redrives, new.first, new.back) == (6, 1, old.first, old.back)
    assert new.last > old.last


async def test_what_is_no_event_is_one_letter_however_many_find_it(broker: Broker, entity: str) -> None:
    dead = DeadLetters(broker)
    found = {"stream": "EVENTS", "sequence": 77, "subject": f"ev.a.{entity}.c", "payload": entity.encode()}

    one = await dead.bury_spoiled(**found, fault="not msgpack", source="alerts")  # type: ignore[arg-type]
    two = await dead.bury_spoiled(**found, fault="not msgpack", source="edge")  # type: ignore[arg-type]
    other = await dead.bury_spoiled(**{**found, "sequence": 78}, fault="not msgpack", source="edge")  # type: ignore[arg-type]

    assert (one.duplicate, two.duplicate, other.duplicate) == (False, True, False)
    letter = await dead.get(one.sequence)
    assert letter is not None
    assert (letter.subject, letter.kind, letter.name) == ("dead.ingest.EVENTS.decode_error", "ingest", "EVENTS")
    assert (letter.origin.sequence, letter.detail, letter.source) == (77, "not msgpack", "alerts")


async def test_a_second_burial_of_the_same_delivery_is_dropped(broker: Broker, entity: str) -> None:
    dead = DeadLetters(broker)
    subject = actor_subject(entity)
    origin = Origin("EVENTS", 7, f"ev.orders.{entity}.placed")

    first = await dead.bury(subject, b"x", origin=origin, reason="rejected", destination="a")
    again = await dead.bury(subject, b"x", origin=origin, reason="rejected", destination="a")
    other = await dead.bury(subject, b"x", origin=origin, reason="rejected", destination="b")

    assert (first.duplicate, again.duplicate, other.duplicate) == (False, True, False)
    assert len((await dead.read(pattern=subject)).letters) == 2


async def test_dead_letters_are_listed_page_by_page(broker: Broker, entity: str) -> None:
    dead = DeadLetters(broker)
    subject = webhook_subject(entity)
    for number in range(5):
        await dead.bury(subject, b"%d" % number, origin=Origin("HOOKS", number, entity), reason="exhausted")

    first = await dead.read(limit=3, pattern=subject)
    rest = await dead.read(after=first.letters[-1].sequence, limit=3, pattern=subject)
    none = await dead.read(after=rest.letters[-1].sequence, pattern=subject)

    assert [letter.payload for letter in first.letters + rest.letters] == [b"0", b"1", b"2", b"3", b"4"]
    assert (first.more, rest.more, none) == (True, False, ([], False))


async def test_a_removed_dead_letter_is_gone(broker: Broker, entity: str) -> None:
    dead = DeadLetters(broker)
    ack = await dead.bury(ingest_subject(entity), b"x", origin=Origin("", 0, ""), reason="too_large")

    assert await dead.remove(ack.sequence)
    assert not await dead.remove(ack.sequence)
    assert await dead.get(ack.sequence) is None


async def _bury(dead: DeadLetters, subject: str, *reasons: str) -> list[int]:
    origin = Origin("EVENTS", 1, "ev.a.b.c")
    return [
        (await dead.bury(subject, b"x", origin=origin, reason=reason, id=f"{subject}-{n}")).sequence
        for n, reason in enumerate(reasons)
    ]


async def test_letters_are_counted_and_purged_by_their_address(broker: Broker, entity: str) -> None:
    dead = DeadLetters(broker)
    subject = webhook_subject(entity)
    numbers = await _bury(dead, subject, "gone", "exhausted", "gone", "gone")

    state = await dead.state(subject)
    counts = [await dead.count(after, f"{subject}.gone") for after in (0, numbers[0], numbers[3])]
    purged = await dead.purge(f"{subject}.gone", numbers[2])

    assert state.addresses == {f"{subject}.gone": 3, f"{subject}.exhausted": 1}
    assert state.complete and state.last >= numbers[3] and 0 < state.fullness < 1
    assert counts == [3, 2, 0]
    assert purged == 2
    assert [letter.sequence for letter in (await dead.read(pattern=subject)).letters] == [numbers[1], numbers[3]]


async def test_a_time_is_found_in_the_stream(broker: Broker, entity: str) -> None:
    dead = DeadLetters(broker)
    (first,) = await _bury(dead, webhook_subject(entity), "gone")
    letter = await dead.get(first)
    assert letter is not None
    (second,) = await _bury(dead, actor_subject(entity), "rejected")
    moment = datetime.fromisoformat(letter.buried[:26] + "+00:00")

    assert await dead.at(moment) == first
    assert await dead.at(moment + timedelta(microseconds=1)) == second
    assert await dead.at(moment + timedelta(days=1)) is None


async def test_a_page_ends_at_its_bytes_and_has_one_letter_at_least(broker: Broker, entity: str) -> None:
    dead = DeadLetters(broker)
    subject = actor_subject(entity)
    for number in range(3):
        await dead.bury(subject, bytes(10_000), origin=Origin("EVENTS", number, entity), reason="rejected")

    page = await dead.read(pattern=subject, max_bytes=1000)

    assert (len(page.letters), page.more) == (1, True)
