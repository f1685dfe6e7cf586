"""Tests of actors/system/source.py, on a clock that is moved by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from actors.system.source import Source, SourceEnded
from router.timing import ManualClock

Beat = Callable[[], None]


class Kept:
    """One source, kept running on a manual clock; counts its runs."""

    def __init__(
        self,
        run: Callable[[Beat, ManualClock], Awaitable[None]],
        silence: float | None = None,
        longest_pause: float = 15.0,
    ) -> None:
        self.clock = ManualClock()
        self.runs = 0
        self.ended = 0
        self.restarts = 0

        async def counted(beat: Beat) -> None:
            self.runs += 1
            try:
                await run(beat, self.clock)
            finally:
                self.ended += 1

        self.source = Source("eye", counted, silence, self.clock, self._restarted, longest_pause)

    def _restarted(self) -> None:
        self.restarts += 1

    async def __aenter__(self) -> Kept:
        self.keeping = asyncio.ensure_future(self.source.keep())
        await self.clock.advance(0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.keeping.cancel()
        await asyncio.gather(self.keeping, return_exceptions=True)
        assert self.runs == self.ended


async def forever(beat: Beat, clock: ManualClock) -> None:
    await asyncio.Event().wait()


async def test_a_source_that_crashes_is_restarted_after_a_pause() -> None:
    async def run(beat: Beat, clock: ManualClock) -> None:
        raise OSError("unplugged")

    async with Kept(run) as kept:
        assert kept.runs == 1

        await kept.clock.advance(1000)

        assert kept.runs > 50
        assert kept.restarts >= kept.runs - 1
        assert kept.runs < 1000  # the pauses have grown


async def test_a_source_that_returns_is_restarted_too() -> None:
    async def run(beat: Beat, clock: ManualClock) -> None:
        return None

    async with Kept(run) as kept:
        await kept.clock.advance(60)

        assert kept.runs > 1


async def test_a_source_that_falls_silent_is_cancelled_and_restarted() -> None:
    async with Kept(forever, silence=5) as kept:
        await kept.clock.advance(4.9)
        assert (kept.runs, kept.ended) == (1, 0)

        await kept.clock.advance(0.5)
        assert kept.ended == 1

        await kept.clock.advance(0.5)
        assert kept.runs == 2


async def test_a_source_that_beats_is_left_alone() -> None:
    async def run(beat: Beat, clock: ManualClock) -> None:
        while True:
            await clock.sleep(4)
            beat()

    async with Kept(run, silence=5) as kept:
        await kept.clock.advance(100)

        assert (kept.runs, kept.restarts) == (1, 0)


async def test_a_source_without_a_silence_may_be_quiet_for_ever() -> None:
    async with Kept(forever) as kept:
        await kept.clock.advance(1e6)

        assert kept.runs == 1


async def test_a_source_that_says_it_has_ended_stays_ended() -> None:
    async def run(beat: Beat, clock: ManualClock) -> None:
        raise SourceEnded

    async with Kept(run) as kept:
        await kept.clock.advance(100)

        assert (kept.runs, kept.restarts) == (1, 0)
        assert kept.keeping.done()


async def test_a_stopped_source_is_cancelled_for_good() -> None:
    async with Kept(forever) as kept:
        kept.source.stop()
        await kept.clock.advance(100)

        assert (kept.runs, kept.ended) == (1, 1)
        assert kept.keeping.done()


async def test_a_long_good_run_makes_the_next_pause_short_again() -> None:
    lives = [0.0] * 8 + [120.0, 0.0]

    async def run(beat: Beat, clock: ManualClock) -> None:
        await clock.sleep(lives.pop(0) if lives else 1e6)

    async with Kept(run) as kept:
        while lives:
            await kept.clock.advance(1)
        runs = kept.runs
        await kept.clock.advance(0.5)

        assert kept.runs - runs <= 2
        assert kept.source.restarts >= 10


async def test_however_often_it_failed_the_pause_is_never_longer_than_the_longest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def fails(beat: Beat, clock: ManualClock) -> None:
        raise OSError

    # The longest pause that chance could choose.
    monkeypatch.setattr("actors.system.source.full_jitter", lambda attempt, base, cap: min(cap, base * 2.0**attempt))
    async with Kept(fails, longest_pause=1.0) as kept:
        for runs in range(2, 20):
            await kept.clock.advance(1.0)
            assert kept.runs >= runs


async def test_a_source_that_hung_has_waited_already_and_is_restarted_at_once_however_often_it_did() -> None:
    async with Kept(forever, silence=3.0, longest_pause=3.0) as kept:
        await kept.clock.advance(3.25 * 20)

        # A pause of its own, of 1.5 s on average, would leave about 15.
        assert kept.runs >= 20


async def test_failures_in_a_row_are_logged_ever_more_seldom(caplog: pytest.LogCaptureFixture) -> None:
    async def fails(beat: Beat, clock: ManualClock) -> None:
        raise OSError

    async with Kept(fails, longest_pause=1.0) as kept:
        while kept.restarts < 20:
            await kept.clock.advance(1.0)

    told = [record.__dict__["failures"] for record in caplog.records if "restarting" in record.getMessage()]
    assert [failures for failures in told if failures <= 16] == [1, 2, 4, 8, 16]
