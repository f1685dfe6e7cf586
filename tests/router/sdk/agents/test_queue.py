"""Starts that wait in line for a thread: in order, bounded, begun by whoever is there."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from router.broker import Broker
from router.nats.bucket import Bucket
from router.sdk import Run
from router.sdk.agents import AgentInput, agent
from router.sdk.agents.order import StartOrder
from router.sdk.agents.queue import MAX_LINE, QueueFull, StartQueue
from router.sdk.agents.threads import ThreadOwners
from router.topology import LEASES
from tests.router.sdk.agents.conftest import Serves
from tests.router.sdk.runs import types
from tests.waiting import eventually


async def test_starts_of_a_busy_thread_wait_in_their_order_and_no_more_than_may(serves: Serves, entity: str) -> None:
    begun, go = list[str](), asyncio.Event()

    @agent(entity, queue=2)
    async def assistant(run: Run, input: AgentInput) -> Any:
        begun.append(input.text)
        if input.text == "0":
            await go.wait()

    async with serves(assistant) as served, serves(assistant):
        await served.begin(entity, {"message": "0"})
        answers = [await served.start(entity, {"message": str(n)}) for n in (1, 2, 3)]
        repeated = await served.start(entity, {"message": "2"}, incarnation=answers[1][1]["incarnation"])
        free = await served.begin(f"{entity}-2", {"message": "other"})
        go.set()
        said = await served.ended(entity, times=3)

    assert [answer[1].get("queued") if not answer[0] else answer[0] for answer in answers] == [1, 2, "409"]
    assert "2 more wait" in answers[2][1] and repeated[1]["queued"] == 2 and free
    assert [text for text in begun if text != "other"] == ["0", "1", "2"]
    assert types(said) == ["workflow_start", "completion"] * 3
    assert [each.data["incarnation"] for each in said[2::2]] == [answer[1]["incarnation"] for answer in answers[:2]]


async def test_a_line_outlives_who_has_put_it_there(serves: Serves, broker: Broker, entity: str) -> None:
    line = StartQueue(entity, 3, broker, ThreadOwners(broker), 10.0)
    for n in range(3):
        assert await line.join(StartOrder(entity, "thread", f"life-{n}", {"message": str(n)})) == n + 1
    assert await line.waits(StartOrder(entity, "thread", "another", None))

    @agent(entity, queue=3)
    async def assistant(run: Run, input: str) -> str:
        return input

    async with serves(assistant) as served:
        said = await served.ended(entity, times=3)

        async def empty() -> bool:
            return not await line.waits(StartOrder(entity, "thread", "another", None))

        await eventually(empty)

    assert [each.data["incarnation"] for each in said[::2]] == ["life-0", "life-1", "life-2"]
    assert [each.data["result"] for each in said[1::2]] == ["0", "1", "2"]


async def test_an_input_that_is_too_large_does_not_wait_and_what_is_no_line_holds_nobody_up(
    broker: Broker, entity: str
) -> None:
    line = StartQueue(entity, 3, broker, ThreadOwners(broker), 10.0)
    await Bucket(broker.connection, LEASES).put(f"turns.{entity}.thread.{entity}", b"what is this")

    with pytest.raises(QueueFull, match="too large"):
        await line.join(StartOrder(entity, "thread", "a", "x" * MAX_LINE))
    assert await line.join(StartOrder(entity, "thread", "b", None)) == 1
