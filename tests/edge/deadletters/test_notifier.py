"""Events report new dead letters, and a stream that fills up."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

from edge.deadletters.notifier import MAX_GROUPS, MAX_SINGLE, DeadLetterNotifier, events_about
from router.broker import Broker
from router.deadletter import DeadLetter, Origin, actor_subject
from router.deadletters import DeadLetters
from router.event import Event
from router.nats.embedded import EmbeddedServer, EmbeddedSettings, free_port
from router.nats.settings import BrokerSettings
from router.topology import TopologySettings
from tests.edge.deadletters.redriving import Start, bury
from tests.waiting import eventually, unhurried


async def test_what_was_buried_while_nobody_was_there_is_told_by_the_next(start: Start, nats_url: str) -> None:
    async with start() as first:
        await bury(first.dead, actor_subject("before"))
        await eventually(lambda: told(first.broker, "before"))
    async with Broker(unhurried(nats_url), "test") as broker:
        await bury(DeadLetters(broker), actor_subject("between"))

        async with start():
            await eventually(lambda: told(broker, "between"))


async def told(broker: Broker, name: str) -> list[Event]:
    page = await broker.read("system.deadletter.buried", 0)
    return [record.event for record in page.records if record.event and record.event.data["name"] == name]


async def test_letters_that_fill_their_stream_are_told_of_before_the_oldest_are_dropped(tmp_path: Path) -> None:
    server = EmbeddedServer(EmbeddedSettings(data_dir=tmp_path / "own", port=free_port()))
    await server.start()
    try:
        small = TopologySettings(deadletters_max_bytes=100_000)
        async with Broker(BrokerSettings(url=server.url), "edge", small) as broker:
            dead = DeadLetters(broker)
            for number in range(85):
                await dead.add(
                    actor_subject("stock"), bytes(700), origin=Origin("EVENTS", number, "ev.a.b.c"), reason="rejected"
                )
            telling = asyncio.ensure_future(DeadLetterNotifier(broker, lambda _letter: None).run())
            try:
                (record,) = await eventually(lambda: filling(broker))
            finally:
                telling.cancel()
                await asyncio.gather(telling, return_exceptions=True)

        assert record.event is not None and record.event.type == "deadletters_filling"
        assert 0.8 <= record.event.data["fullness"] <= 1
        assert record.event.data["max_bytes"] == 100_000
    finally:
        await server.stop()


async def filling(broker: Broker) -> list[Any]:
    return (await broker.read("system.deadletter.filling", 0)).records


def _letter(number: int, name: str) -> DeadLetter:
    return DeadLetter(
        number, f"dead.webhook.{name}.gone", b"", Origin("EVENTS", number, "ev.a.b.c"), "gone", "", 1, "", "", "", ""
    )


def _burials(letters: list[DeadLetter]) -> list[Event]:
    return [event for event in events_about(letters) if event.type == "deadletter_buried"]


def test_a_delivery_that_was_given_up_is_an_error_of_the_callback_guide_too() -> None:
    one = [event for event in events_about([_letter(7, "sess_1")]) if event.type == "error"]
    many = [event for event in events_about([_letter(n, "sess_1") for n in range(1, 101)]) if event.type == "error"]
    actor = replace(_letter(1, "x"), subject=actor_subject("x"))

    assert [str(event.subject) for event in one + many] == ["system.delivery.error"] * 2
    assert one[0].data["error_type"] == "gone" and one[0].data["recoverable"] is False
    assert (one[0].data["session_id"], one[0].data["retry_count"], one[0].data["count"]) == ("sess_1", 0, 1)
    assert many[0].data["count"] == 100 and "100 deliveries" in many[0].data["error"]
    assert [event.type for event in events_about([actor])] == ["deadletter_buried"]


def test_news_of_any_number_of_burials_are_few() -> None:
    few = _burials([_letter(n, "one") for n in range(1, MAX_SINGLE + 1)])
    alike = _burials([_letter(n, "one") for n in range(1, 5001)])
    unlike = _burials([_letter(n, f"s{n % 700}") for n in range(1, 5001)])

    assert [event.data["count"] for event in few] == [1] * MAX_SINGLE
    assert [(e.data["count"], e.data["first_id"], e.data["last_id"]) for e in alike] == [(5000, 1, 5000)]
    assert len(unlike) == MAX_GROUPS + 1
    assert sum(event.data["count"] for event in unlike) == 5000
    assert unlike[-1].data["name"] is None
