"""Tests of router/deadletters.py against a real nats-server."""

from __future__ import annotations

from router.broker import Broker
from router.deadletters import DeadLetters, Origin, actor_subject, ingest_subject, webhook_subject


def test_an_origin_is_read_as_it_was_written() -> None:
    origin = Origin("EVENTS", 42, "ev.orders.1.placed")

    assert str(origin) == "EVENTS:42:ev.orders.1.placed"
    assert Origin.parse(str(origin)) == origin
    assert Origin.parse("nonsense") == Origin("nonsense", 0, "")


def test_subjects_are_escaped() -> None:
    assert actor_subject("stock") == "dead.actor.stock"
    assert webhook_subject("sess.1") == "dead.webhook.sess=2E1"
    assert ingest_subject("too large") == "dead.ingest.too=20large"


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
    )

    letter = await dead.get(ack.sequence)
    assert letter is not None
    assert letter.subject == f"dead.actor.{entity}"
    assert letter.payload == b"\x00raw"
    assert letter.origin == origin
    assert (letter.reason, letter.attempts) == ("rejected", 3)
    assert letter.detail == "no sku Nats-Msg-Id: forged äöü"
    assert letter.first == "2023-11-14T22:13:20.123456Z"
    assert letter.last == "2023-11-14T22:13:21.000000Z"
    assert (letter.destination, letter.source) == ("actor-stock", "stock")


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
