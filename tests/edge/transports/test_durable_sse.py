"""Durable Streams by SSE: pages with their control in one write, and no event that is lost in silence."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from edge.disconnect import COMPLETED
from edge.transports.durable_sse import DurableEncoder
from edge.types import Batch, Notice, State
from router.broker import Broker
from router.codec import encode
from router.event import Event
from router.event_place import place_in, reached
from router.layout import generation
from router.position import Position, of_one
from router.record import Record
from tests.edge.conftest import EdgeFactory, RunningEdge, n
from tests.edge.surfaces.conftest import streaming
from tests.edge.test_store_made_anew import delete
from tests.waiting import unhurried

EPOCH = "0badcafe"
LIVE = {"offset": "-1", "live": "sse"}


@pytest.fixture
async def operator(own_nats: str) -> AsyncIterator[Broker]:
    """Somebody who changes the store past the edge."""
    async with Broker(unhurried(own_nats), "operator") as broker:
        yield broker


def said(text: bytes) -> list[tuple[str, Any]]:
    blocks = [block.removeprefix("event: ") for block in text.decode().split("\n\n") if block]
    return [(name, json.loads(data)) for name, data in (block.split("\ndata:") for block in blocks)]


class _Ends:
    """A stream whose last event is the ninth."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Ends)

    __hash__ = None  # type: ignore[assignment]

    def __call__(self, record: Record) -> tuple[bool, bool]:
        return True, record.sequence == 9


def _batch(sequence: int) -> Batch:
    event = Event.new("job.a.output", {"n": sequence}, id=str(sequence), time_ns=1)
    return Batch([Record(sequence, event.subject, encode(event))], EPOCH)


async def test_only_the_last_page_of_the_past_says_that_its_client_is_up_to_date(
    edge: RunningEdge, entity: str
) -> None:
    cursors = await edge.numbers(entity, 600)
    async with streaming(edge, f"/streams/job.{entity}.>", params=LIVE) as stream:
        text = await stream.until(b"upToDate")
        # Something of what comes next would have to come live.
        (live,) = await edge.numbers(entity, 1)
        text = await stream.until(live.encode())
        found = said(text[: text.rfind(b"event: data")])

    pages, controls = found[::2], found[1::2]
    assert {name for name, _ in pages} == {"data"} and {name for name, _ in controls} == {"control"}
    assert [number for _, page in pages for number in n(page)] == list(range(600))
    assert [each["streamNextOffset"] for _, each in controls] == [page[-1]["cursor"] for _, page in pages]
    assert controls[-1][1]["streamNextOffset"] == cursors[-1]
    assert len(controls) > 1
    assert ["upToDate" in each for _, each in controls] == [False] * (len(controls) - 1) + [True]


def test_live_readers_that_agree_share_writes_and_part_at_the_end() -> None:
    ends = _Ends()
    one, two, other = DurableEncoder("7", ends), DurableEncoder("7", _Ends()), DurableEncoder("8", ends)
    group = one.fork()

    assert one.agrees(two) and one.agrees(group) and not one.agrees(other)
    assert not one.agrees(DurableEncoder("7", ends, chunked=True))
    (text,) = {each.encode(_batch(1)) for each in (two, group)}
    assert text.endswith(b'"streamCursor":"7","upToDate":true}\n\n')
    assert group.encode(_batch(9)).endswith(b'"streamClosed":true}\n\n')
    assert group.over and not one.over and group.encode(_batch(10)) == b""
    one.follow(group)
    assert one.over and not one.shares(of_one(9))


class _Idle:
    """A reader of one run that stands somewhere, and has nothing to write."""

    state = State.LIVE
    queued = (0, 0)
    closed: object = None

    def __init__(self, position: Position) -> None:
        self.position = position

    def close(self, reason: object) -> None:
        self.closed = reason


@pytest.mark.parametrize(
    ("position", "over"),
    [
        (Position(1, (0, 8, 0)), False),
        (Position(1, (50, 8, 50)), False),
        # Nothing of its run has ever been in the other shards.
        (Position(1, (0, 9, 0)), True),
        (Position(2, (0,)), True),
    ],
)
async def test_a_stream_whose_end_is_not_shown_is_closed_once_its_shard_was_read_so_far(
    position: Position, over: bool
) -> None:
    encoder = DurableEncoder("7", end=reached(place_in(generation(1, 3).shards[1], 9)))
    reader = _Idle(position)
    encoder.bind(reader)  # type: ignore[arg-type]

    text = encoder.notice(Notice("position", {"cursor": "c"}))

    assert (b"streamClosed" in text, encoder.over) == (over, over)
    await asyncio.sleep(0)
    assert (reader.closed is COMPLETED) is over


def test_an_event_that_cannot_be_encoded_takes_no_other_with_it() -> None:
    broken, failed = Record(1, "job.a.output", b"\xc1"), []
    batch = Batch([broken, *_batch(2).records], EPOCH, unencodable=lambda record, _fault: failed.append(record))

    (first, _) = said(DurableEncoder("7").encode(batch))

    assert [event["data"]["n"] for event in first[1]] == [2] and failed == [broken]


async def test_an_offset_that_retention_has_passed_is_gone(
    edge_factory: EdgeFactory, own_nats: str, operator: Broker, entity: str
) -> None:
    async with edge_factory(own_nats) as edge:
        cursors = await edge.numbers(entity, 5)
        await operator.connection.api("STREAM.PURGE.EVENTS", {"keep": 2})
        path = f"/streams/job.{entity}.>"
        live = [
            await edge.http.get(path, params={**LIVE, "offset": cursors[0], "live": each})
            for each in ("sse", "long-poll")
        ]
        plain = await edge.http.get(path, params={"offset": cursors[0]})
        anew = await edge.http.get(path)

    assert [(each.status_code, each.json()["code"]) for each in (*live, plain)] == [(410, "offset_gone")] * 3
    assert n(anew.json()) == [3, 4]


@pytest.mark.slow
async def test_a_stream_whose_events_are_lost_ends_and_its_client_is_told_when_it_comes_back(
    edge_factory: EdgeFactory, own_nats: str, operator: Broker, entity: str
) -> None:
    async with edge_factory(own_nats) as edge:
        await edge.numbers(entity, 1)
        path = f"/streams/job.{entity}.>"
        async with streaming(edge, path, params=LIVE) as stream:
            await stream.until(b"upToDate")
            await delete(operator, edge, "EVENTS")
            controls = [each for name, each in said(await stream.rest()) if name == "control"]
        back = await edge.http.get(path, params={**LIVE, "offset": controls[-1]["streamNextOffset"]})

    assert (back.status_code, back.json()["code"]) == (410, "offset_gone")
