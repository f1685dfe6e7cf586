"""Tests of router/sdk/coalesce.py."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from router.broker import Broker
from router.sdk import Run
from router.sdk.coalesce import MAX_CHUNK_CHARACTERS, Coalescer
from tests.router.sdk.runs import events_of, types
from tests.waiting import eventually


async def test_chunks_are_joined_within_their_window_and_none_is_lost(broker: Broker, entity: str) -> None:
    tokens = [f"wörd{n} " for n in range(300)]

    async with Run(entity, broker) as run:
        for token in tokens:
            await run.chunk(token)
            if len(token) % 100 == 0:
                await asyncio.sleep(0)
        await run.thinking("between")
        await run.chunk("the ")
        await run.chunk("end")

    events = await events_of(broker, entity)
    place = types(events).index("thinking")
    before = [event.data["content"] for event in events[:place] if event.type == "streaming_chunk"]
    after = [event.data["content"] for event in events[place:] if event.type == "streaming_chunk"]
    assert "".join(before) == "".join(tokens)
    assert after == ["the end"]
    assert len(before) < 20


async def test_a_chunk_is_published_when_its_window_is_over(broker: Broker, entity: str) -> None:
    async with Run(entity, broker) as run:
        await run.chunk("hello")

        await eventually(lambda: run.sent == 2)


async def test_progress_is_throttled_and_the_last_one_is_always_published(broker: Broker, entity: str) -> None:
    async with Run(entity, broker) as run:
        for step in range(1, 1001):
            await run.progress(current_step=step, total_steps=1000)

    said = [event.data["progress"] for event in await events_of(broker, entity) if event.type == "progress"]
    assert said[0] == 0.001 and said[-1] == 1.0
    assert len(said) < 20 and said == sorted(said)


async def test_a_long_chunk_does_not_wait_for_its_window() -> None:
    emitted: list[tuple[str, dict[str, Any]]] = []
    coalescer = Coalescer(60.0, 60.0, lambda type, data: emitted.append((type, data)))

    coalescer.add_chunk("a" * (MAX_CHUNK_CHARACTERS - 1))
    assert emitted == []
    coalescer.add_chunk("b")

    assert [len(data["content"]) for _, data in emitted] == [MAX_CHUNK_CHARACTERS]


def test_texts_of_two_spans_are_not_joined() -> None:
    emitted: list[tuple[str, dict[str, Any]]] = []
    coalescer = Coalescer(60.0, 60.0, lambda type, data: emitted.append((type, data)))

    coalescer.add_chunk("a")
    coalescer.add_chunk("b", "one")
    coalescer.add_chunk("c", "one")
    coalescer.flush()

    assert [data for _, data in emitted] == [{"content": "a"}, {"content": "bc", "parent": "one"}]


def test_what_is_held_back_is_due_when_its_window_is_over() -> None:
    emitted: list[tuple[str, dict[str, Any]]] = []
    coalescer = Coalescer(0.0, 0.0, lambda type, data: emitted.append((type, data)))

    assert coalescer.due == float("inf")
    assert coalescer.add_chunk("a") and not coalescer.add_chunk("b")
    assert coalescer.due <= time.monotonic()
    coalescer.flush_due()

    assert emitted == [("streaming_chunk", {"content": "ab"})] and coalescer.due == float("inf")
