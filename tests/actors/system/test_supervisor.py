"""Tests of supervision in actors/system/supervisor.py, on a clock that is moved by hand."""

from __future__ import annotations

import asyncio

import pytest

from actors.system.actor import Actor, Restart
from actors.system.context import Context
from actors.system.life import Tick
from actors.system.probe import Probe
from actors.system.supervisor import tick_along
from router.cluster.leases import Viewers
from router.errors import Escalate
from router.mailbox import Mailbox
from router.timing import ManualClock
from tests.actors.system.sample_actors import made
from tests.waiting import PATIENCE, eventually, in_time


async def tick(self: Actor, ctx: Context) -> None:
    raise KeyError("always")


async def crash(probe: Probe) -> None:
    with pytest.raises(KeyError):
        await probe.tick()


async def test_more_crashes_than_allowed_escalate() -> None:
    clock = ManualClock()
    async with Probe(made(tick=tick, restart=Restart(tries=3, within=60)), clock=clock) as probe:
        for number in range(1, 5):
            await crash(probe)
            await eventually(lambda wanted=number: len(probe.crashes) == wanted)  # type: ignore[misc]
            await clock.advance(5)

        with pytest.raises(Escalate, match="the actor made crashed 4 times within 60 s"):
            await probe.tick()


async def test_crashes_that_lie_apart_do_not_escalate() -> None:
    clock = ManualClock()
    async with Probe(made(tick=tick, restart=Restart(tries=3, within=60)), clock=clock) as probe:
        for number in range(1, 20):
            await crash(probe)
            await eventually(lambda wanted=number: len(probe.crashes) == wanted)  # type: ignore[misc]
            await clock.advance(25)


async def test_a_crashed_actor_rests_before_it_comes_back() -> None:
    clock = ManualClock()
    started: list[float] = []

    async def start(self: Actor, ctx: Context) -> None:
        started.append(ctx.now())

    async with Probe(made(start=start, tick=tick, restart=Restart(tries=100, base=8, cap=8)), clock=clock) as probe:
        for number in range(1, 20):
            await crash(probe)
            await eventually(lambda wanted=number: len(probe.crashes) == wanted)  # type: ignore[misc]
            await clock.advance(8)

    begun, *again = started
    rests = [when - (begun + 8 * number) for number, when in enumerate(again)]
    assert all(0 <= rest <= 8 for rest in rests)
    assert len({round(rest, 3) for rest in rests}) > 5


async def test_a_constructor_that_fails_counts_as_a_crash() -> None:
    made_of = iter([made(tick=tick)()])

    def make() -> Actor:
        try:
            return next(made_of)
        except StopIteration:
            raise ValueError("no settings") from None

    async with Probe(make) as probe:
        await crash(probe)
        await eventually(lambda: len(probe.crashes) > 1)

        assert isinstance(probe.crashes[1], ValueError)


async def test_ticks_keep_their_pace_and_never_pile_up() -> None:
    clock = ManualClock(0)
    mailbox: Mailbox[object] = Mailbox(5)
    started = asyncio.Event()
    started.set()
    ticking = asyncio.ensure_future(tick_along(1.0, mailbox, clock, started))  # type: ignore[arg-type]

    await clock.advance(10.5)
    assert len(mailbox) == 1

    (waiting,) = mailbox.drain()
    assert isinstance(waiting, Tick) and waiting.done
    waiting.done.set_result(None)
    await clock.advance(0.4)
    assert len(mailbox) == 0
    await clock.advance(0.1)
    assert len(mailbox) == 1
    ticking.cancel()
    await asyncio.gather(ticking, return_exceptions=True)


class Counting(Probe):
    """A probe whose counting of viewers fails when it is told to."""

    async def count(self, viewers: Viewers) -> None:
        self.failing = asyncio.Event()
        await self.failing.wait()
        raise KeyError("viewers")


async def test_an_actor_that_is_cancelled_while_a_crash_ends_it_does_not_come_back() -> None:
    ending = asyncio.Event()

    async def start(self: Actor, ctx: Context) -> None:
        ctx.viewers("camera", "main")

    async def stop(self: Actor, ctx: Context) -> None:
        ending.set()
        await asyncio.Event().wait()

    async with Counting(made(start=start, stop=stop, restart=Restart(tries=100, base=0.01, cap=0.01))) as probe:
        running = probe._running
        assert running is not None
        await eventually(lambda: hasattr(probe, "failing"))
        probe.failing.set()
        await in_time(ending.wait())
        # The group of the actor's tasks has a fault now, and a cancellation on top of it.
        running.cancel()
        await asyncio.wait({running}, timeout=PATIENCE)
        assert running.cancelled()
