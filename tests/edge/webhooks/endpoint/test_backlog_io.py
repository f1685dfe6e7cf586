"""Tests of edge/webhooks/endpoint/backlog_io.py: jobs go into the backlog and come back, whatever happens meanwhile."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from edge.sessions.registry import Session
from edge.webhooks.endpoint.dispatch import EndpointDispatcher
from edge.webhooks.queue.backlog import Backlog
from router.errors import Timeout
from tests.edge.webhooks.observing import NARROW, SHUT, Ledger, firsts, nothing_left, state
from tests.edge.webhooks.stage import Process, Receiver, Stage
from tests.waiting import eventually, in_time

# One worker has both sessions: what it fails at for one of them ends the other's deliveries, too.
ONE = replace(SHUT, partitions=1)


class Slow:
    """Holds a method of the backlog back until it is released."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
        self.called = asyncio.Event()
        self.released = asyncio.Event()
        real = getattr(Backlog, method)

        async def slow(backlog: Backlog, *given: Any, **more: Any) -> Any:
            self.called.set()
            await self.released.wait()
            return await real(backlog, *given, **more)

        monkeypatch.setattr(Backlog, method, slow)


def dispatcher_of(process: Process, session: Session) -> EndpointDispatcher:
    (worker,) = process.webhooks._workers()
    return worker.dispatchers[session.id]


async def shut_with(stage: Stage, receiver: Receiver, events: int) -> tuple[Process, Session]:
    """A process, and a session whose circuit breaker is open."""
    process = await stage.process(ONE)
    receiver.answer = 500
    session = await stage.session(receiver.url, subjects=("shut.>",), retry_attempts=20, concurrency=1)
    await stage.publish("shut.1.changed", events)
    await eventually(lambda: state(process, session) == "open")
    return process, session


async def others_are_served(stage: Stage, receiver: Receiver, process: Process) -> None:
    receiver.answer = 204
    other = await stage.session(receiver.url, subjects=("other.>",))
    await stage.publish("other.1.changed", 3)
    await eventually(lambda: process.webhooks.stats(other.id).delivered == 3)


async def test_a_session_that_is_deleted_while_its_jobs_are_parked_ends_nobody_elses_deliveries(
    stage: Stage, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
):
    slow = Slow(monkeypatch, "put")
    process, session = await shut_with(stage, receiver, 10)
    await in_time(slow.called.wait(), 30)
    dispatcher = dispatcher_of(process, session)

    await process.registry.delete(session.id)
    await eventually(lambda: dispatcher.policy is None)
    slow.released.set()

    await others_are_served(stage, receiver, process)


async def test_a_session_that_is_deleted_while_its_backlog_is_read_ends_nobody_elses_deliveries(
    stage: Stage, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
):
    process, session = await shut_with(stage, receiver, 10)
    dispatcher = dispatcher_of(process, session)
    await eventually(lambda: dispatcher.parked > 0 and not any(each.parking for each in dispatcher.queues.values()))
    slow = Slow(monkeypatch, "page")
    await process.webhooks.enable(session.id)
    await eventually(lambda: state(process, session) == "closed" and dispatcher._reader._running)

    await process.registry.delete(session.id)
    await eventually(lambda: dispatcher.policy is None)
    slow.released.set()

    await others_are_served(stage, receiver, process)


async def test_ordered_jobs_that_are_parked_while_their_answers_are_lost_are_all_delivered_in_order(
    stage: Stage, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
):
    """The server has stored them all; parked again they are duplicates, which must not count as a predecessor's."""
    real, asked = Backlog.put, list[int]()

    async def put(backlog: Backlog, publishes: Any, in_order: bool) -> Any:
        asked.append(len(publishes))
        if len(asked) > 2:
            return await real(backlog, publishes, in_order)
        if len(asked) == 2:
            await real(backlog, publishes, in_order)
        # The first time nothing is stored: until it is tried again, many more have come.
        return [Timeout("no answer") for _ in publishes]

    monkeypatch.setattr(Backlog, "put", put)
    process = await stage.process(replace(NARROW, partitions=1))
    session = await stage.session(receiver.url, mode="fifo")
    ledger = Ledger(receiver)
    ledger.slow = 0.02

    await stage.publish("agent.run-1.progress", 60)

    await eventually(lambda: len(firsts(ledger.taken)) == 60)
    assert asked[1] > 10 and ledger.taken == list(range(60))
    await eventually(lambda: dispatcher_of(process, session).parked == 0)
    await eventually(lambda: nothing_left(stage.broker))
