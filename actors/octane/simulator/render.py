"""Advances the simulator's render: samples over time, paused, stopped, finished. No I/O."""

from __future__ import annotations

from protos import octane_types_pb2 as wire


class Render:
    """How far one render is. Time comes in from outside, in seconds of any steady clock."""

    def __init__(self, max_samples: int, samples_per_second: float, rest: float) -> None:
        self.max_samples, self.samples_per_second, self.rest = max_samples, samples_per_second, rest
        self.state: int = wire.RSTATE_WAITING_FOR_DATA
        self.samples = 0
        self.wipes = 0
        self.change_level = 1
        self.view = 0  # which view of the scene; counts up each time a finished render makes room for the next
        self.seconds = 0.0  # spent rendering since the film was wiped
        self._finished = 0.0  # spent being finished
        self._now: float | None = None

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
        before = self.samples
        self.seconds += passed
        self.samples = min(self.max_samples, int(self.seconds * self.samples_per_second))
        if self.samples == self.max_samples:
            self.state, self._finished = wire.RSTATE_FINISHED, 0.0
        return self.samples > before

    def wipe(self) -> None:
        """Starts from no samples, and waits for the scene."""
        self.state = wire.RSTATE_WAITING_FOR_DATA
        self.samples, self.seconds = 0, 0.0
        self.wipes += 1
        self.change_level += 1

    def loaded(self) -> None:
        """Takes note that the scene is there."""
        if self.state == wire.RSTATE_WAITING_FOR_DATA:
            self.state = wire.RSTATE_RENDERING

    def pause(self) -> None:
        if self.state in (wire.RSTATE_RENDERING, wire.RSTATE_FINISHED):
            self.state = wire.RSTATE_PAUSED

    def resume(self) -> None:
        if self.state == wire.RSTATE_PAUSED:
            self.state = wire.RSTATE_FINISHED if self.samples >= self.max_samples else wire.RSTATE_RENDERING

    def restart(self) -> None:
        """Wipes the film and goes on, paused or not; a render that was stopped needs its target back first."""
        if self.state != wire.RSTATE_STOPPED:
            self.wipe()

    def stop(self) -> None:
        self.state = wire.RSTATE_STOPPED
        self.samples, self.seconds = 0, 0.0
