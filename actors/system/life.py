"""Runs one incarnation of an actor: start, one message at a time, each settled, stop."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from actors.system.actor import Actor, Reject, arguments
from actors.system.caller import calling
from actors.system.context import Context
from router import tracing
from router.event import Event
from router.mailbox import Mailbox

log = logging.getLogger(__name__)

# Deliveries beyond `attempts` that were never settled, each cut short by a process that died or was shut down. After
# five of these the event itself is assumed to be the cause.
CUT_SHORT = 5
# How long an actor's `stop` may take.
STOP_SECONDS = 5.0


class Settle(Protocol):
    """How a delivery ends."""

    async def ack(self) -> None:
        """The event is done with."""
        ...

    async def retry(self, delay: float) -> None:
        """The event comes again."""
        ...

    async def reject(self, reason: str, detail: str) -> None:
        """The event is a dead letter."""
        ...


@dataclass(slots=True)
class EventDelivery:
    """One attempt to hand one event to the actor; `origin` is a digest of the stored event, the same at each attempt."""

    event: Event
    attempt: int
    settle: Settle
    origin: str | None = None


class CommandReply(Protocol):
    """How a call ends."""

    async def value(self, value: Any) -> None:
        """The command returned."""
        ...

    async def error(self, code: int, text: str, crash: Exception | None = None) -> None:
        """The command refused (400) or failed (500)."""
        ...


@dataclass(slots=True)
class Call:
    """One command asked of the actor; `caller` is the principal who asked, where the edge passed one on."""

    command: str
    arguments: Mapping[str, Any]
    answer: CommandReply
    caller: str | None = None


@dataclass(slots=True)
class Tick:
    """A tick of the actor's clock; `done` is set once it was handled."""

    done: asyncio.Future[None] | None = None


Message = EventDelivery | Call | Tick


async def live(actor: Actor, mailbox: Mailbox[Message], ctx: Context, started: asyncio.Event | None = None) -> None:
    """One incarnation: start, take messages one at a time, stop. Raises what crashed it."""
    async with ctx.incarnation():
        try:
            async with asyncio.timeout(actor.timeout):
                with ctx.outbox() as outbox:
                    await actor.start(ctx)
            await ctx.flush(outbox)
            if started:
                started.set()
            async for message in mailbox:
                match message:
                    case EventDelivery():
                        await handle(actor, message, ctx)
                    case Call():
                        await answer(actor, message, ctx)
                    case Tick():
                        await tick(actor, message, ctx)
        finally:
            await end(actor, ctx)


async def end(actor: Actor, ctx: Context) -> None:
    """Ends the sources, then calls the actor's `stop`. An error here must not hide the one that came before."""
    await ctx.children_ended()
    try:
        async with asyncio.timeout(min(actor.timeout, STOP_SECONDS)):
            with ctx.outbox() as outbox:
                await actor.stop(ctx)
            await ctx.flush(outbox)
    except Exception:
        log.exception("actor failed to stop cleanly", extra={"actor": actor.name})


async def handle(actor: Actor, delivery: EventDelivery, ctx: Context) -> None:
    """Settle one delivery: every path out of here decides what becomes of the event."""
    if delivery.attempt > actor.attempts + CUT_SHORT:
        ctx.gauges.deadletters.inc()
        await delivery.settle.reject("cut_short", "the process ended each time before the event was done")
        return
    trace = delivery.event.trace
    with tracing.bind(event=delivery.event.id, trace=tracing.trace_id(trace)):
        if trace is None or tracing.recorder is None:
            await _handle(actor, delivery, ctx, trace)
            return
        began, span, fault = time.time_ns(), tracing.begin(trace), "failed"
        try:
            await _handle(actor, delivery, ctx, span)
            fault = ""
        finally:
            tracing.tell("receive", "consumer", trace, span, began, fault, actor=actor.name, event=delivery.event.id)


async def _handle(actor: Actor, delivery: EventDelivery, ctx: Context, trace: str | None) -> None:
    begun = ctx.now()
    outcome = "cancelled"
    ctx.gauges.take.observe(max(0.0, time.time() - delivery.event.time / 1e9))
    try:
        with ctx.outbox(delivery.event, delivery.origin) as outbox:
            outbox.trace = trace
            async with asyncio.timeout(actor.timeout):
                await actor.receive(delivery.event, ctx)
        await ctx.flush(outbox)
    except Reject as fault:
        outcome = "rejected"
        ctx.gauges.deadletters.inc()
        await delivery.settle.reject("rejected", str(fault))  # the actor lives on
    except Exception as crash:
        outcome = "timeout" if isinstance(crash, TimeoutError) else "failed"
        if delivery.attempt >= actor.attempts:
            ctx.gauges.deadletters.inc()
            await delivery.settle.reject("attempts_spent", f"{type(crash).__name__}: {crash}")
        else:
            await delivery.settle.retry(actor.restart.delay(delivery.attempt))
        raise  # the actor does not live on
    else:
        outcome = "acked"
        await delivery.settle.ack()
        ctx.gauges.acknowledge.observe(max(0.0, time.time() - delivery.event.time / 1e9))
    finally:
        ctx.gauges.receive[outcome].observe(ctx.now() - begun)


async def answer(actor: Actor, call: Call, ctx: Context) -> None:
    """Runs one command and answers: a refusal with its text, an unexpected error with an id that is found in the log."""
    outcome = "failed"
    try:
        method = actor.commands().get(call.command)
        if method is None:
            raise Reject(f"no command {call.command!r}")
        given = arguments(method, call.arguments)
        with ctx.outbox() as outbox, calling(call.caller):
            async with asyncio.timeout(actor.timeout):
                value = await method(**given)
        await ctx.flush(outbox)
    except Reject as fault:
        outcome = "refused"
        await call.answer.error(400, str(fault))
    except Exception as crash:
        number = secrets.token_hex(6)
        log.warning(
            "command raised an unexpected error; the actor restarts",
            extra={"actor": actor.name, "command": call.command, "error_id": number},
        )
        await call.answer.error(500, f"error {number}", crash)
        raise
    except asyncio.CancelledError:
        outcome = "cancelled"
        await call.answer.error(503, "shutting down")
        raise
    else:
        outcome = "answered"
        await call.answer.value(value)
    finally:
        ctx.gauges.commands[outcome].inc()


async def tick(actor: Actor, message: Tick, ctx: Context) -> None:
    """Runs the actor's `tick`."""
    try:
        with ctx.outbox() as outbox:
            async with asyncio.timeout(actor.timeout):
                await actor.tick(ctx)
        await ctx.flush(outbox)
    except Exception as crash:
        if message.done and not message.done.done():
            message.done.set_exception(crash)
        raise
    else:
        if message.done and not message.done.done():
            message.done.set_result(None)
