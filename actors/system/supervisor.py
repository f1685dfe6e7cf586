"""Supervises an actor: restarts it after a crash, gives up after too many, and stops it in order."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Any

from actors.system.actor import Actor, Restart, check
from actors.system.commands import CommandService
from actors.system.context import Context
from actors.system.intake import Intake
from actors.system.life import Call, Message, Tick, live
from actors.system.metrics import Gauges
from actors.system.runtime import BrokerRuntime
from actors.system.state import PresenceKeeper
from router.broker import Broker
from router.errors import Escalate
from router.mailbox import Mailbox
from router.tasks import run_cancellable
from router.timing import Clock, SystemClock

log = logging.getLogger(__name__)


def root(crash: Exception) -> Exception:
    """Unwraps the one exception that a task group has put into a group."""
    while isinstance(crash, ExceptionGroup) and len(crash.exceptions) == 1:
        crash = crash.exceptions[0]
    return crash


async def supervise(
    make: Callable[[], Actor],
    mailbox: Mailbox[Message],
    context: Callable[[], Context],
    *,
    started: asyncio.Event | None = None,
    crashed: Callable[[Exception], None] | None = None,
) -> None:
    """Keep one actor alive. The mailbox outlives a crash; the actor's state does not. Raises Escalate."""
    crashes: deque[float] = deque()
    restart = Restart()
    while True:
        ctx = context()
        try:
            actor = make()
            restart = actor.restart
            return await run_cancellable(live(actor, mailbox, ctx, started), name=f"{ctx.name} {ctx.instance}")
        except Exception as group:
            crash = root(group)
            ctx.gauges.restarts.inc()
            if crashed:
                crashed(crash)
            crashes.append(ctx.now())
            while crashes[0] < ctx.now() - restart.within:
                crashes.popleft()
            log.error(
                "actor crashed",
                extra={"actor": ctx.name, "instance": ctx.instance, "crashes": len(crashes)},
                exc_info=crash,
            )
            if len(crashes) > restart.tries:
                # The process ends; Kubernetes, or `callboard up`, is the root supervisor.
                raise Escalate(
                    f"the actor {ctx.name} crashed {len(crashes)} times within {restart.within:g} s"
                ) from crash
            if mailbox.closed and not len(mailbox):
                return None
            await ctx.sleep(restart.delay(len(crashes)))


async def run_actor(
    make: Callable[[], Actor],
    broker: Broker,
    *,
    instance: str = "main",
    stop: asyncio.Event,
    grace: float = 5.0,
) -> None:
    """Runs one actor on an open broker until `stop` is set: commands, events, ticks, restarts, and a graceful shutdown.

    The shutdown: no more events are pulled, calls are refused, the mailbox is drained for `grace` seconds at most, and
    the rest is returned to NATS at once. Raises Escalate where the actor crashes too often.
    """
    first = make()
    check(first)
    keeper = PresenceKeeper(broker, first.name, instance) if first.watched else None
    if keeper is not None:
        await keeper.begin()
    try:
        await _run(make, first, broker, instance, stop, grace, keeper)
    except ExceptionGroup as group:
        crash = root(group)
        if keeper is not None:
            await keeper.end("the actor crashed too often" if isinstance(crash, Escalate) else "the actor failed")
        raise crash from None
    if keeper is not None:
        await keeper.end("the actor was stopped")


async def _run(
    make: Callable[[], Actor],
    first: Actor,
    broker: Broker,
    instance: str,
    stop: asyncio.Event,
    grace: float,
    keeper: PresenceKeeper | None,
) -> None:
    unused: Actor | None = first
    name, clock, gauges = first.name, SystemClock(), Gauges(first.name)
    # One place more than deliveries may be outstanding, so that a tick always finds room; and as many again, for what
    # is still on the way when pulls are issued anew.
    mailbox: Mailbox[Message] = Mailbox(2 * first.capacity + 1)
    gauges.measure(mailbox)
    runtime = BrokerRuntime(broker, gauges, keeper)
    started = asyncio.Event()

    def next_one() -> Actor:
        nonlocal unused
        actor, unused = unused or make(), None
        actor.instance = instance
        return actor

    def context() -> Context:
        return Context(name, instance, runtime, clock, gauges, keeper.next_life() if keeper else None)

    intake = Intake(first, instance, broker, mailbox, gauges) if first.subjects else None
    if intake is not None:
        runtime.horizon = intake.horizon
    service = CommandService(first, instance, broker.connection, mailbox, runtime.published)
    async with asyncio.TaskGroup() as group:
        helping = [group.create_task(runtime.send_frames()), group.create_task(service.run())]
        if keeper is not None:
            helping.append(group.create_task(keeper.run()))
        pulling: list[asyncio.Task[None]] = []
        # The command service first, so that a reader of the actor's first event can also call it.
        await _either(group.create_task(service.serving()), group.create_task(stop.wait()))
        if intake:
            helping.append(group.create_task(intake.keep()))
            pulling.append(group.create_task(intake.pull()))
            # Before start: what `start` reads by `ctx.latest` and what is delivered then leave no gap between them.
            created = group.create_task(intake.created())
            await _either(created, group.create_task(stop.wait()))
        if first.every is not None:
            pulling.append(group.create_task(tick_along(first.every, mailbox, clock, started)))
        life = group.create_task(
            supervise(next_one, mailbox, context, started=started, crashed=service.crashed), name=f"actor {name}"
        )
        try:
            await _either(life, group.create_task(stop.wait()), keep=life)
            log.info("actor is stopping", extra={"actor": name, "instance": instance, "waiting": len(mailbox)})
            await _end(pulling)
            service.close()
            mailbox.close()
            await asyncio.wait({life}, timeout=grace)
        finally:
            await _end([*pulling, life])
            mailbox.close()
            for message in mailbox.drain():
                if isinstance(message, Call):
                    await message.answer.error(503, "shutting down")
            await service.give_back()
            if intake:
                await intake.give_back()
            await _end(helping)


async def tick_along(every: float, mailbox: Mailbox[Message], clock: Clock, started: asyncio.Event) -> None:
    """Puts a tick into the mailbox at a steady pace; while one still waits there no other is added."""
    await started.wait()
    due = clock.now() + every
    waiting: asyncio.Future[None] | None = None
    while True:
        await clock.sleep(due - clock.now())
        # Paced by deadlines: the time that a tick took does not delay the next, and missed ticks are skipped.
        due = max(due + every, clock.now())
        if waiting is None or waiting.done():
            tick = Tick(asyncio.get_running_loop().create_future())
            if mailbox.offer(tick):
                waiting = tick.done
                assert waiting is not None
                # Retrieved, so that a crashed tick is reported once, by the supervisor.
                waiting.add_done_callback(lambda done: done.cancelled() or done.exception())


async def _either(one: asyncio.Task[Any], other: asyncio.Task[Any], keep: asyncio.Task[Any] | None = None) -> None:
    """Waits for the first of two tasks and cancels the other, unless it is to be kept."""
    try:
        await asyncio.wait({one, other}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in {one, other} - {keep}:
            task.cancel()


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    """Cancels children and returns once they are gone."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
