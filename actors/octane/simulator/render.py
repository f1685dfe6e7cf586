"""Advances the simulator's render: samples over time, in a region or all over, paused, stopped, finished. No I/O."""

from __future__ import annotations

from actors.octane.simulator.film import Box, Exposure
from protos import octane_types_pb2 as wire


class Render:
    """How far one render is. Time comes in from outside, in seconds of any steady clock."""

    def __init__(self, max_samples: int, samples_per_second: float, rest: float) -> None:
        self.max_samples, self.samples_per_second, self.rest = max_samples, samples_per_second, rest
        self.state: int = wire.RSTATE_WAITING_FOR_DATA
        self.samples = 0
        self.region: Box | None = None
        self.extra = 0  # samples that only the region has
        self.wipes = 0
        self.change_level = 1
        self.restarted_level = 1  # the change level that the film was wiped for last
        self.view = 0  # which view of the scene; counts up each time a finished render makes room for the next
        self.seconds = 0.0  # spent rendering since the film was wiped
        self._due = 0.0  # samples that time has paid for, with their fraction
        self._finished = 0.0  # spent being finished
        self._now: float | None = None

    @property
    def region_samples(self) -> int:
        """Samples of a pixel in the region; without a region, of any."""
        return self.samples + self.extra

    @property
    def exposure(self) -> Exposure:
        return Exposure(self.samples, self.region, self.extra, self.wipes)

    def advance(self, now: float) -> bool:
        """Moves on to that time, and says whether there are new samples."""
        passed, self._now = (now - self._now if self._now is not None else 0.0), now
        if self.state == wire.RSTATE_FINISHED:
            self._finished += passed
            if self._finished >= self.rest:
                self.view += 1
                self.wipe()
            return False
        if self.state != wire.RSTATE_RENDERING:
            return False
        before = self.region_samples
        self.seconds += passed
        self._due = min(self._due + passed * self.samples_per_second, float(self.max_samples))
        # Outside a region the samples stand still.
        if self.region is None:
            self.samples = max(self.samples, int(self._due + 1e-9))
        else:
            self.extra = max(self.extra, int(self._due + 1e-9) - self.samples)
        if self.region_samples >= self.max_samples:
            self.state, self._finished = wire.RSTATE_FINISHED, 0.0
        return self.region_samples > before

    def limit(self, region: Box | None) -> None:
        """Renders only that part, or all of it again. What the region has ahead of the rest stays on the film."""
        if region == self.region:
            return
        self.region, self.extra, self._due = region, 0, float(self.samples)
        if self.state == wire.RSTATE_FINISHED and self.samples < self.max_samples:
            self.state = wire.RSTATE_RENDERING

    def wipe(self) -> None:
        """Starts from no samples, and waits for the scene."""
        self.state = wire.RSTATE_WAITING_FOR_DATA
        self._empty()
        self.wipes += 1
        self.change_level += 1
        self.restarted_level = self.change_level

    def loaded(self) -> None:
        """Takes note that the scene is there."""
        if self.state == wire.RSTATE_WAITING_FOR_DATA:
            self.state = wire.RSTATE_RENDERING

    def pause(self) -> None:
        if self.state in (wire.RSTATE_RENDERING, wire.RSTATE_FINISHED):
            self.state = wire.RSTATE_PAUSED

    def resume(self) -> None:
        if self.state == wire.RSTATE_PAUSED:
            done = self.region_samples >= self.max_samples
            self.state = wire.RSTATE_FINISHED if done else wire.RSTATE_RENDERING

    def restart(self) -> None:
        """Wipes the film and goes on, paused or not; a render that was stopped needs its target back first."""
        if self.state != wire.RSTATE_STOPPED:
            self.wipe()

    def stop(self) -> None:
        self.state = wire.RSTATE_STOPPED
        self._empty()

    def _empty(self) -> None:
        self.samples = self.extra = 0
        self.seconds = self._due = 0.0
