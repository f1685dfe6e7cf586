"""Restarts a long-running child of an actor when it ends, crashes or falls silent."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from router.errors import RouterError
from router.timing import Clock, full_jitter

log = logging.getLogger(__name__)

Run = Callable[[Callable[[], None]], Awaitable[None]]
"""`async def run(beat)`: calls beat() whenever it is seen to be alive."""

MIN_PAUSE_SECONDS = 0.2
MAX_PAUSE_SECONDS = 15.0
# After a run of a minute the backoff starts over.
GOOD_RUN_SECONDS = 60.0


class SourceEnded(RouterError):
    """the source has come to its end and is not to be restarted"""


class Source:
    """One long-running child."""

    def __init__(
        self,
        name: str,
        run: Run,
        silence: float | None,
        clock: Clock,
        restarted: Callable[[], None],
        longest_pause: float = MAX_PAUSE_SECONDS,
    ) -> None:
        self.name = name
        self.restarts = 0
        self._run = run
        self._silence = silence
        self._clock = clock
        self._restarted = restarted
        self._longest_pause = longest_pause
        self._heard = 0.0
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Ends the source for good; what it runs is cancelled."""
        self._stopping.set()

    async def keep(self) -> None:
        """Runs the source, again and again, until it ends for good or is stopped or cancelled."""
        failures = 0
        while not self._stopping.is_set():
            begun = self._clock.now()
            reason = await self._once(loud=self._is_loud(failures + 1))
            if reason is None:
                return
            failures = 1 if self._clock.now() - begun > GOOD_RUN_SECONDS else failures + 1
            pause = self._pause(failures)
            self.restarts += 1
            self._restarted()
            log.log(
                logging.WARNING if self._is_loud(failures) else logging.DEBUG,
                "source ended; restarting it",
                extra={"source": self.name, "reason": reason, "failures": failures, "pause": round(pause, 3)},
            )
            await self._first(self._clock.sleep(pause), self._stopping.wait())

    def beat(self) -> None:
        """Heartbeat: resets the silence timeout. May be called from any thread."""
        self._heard = self._clock.now()

    def _pause(self, failures: int) -> float:
        """Seconds until the next run. Where silence is bounded, they count from the last sign of life: a source that hung,
        or waited for an answer in vain, was left alone meanwhile."""
        pause = full_jitter(failures, MIN_PAUSE_SECONDS, self._longest_pause)
        waited = 0.0 if self._silence is None else self._clock.now() - self._heard
        return max(min(pause, full_jitter(1, MIN_PAUSE_SECONDS, self._longest_pause)), pause - waited)

    @staticmethod
    def _is_loud(failures: int) -> bool:
        """A source that is away for a week must not fill the log: the 1st, 2nd, 4th, 8th … failure are logged."""
        return failures & (failures - 1) == 0

    async def _once(self, loud: bool = True) -> str | None:
        """One run; says why there has to be another, or None."""
        self._heard = self._clock.now()
        running = asyncio.ensure_future(self._run(self.beat))
        try:
            await self._first(running, self._quiet(), self._stopping.wait())
            if self._stopping.is_set():
                return None
            if not running.done():
                return f"silent for {self._silence:g} s"
        finally:
            running.cancel()
            # Not awaited bare: what it raises is looked at below, and is no reason for the actor to crash.
            await asyncio.wait({running})
        if running.cancelled():
            return "cancelled itself"
        fault = running.exception()
        if fault is None:
            return "ended"
        if isinstance(fault, SourceEnded):
            return None
        if not isinstance(fault, Exception):
            raise fault
        log.log(logging.INFO if loud else logging.DEBUG, "source crashed", extra={"source": self.name}, exc_info=fault)
        return f"{type(fault).__name__}: {fault}"

    async def _quiet(self) -> None:
        """Returns once nothing was heard for as long as the source may be silent."""
        if self._silence is None:
            await asyncio.Event().wait()
            return
        while (left := self._heard + self._silence - self._clock.now()) > 0:
            await self._clock.sleep(left)

    @staticmethod
    async def _first(*waits: Awaitable[object]) -> None:
        """Returns once one of them is over; the others are cancelled, except a task that was handed in."""
        tasks = {asyncio.ensure_future(wait) for wait in waits}
        own = tasks - {wait for wait in waits if isinstance(wait, asyncio.Task)}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in own:
                task.cancel()
            if own:
                await asyncio.wait(own)
