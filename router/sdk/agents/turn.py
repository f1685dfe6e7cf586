"""Carries out one run of an agent: takes its thread, begins it, works until it has ended or is to stop, and ends it once."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, replace
from typing import Any

from router.broker import Broker
from router.errors import BadEvent, BrokerError, RouterError, RunBusy, RunConflict, RunSuperseded
from router.event import new_id
from router.nats.service import Request
from router.sdk.agents.agent import AgentFunction
from router.sdk.agents.faults import line_of
from router.sdk.agents.order import StartOrder
from router.sdk.agents.queue import QueueFull, StartQueue
from router.sdk.agents.threads import ThreadOwners
from router.sdk.agents.work import work
from router.sdk.run import Run
from router.sdk.values import RunSettings
from router.subject import escape

log = logging.getLogger(__name__)

# 8 s: who asks for a run waits 10.
ANSWER_SECONDS = 8.0


@dataclass(frozen=True)
class AgentHost:
    """What the turns of one agent share in a process: the connection, how runs publish, and the places to work at."""

    agent: AgentFunction
    broker: Broker
    owners: ThreadOwners
    settings: RunSettings
    places: asyncio.Semaphore
    # Where starts of busy threads wait; None where they are refused.
    queue: StartQueue | None = None


class AgentTurn:
    """One run of an agent. `left` is its work, where that did not end when it was cancelled."""

    def __init__(self, host: AgentHost, order: StartOrder, input: Any) -> None:
        self.left: asyncio.Task[Any] | None = None
        self._host = host
        self._order = order
        self._input = input
        self._interrupted = asyncio.Event()
        self._why = ""

    def interrupt(self, why: str) -> None:
        """Ends the run as failed."""
        self._why = self._why or why
        self._interrupted.set()

    async def play(self, request: Request) -> None:
        """Answers the request once the run has begun, waits in line or is refused, and carries the run out."""
        queue = self._host.queue
        try:
            if queue is not None and await queue.waits(self._order):
                await self._line_up(request, queue)
                return
            await self._take()
        except RunBusy as busy:
            if busy.incarnation == self._order.incarnation:
                # The same start came twice.
                await request.respond(self._order.begun())
            elif queue is not None:
                await self._line_up(request, queue)
            else:
                await request.fail(409, f"a run of {self._order.run[:60]!r} goes on; stop it, or wait for its end")
            return
        except (RunConflict, BrokerError) as fault:
            log.warning("run could not be begun", extra={"run": self._order.run, "fault": str(fault)})
            await request.fail(503, "the run could not be begun: the event store does not answer")
            return
        await self.carry_out(request)

    async def _line_up(self, request: Request, queue: StartQueue) -> None:
        try:
            place = await queue.join(self._order)
        except (QueueFull, RunBusy) as full:
            await request.fail(409, str(full))
        except BrokerError as fault:
            log.warning("start could not be put in line", extra={"run": self._order.run, "fault": str(fault)})
            await request.fail(503, "the event store does not answer")
        else:
            await request.respond({**self._order.begun(), "queued": place})

    async def carry_out(self, request: Request | None) -> None:
        """Carries out a run whose thread was taken; answers the request, where one still waits, once it has begun."""
        host, order = self._host, self._order
        run = Run(
            order.run, host.broker, domain=order.domain, name=host.agent.name, about={"agent": host.agent.name},
            source=host.agent.name, settings=host.settings, incarnation=order.incarnation,
        )  # fmt: skip
        try:
            async with run:
                if request is not None:
                    await self._answer(run, request)
                await self._work(run)
        except RouterError as fault:
            log.error("run of an agent did not end as it should", extra={"run": order.run, "fault": str(fault)})

    async def _take(self) -> None:
        """Takes the thread. Raises RunBusy and BrokerError."""
        host, order = self._host, self._order
        try:
            await host.owners.take(
                order.domain, escape(order.run), order.incarnation, host.settings.ttl, host.agent.name
            )
        except RunSuperseded:
            # There was a life of this name; clients may choose it, and not all choose well.
            self._order = order._replace(incarnation=new_id())
            await self._take()

    async def _answer(self, run: Run, request: Request) -> None:
        """Says that the run has begun, once that is stored: who asked may then read it."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await run.keep_pace(0)
        except TimeoutError:
            log.warning("start of a run is not stored yet; going on", extra={"run": run.run})
        await request.respond(self._order.begun())

    async def _work(self, run: Run) -> None:
        working = asyncio.create_task(self._in_turn(run), name=f"agent {self._host.agent.name} {run.run}")
        ends = [asyncio.create_task(each.wait()) for each in (run.stopped, run.lost, self._interrupted)]
        try:
            await asyncio.wait({working, *ends}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                working.cancel()
                ending = asyncio.wait({working}, timeout=self._host.agent.stop_timeout)
                await asyncio.gather(ending, self._note_stop(run))
        finally:
            for each in ends:
                each.cancel()
            if not working.done():
                working.cancel()
        if not working.done():
            self.left = working
            log.error(
                "work of a stopped run goes on; the run is ended without it, and its place stays taken",
                extra={"run": run.run, "seconds": self._host.agent.stop_timeout},
            )
        self._end(run, working)

    async def _note_stop(self, run: Run) -> None:
        if run.stopped.is_set():
            await self._host.owners.stopping(run.domain, escape(run.run), run.incarnation, run.stop_reason)

    async def _in_turn(self, run: Run) -> Any:
        places = self._host.places
        if places.locked():
            await run.emit("status", {"status": "queued", "message": "waiting for its turn"})
        async with places:
            return await work(self._host.agent.function, run, self._input)

    def _end(self, run: Run, working: asyncio.Task[Any]) -> None:
        """Adds the completion that follows from how the work ended, unless the function has added one."""
        fault = None if not working.done() or working.cancelled() else working.exception()
        if fault is not None and not (run.stopped.is_set() or self._interrupted.is_set() or run.lost.is_set()):
            log.error("agent failed", extra={"run": run.run, "agent": self._host.agent.name}, exc_info=fault)
        if run.over or run.lost.is_set():
            return
        if run.stopped.is_set():
            run.finish(None)
        elif self._interrupted.is_set():
            _fail(run, self._why, "interrupted")
        elif not working.done() or working.cancelled():
            run.finish(asyncio.CancelledError())
        elif fault is not None:
            _fail(run, line_of(fault), type(fault).__name__)
        else:
            try:
                run.emitter.complete({"success": True, "result": working.result()})
            except BadEvent as bad:
                _fail(run, f"the result of the agent cannot be sent: {bad}", "BadEvent")


def _fail(run: Run, error: str, kind: str) -> None:
    run.emitter.error(error, error_type=kind, recoverable=False)
    run.emitter.complete({"success": False, "error": error, "error_type": kind})


def for_agents(settings: RunSettings | None) -> RunSettings:
    """How runs of agents publish. One whose lease ran out is over: its thread may have another owner by then."""
    return replace(settings or RunSettings(), revive=False, raise_on_stop=False)
