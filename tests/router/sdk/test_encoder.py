"""Tests of router/sdk/encoder.py."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from router.broker import Broker
from router.codec import decode
from router.errors import BadEvent, BadSubject
from router.sdk import Run
from router.sdk.encoder import RunEncoder, id_stem, in_life, is_synthesized, number_of
from router.sdk.queued import Kind
from tests.router.sdk.runs import events_of, types
from tests.waiting import eventually


async def test_data_that_msgpack_does_not_know_becomes_text(broker: Broker, entity: str) -> None:
    async with Run(entity, broker) as run:
        await run.emit("noted", {"when": datetime(2026, 11, 21, tzinfo=UTC), "where": Path("/tmp")})
        await run.chunk("half a character: \ud800")
        with pytest.raises(BadEvent):
            await run.emit("noted", {"text": "\ud800"})
        loop: dict[str, Any] = {}
        loop["self"] = loop
        with pytest.raises(BadEvent):
            await run.progress(0.5, context=loop)

    events = await events_of(broker, entity)
    assert events[1].data == {"when": "2026-11-21T00:00:00Z", "where": "/tmp"}
    assert types(events)[2:] == ["streaming_chunk", "completion"]


async def test_an_event_too_large_for_the_server_is_refused_at_once(broker: Broker, entity: str) -> None:
    async with Run(entity, broker) as run:
        await eventually(lambda: run.waiting == 0)
        with pytest.raises(BadEvent):
            await run.emit("noted", {"blob": bytes(broker.connection.max_payload)})

    assert types(await events_of(broker, entity)) == ["workflow_start", "completion"]


async def test_names_are_escaped_and_nonsense_is_refused(broker: Broker, entity: str) -> None:
    async with Run(f"{entity} a.b*", broker):
        pass

    assert len(await events_of(broker, f"{entity}=20a=2Eb=2A")) == 2
    with pytest.raises(BadSubject):
        Run("x" * 300, broker)


def test_an_id_fits_however_long_the_run_s_name_is() -> None:
    assert id_stem("run-42 a") == "run-42:20a"
    long = id_stem("x" * 151)
    assert len(long) == 32 and long != id_stem("x" * 152)


def test_the_number_of_an_event_is_read_from_its_id_where_it_is_of_the_same_lives() -> None:
    encoder = RunEncoder("agent", "run-42 a", "sdk")
    event, item = encoder.encode(7, "noted", {})

    assert item.number == 7 and number_of(event.id, "run-42 a", frozenset({encoder.incarnation})) == 7
    assert number_of(event.id, "run-42 a", frozenset({"other"})) == 0
    assert number_of(event.id, "run-42", frozenset({encoder.incarnation})) == 0
    assert number_of("0198-uuid", "run-42 a", frozenset({encoder.incarnation})) == 0


def test_a_completion_may_end_a_later_life_than_it_was_made_in() -> None:
    encoder = RunEncoder("agent", "one", "sdk")
    _, item = encoder.encode(2, "completion", {"success": True, "incarnation": "first"}, kind=Kind.END)

    moved = in_life(item, "second")

    assert decode(moved.payload).data == {"success": True, "incarnation": "second"} and moved.dedup == item.dedup
    assert in_life(moved, "second") is moved and not is_synthesized(item)
