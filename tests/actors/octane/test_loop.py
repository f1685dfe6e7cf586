"""A stream of large pictures leaves the event loop free."""

from __future__ import annotations

import asyncio
import time

import pytest

from ops.bench.stand import partner
from tests.actors.octane.watching import pictures, watching
from tests.waiting import eventually

# 20 ms of the loop's own CPU: what other processes of the machine take does not count, so a busy one fails nothing.
LONGEST = 0.020


class LoopCpu:
    """Measures how much CPU time the loop's thread takes from one look, a millisecond later, to the next."""

    def __init__(self) -> None:
        self.spent: list[float] = []
        self._loop = asyncio.get_running_loop()
        self._before = time.thread_time()
        self._next = self._loop.call_later(0.001, self._look)

    def _look(self) -> None:
        now = time.thread_time()
        self.spent.append(now - self._before)
        self._before = now
        self._next = self._loop.call_later(0.001, self._look)

    def stop(self) -> None:
        self._next.cancel()


async def test_the_measure_sees_a_callback_that_holds_the_loop() -> None:
    cpu = LoopCpu()
    await asyncio.sleep(0.005)
    until = time.thread_time() + LONGEST
    while time.thread_time() < until:
        pass
    await eventually(lambda: max(cpu.spent, default=0) >= LONGEST)
    cpu.stop()


@pytest.mark.slow
async def test_no_callback_holds_the_loop_for_20_ms_while_1080p_pictures_are_fetched_and_encoded() -> None:
    async with partner("octane_source", "BETA_2", "1920", "1080", "20") as source:
        address = str((await source.ask("address"))["address"])
        async with watching(address) as probe:
            probe.set_viewers("octane", "main", 1)
            await eventually(lambda: len(pictures(probe)) > 3)
            cpu, seen = LoopCpu(), len(pictures(probe))
            await eventually(lambda: len(pictures(probe)) > seen + 20)
            cpu.stop()

    assert len(cpu.spent) > 100
    assert max(cpu.spent) < LONGEST, sorted(cpu.spent)[-5:]
