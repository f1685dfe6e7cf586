"""Fifty faults of Octanes of both generations, each in mid-render: state and picture are true again soon, and nothing leaks."""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import random
import threading
import time
from collections.abc import Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from actors.octane.simulator.faults import OctaneFault
from actors.octane.simulator.simulator import OctaneGeneration, Simulator
from actors.system.probe import Probe
from protos import octane_types_pb2 as wire
from tests.actors.octane.simulation import LONG, simulated
from tests.actors.octane.watching import latest, watching
from tests.waiting import eventually

# How long a state or a picture may be wrong, in seconds.
SOON = 3.0
FAULTS = 50
# No end, no next view, and samples that a picture of three seconds ago would be far behind of.
GOING = replace(LONG, rest=600.0, max_samples=10_000_000)

# What a fault makes true while it lasts: status, picture.
LASTING = {
    OctaneFault.HANG: ("busy", "stale"),
    OctaneFault.SHORT: ("connected", "unreadable"),
    OctaneFault.SHARED_SURFACE: ("connected", "unreadable"),
    OctaneFault.COMPRESSED: ("connected", "unreadable"),
    OctaneFault.HUGE: ("connected", "unreadable"),
    OctaneFault.UNKNOWN_STATUS: ("refused", "live"),
    OctaneFault.DUPLICATE: ("connected", "live"),
    OctaneFault.PENDING: ("connected", "live"),
}
ONCE = (OctaneFault.SLOT, OctaneFault.STREAM, OctaneFault.RESTART, OctaneFault.LATE)


def faults(seed: int, count: int) -> list[OctaneFault]:
    """Faults in an order of their own; each kind at least once, and every third a theft of the slot."""
    chosen = random.Random(seed)
    rest = [*LASTING, *ONCE]
    kinds = [OctaneFault.SLOT] * (count // 3)
    kinds += [rest[index % len(rest)] for index in range(count - len(kinds))]
    chosen.shuffle(kinds)
    return kinds


@dataclass
class Lag:
    """How long this process was kept from running: a machine with other work to do is no fault of the actor."""

    seconds: float = 0.0

    @asynccontextmanager
    async def measured(self) -> Any:
        task = asyncio.create_task(self._measure())
        try:
            yield self
        finally:
            task.cancel()

    async def _measure(self) -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.05)
            self.seconds += max(0.0, time.monotonic() - before - 0.1)


@dataclass
class Watched:
    """One Octane and the actor that shows it."""

    octane: Simulator
    probe: Probe
    lag: Lag
    times: dict[str, list[float]] = field(default_factory=dict)

    def is_so(self, status: str, picture: str) -> bool:
        state = latest(self.probe)
        return (state.get("status"), state.get("picture")) == (status, picture)

    def shows_the_render(self, since: tuple[int, int] = (0, -1)) -> bool:
        """Whether the newest picture is of this render, less than three seconds old, and newer than that one."""
        if not self.probe.frames or not self.is_so("connected", "live"):
            return False
        header, render = self.probe.frames[-1][1], self.octane.render
        behind = render.samples - header["samples"]
        newer = (self.octane.restarts, header["samples"]) > since
        current = header["change_level"] == render.change_level and 0 <= behind <= SOON * render.samples_per_second
        return newer and current

    @property
    def now(self) -> tuple[int, int]:
        """How far the render is: lives of its process, samples."""
        return self.octane.restarts, self.octane.render.samples

    async def becomes(self, what: str, condition: Callable[[], bool]) -> None:
        """Waits until it is so, and fails where that took too long; the time that the machine took does not count."""
        begun, lag = time.monotonic(), self.lag.seconds
        await eventually(condition, within=60.0)
        took = time.monotonic() - begun - (self.lag.seconds - lag)
        self.times.setdefault(what, []).append(took)
        if took > SOON:
            states = [data for subject, data in self.probe.emitted if subject == "octane.main.state"]
            lines = "\n".join(f"  {each}" for each in states[-6:])
            pytest.fail(f"{what} took {took:.1f} s:\n{lines}")

    async def suffers(self, fault: OctaneFault) -> None:
        """Shows a fault in mid-render, and waits for what it makes true, then for the truth after it."""
        render = self.octane.render
        before = render.samples
        await eventually(lambda: render.samples > before + 2 or render.state != wire.RSTATE_RENDERING)
        if fault is OctaneFault.UNKNOWN_STATUS:
            # After thefts in a row the actor takes its time to open the stream again, and fetches pictures meanwhile.
            await eventually(lambda: self.octane.listeners)
        restarts = self.octane.restarts
        self.octane.strike(fault)
        if fault is OctaneFault.RESTART:
            await eventually(lambda: self.octane.restarts > restarts)
        elif fault in LASTING:
            status, picture = LASTING[fault]
            await self.becomes(f"{fault.value}: {status}, {picture}", lambda: self.is_so(status, picture))
            self.octane.clear(fault)
        since = self.now
        await self.becomes(f"after {fault.value}", lambda: self.shows_the_render(since))
        # What it was told is not needed any more, and would be taken for a leak.
        del self.probe.frames[:-1], self.probe.emitted[:-20], self.probe.events[:-20]


@asynccontextmanager
async def watched(generation: OctaneGeneration, lag: Lag) -> Any:
    async with simulated(replace(GOING, generation=generation)) as octane, watching(octane.address) as probe:
        probe.set_viewers("octane", "main", 1)
        one = Watched(octane, probe, lag)
        await eventually(one.shows_the_render)
        # A change level that a late picture can be before.
        await probe.ask("restart")
        await eventually(one.shows_the_render)
        yield one


def usage() -> tuple[int, int, int]:
    """File descriptors, threads, and resident bytes of this process."""
    gc.collect()
    with open("/proc/self/statm", encoding="ascii") as file:
        pages = int(file.read().split()[1])
    return len(os.listdir("/proc/self/fd")), threading.active_count(), pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.slow
async def test_state_and_picture_are_true_within_three_seconds_of_fifty_faults_and_nothing_leaks():
    lag = Lag()
    async with (
        lag.measured(),
        watched(OctaneGeneration.BETA_2, lag) as newer,
        watched(OctaneGeneration.ALPHA_5, lag) as older,
    ):
        plans = [(newer, faults(16, FAULTS // 2)), (older, faults(17, FAULTS // 2))]

        async def run(one: Watched, plan: list[OctaneFault]) -> None:
            for fault in plan:
                await one.suffers(fault)

        # The first ten of each warm what is kept for good.
        await asyncio.gather(*(run(one, plan[:10]) for one, plan in plans))
        before = usage()
        await asyncio.gather(*(run(one, plan[10:]) for one, plan in plans))
        after = usage()

        for what, took in sorted(itertools.chain(newer.times.items(), older.times.items())):
            print(f"{what}: {', '.join(f'{each:.1f}' for each in took)} s")
        print(f"descriptors, threads, bytes: {before} → {after}; lag {lag.seconds:.1f} s")
        assert sum(len(plan) for _, plan in plans) == FAULTS
        assert newer.probe.crashes == older.probe.crashes == []
        assert after[0] <= before[0] + 6 and after[1] <= before[1] + 4
        assert after[2] <= before[2] + (24 << 20)
