"""Emits the progress of tqdm's bars: `from router.sdk.adapters.tqdm import tqdm`, or `with reporting_bars(run):` around any code.

The bars of a run are nested as their loops are: the outer one says how far the run is, and the inner ones how far its current
step is. A bar that follows another one is a stage of its own, and does not set the progress back. Where the run is asked to stop,
the loop raises RunStopped.
"""

from __future__ import annotations

import functools
import io
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

try:
    from tqdm import std
    from tqdm.asyncio import tqdm_asyncio
except ImportError as fault:
    raise ImportError("this adapter needs tqdm: pip install 'callboard[tqdm]'") from fault

from router.sdk.adapters.context import current_port, reporting_to
from router.sdk.adapters.port import RunPort
from router.sdk.run import Run
from router.sdk.sync import SyncRun

__all__ = ["RunBars", "reporting_bars", "reporting_to", "tqdm"]

# 16 bars in each other; more are not loops but bars that nobody closed.
MAX_NESTED = 16


class RunBars:
    """The open bars of one run, the outermost first."""

    _of: WeakKeyDictionary[Run | SyncRun, RunBars] = WeakKeyDictionary()

    def __init__(self) -> None:
        self._bars: list[Any] = []
        self._furthest = 0.0

    @classmethod
    def of(cls, port: RunPort) -> RunBars:
        """The bars of a run."""
        return cls._of.setdefault(port.run, cls())

    def __contains__(self, bar: object) -> bool:
        return any(each is bar for each in self._bars)  # bars that stand in one line are equal

    def add(self, bar: Any) -> None:
        """Takes a bar that begins."""
        self._bars = [*self._bars[-MAX_NESTED + 1 :], bar]

    def remove(self, bar: Any) -> None:
        """Takes a bar that ends, and those within it that nobody closed."""
        places = [place for place, each in enumerate(self._bars) if each is bar]
        self._bars = self._bars[: places[0]] if places else self._bars

    def describe(self) -> tuple[float | None, dict[str, Any]]:
        """How far the run is, and what else the outer bar knows, as a `progress` event has it."""
        outer = self._bars[0]
        progress = self._fraction()
        if progress is not None and progress < self._furthest:
            progress = None
        self._furthest = max(self._furthest, progress or 0.0)
        known = outer.format_dict
        total, rate, current = known["total"], known["rate"], known["n"]
        if not rate and known["elapsed"] > 0:
            rate = (current - known["initial"]) / known["elapsed"]
        left = (total - current) / rate if total and rate and current <= total else None
        message = " · ".join(filter(None, (_said(each) for each in self._bars[1:]))) or None
        more = {
            "stage": (known["prefix"] or "").rstrip(": ") or None,
            "message": message,
            "current": current,
            "total": total,
            "rate": _finite(rate),
            "eta_seconds": _finite(left),
            "unit": known["unit"] if known["unit"] != "it" else None,
        }
        return progress, {name: value for name, value in more.items() if value is not None}

    def _fraction(self) -> float | None:
        """The share of the outer bar, and of its current step what the inner ones have done."""
        share, whole = 0.0, 1.0
        for bar in self._bars:
            if not bar.total or not 0 <= bar.n <= bar.total:
                break
            share += whole * bar.n / bar.total
            whole /= bar.total
        else:
            return min(1.0, share)
        return min(1.0, share) if bar is not self._bars[0] else None


class tqdm(tqdm_asyncio):  # type: ignore[misc]
    """tqdm's bar, which reports to the run of its context, or to `run`; also where its display is disabled."""

    def __init__(self, *arguments: Any, run: Run | SyncRun | None = None, **options: Any) -> None:
        self._callboard = RunPort(run) if run else current_port()
        super().__init__(*arguments, **_counting(options, self._callboard))
        _begun(self, self._callboard)

    def refresh(self, *arguments: Any, **options: Any) -> Any:
        _report(self, self._callboard)
        return super().refresh(*arguments, **options)

    def close(self) -> None:
        _ended(self, getattr(self, "_callboard", None))
        super().close()


@contextmanager
def reporting_bars(run: Run | SyncRun) -> Iterator[None]:
    """Every bar of tqdm that is made in this context reports to the run, in whatever library it is.

    While the block runs, tqdm's own class is replaced in three methods; bars of other contexts are left as they are.
    """
    bar = std.tqdm
    begin, refresh, close = bar.__init__, bar.refresh, bar.close
    ports: WeakKeyDictionary[Any, RunPort] = WeakKeyDictionary()

    @functools.wraps(begin)
    def begin_reporting(self: Any, *arguments: Any, **options: Any) -> None:
        port = None if isinstance(self, tqdm) else current_port()
        begin(self, *arguments, **_counting(options, port))
        if port is not None:
            ports[self] = port
            _begun(self, port)

    @functools.wraps(refresh)
    def refresh_reporting(self: Any, *arguments: Any, **options: Any) -> Any:
        _report(self, ports.get(self))
        return refresh(self, *arguments, **options)

    @functools.wraps(close)
    def close_reporting(self: Any) -> None:
        _ended(self, ports.get(self))
        close(self)

    bar.__init__, bar.refresh, bar.close = begin_reporting, refresh_reporting, close_reporting
    try:
        with reporting_to(run):
            yield
    finally:
        bar.__init__, bar.refresh, bar.close = begin, refresh, close


def _counting(options: dict[str, Any], port: RunPort | None) -> dict[str, Any]:
    """The options of a bar that counts: one that is disabled does not. Instead it shows nothing."""
    disable = options.get("disable", False)
    if disable is None:  # where the output is no terminal
        disable = not getattr(options.get("file") or sys.stderr, "isatty", lambda: False)()
    if port is None or not disable:
        return options
    return {**options, "disable": False, "file": io.StringIO(), "leave": False}


def _begun(bar: Any, port: RunPort | None) -> None:
    if port is not None and not bar.disable:
        RunBars.of(port).add(bar)
        _report(bar, port)


def _report(bar: Any, port: RunPort | None) -> None:
    """Reports a bar that is drawn anew, which tqdm does at most every `mininterval` (0.1 s). Raises RunStopped."""
    if port is not None and not bar.disable and bar in (bars := RunBars.of(port)):
        progress, more = bars.describe()
        port.progress(progress, **more)
        port.check()


def _ended(bar: Any, port: RunPort | None) -> None:
    """Reports where a bar ended, and forgets it."""
    if port is not None and bar in (bars := RunBars.of(port)):
        progress, more = bars.describe()
        port.progress(progress, **more)
        bars.remove(bar)


def _said(bar: Any) -> str:
    """What an inner bar says, in a few words."""
    words = f"{bar.desc.rstrip(': ')} " if bar.desc else ""
    return f"{words}{bar.n}/{bar.total}" if bar.total else f"{words}{bar.n}"


def _finite(number: float | None) -> float | None:
    return round(number, 6) if number is not None and math.isfinite(number) else None
