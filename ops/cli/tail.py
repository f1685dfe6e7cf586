"""Follows events on the command line: from stored ones to live ones, with none missing between.

The hand-over is that of every reader: buffer live events first (bounded), read the stored ones up to them, then go on with the
buffer. A lost connection or a full buffer leads back to reading stored events.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ops.cli.interruptible import run_interruptibly
from ops.process.logs import configure_quiet
from ops.settings import Mistakes, Settings
from ops.terminal import Paint, safe
from ops.values import seconds
from router.beginning import Beginnings
from router.broker import Broker
from router.codec import to_json
from router.cursor import Cursor, Start, VectorCursor, parse_start
from router.errors import BadInput, BrokerError
from router.event import Event
from router.events_state import EventsState
from router.live import Live
from router.live_subscription import Loss
from router.place import Gap, cursor_of, foreign, place_of
from router.position import Position
from router.record import Record
from router.replay import Replay
from router.subject import check_pattern, distinct

if TYPE_CHECKING:
    from router.filter import Filter

# 10,000 live events that are not printed yet: more are read from the store instead.
BUFFER = 10_000
# A NATS that is away is asked again this often.
RETRY_SECONDS = 0.3

_STYLES = {
    "octane": "magenta", "camera": "blue", "agent": "cyan", "job": "cyan", "thread": "cyan",
    "alert": "red", "session": "dim", "system": "yellow", "metric": "green",
}  # fmt: skip
# A value longer than this is cut on a terminal; --json shows all.
MAX_VALUE = 120


@dataclass(frozen=True)
class TailRequest:
    """What is to be followed, and from where."""

    patterns: tuple[str, ...]
    since: str | None = None
    last: str | None = None
    types: tuple[str, ...] = ()
    filter: str | None = None
    count: int | None = None
    follow: bool = True
    json: bool = False


class Tail:
    """One reader of EVENTS, from a start to the end of time or of the past."""

    def __init__(self, broker: Broker, patterns: tuple[str, ...]) -> None:
        self.epoch = ""
        self._broker = broker
        self._patterns = patterns
        self._replay = Replay(broker)
        self._beginnings = Beginnings(broker, self._replay)
        self._live = Live(broker, self._heard, self._broken, self._replay.checks, self._moved)
        self._buffer: deque[Record] = deque()
        self._something = asyncio.Event()
        self._lost = False
        # The newest event that was yielded.
        self._last: Record | None = None
        broker.connection.on_loss(lambda: self._broken("the connection to NATS was lost"))
        broker.connection.on_reconnect(self._something.set)

    def _heard(self, record: Record) -> None:
        if len(self._buffer) >= BUFFER:
            self._broken("too many at once")
        else:
            self._buffer.append(record)
            self._something.set()

    def _moved(self) -> None:
        self._broken("events are stored in other streams")

    def _broken(self, _reason: str, _loss: Loss | None = None) -> None:
        self._lost = True
        self._buffer.clear()
        self._live.forget()
        self._something.set()

    async def follow(self, start: Start, follow: bool = True) -> AsyncGenerator[Record | Gap, None]:
        """Yields events in stream order, and gaps where some are gone for ever. Raises BrokerError at the start only."""
        await self._live.want(self._patterns)
        state = await self._broker.events_state()
        self.epoch = state.epoch
        self._replay.layout = state.layout
        place = await self._beginnings.place(start, self._patterns, state)
        at, known = place.after, state.last
        self._live.restart(known, state.layout)
        while True:
            more = True
            while more:
                try:
                    stretch = await self._replay.stretch(self._patterns, at, known)
                except BrokerError:
                    if not follow:
                        raise
                    await asyncio.sleep(RETRY_SECONDS)
                    continue
                for record in stretch.records:
                    self._last = record
                    yield record
                at, more = at.joined(stretch.upto), stretch.more
            if not follow:
                return
            while not self._lost:
                while self._buffer:
                    record = self._buffer.popleft()
                    if not at.covers(record):
                        at = at.after(record)
                        self._last = record
                        yield record
                if not self._lost:
                    self._something.clear()
                    await self._something.wait()
            gap, at, known = await self._recover(at)
            if gap:
                yield gap

    async def _recover(self, at: Position) -> tuple[Gap | None, Position, Position]:
        """Waits for NATS and finds out where the stream is now; tells of a stream that begins after our place."""
        while True:
            self._lost = False
            self._buffer.clear()
            try:
                async with asyncio.timeout(5):
                    await self._broker.connection.up.wait()
                state = await self._broker.events_state()
                self._replay.forget()
                place = place_of(await self._cursor(at, state), state)
            except (BrokerError, TimeoutError):
                await asyncio.sleep(RETRY_SECONDS)
                continue
            if self._lost:
                continue
            self.epoch, self._replay.layout = state.epoch, state.layout
            self._live.restart(state.last, state.layout)
            if place.gap is not None and place.gap.reset:
                self._last = None
            return place.gap, place.after, state.last

    async def _cursor(self, at: Position, state: EventsState) -> Cursor | VectorCursor:
        """Where it stands, foreign where the streams hold something else there by now. Raises BrokerError."""
        generation, last = self._replay.layout.generation(at.generation), self._last
        cursor = cursor_of(at, "" if generation is None else generation.epoch)
        if last is None or generation is None:
            return cursor
        seen = Cursor(generation.shards[last.shard.index].epoch, last.sequence, last.check)
        fits = last.shard.generation != at.generation or await self._beginnings.fits(seen, state)
        return cursor if fits else foreign(cursor)


def run_tail(settings: Settings, request: TailRequest) -> int:
    """Prints events until Ctrl-C, or until what was asked for has been shown. Raises Mistakes or BrokerError."""
    configure_quiet(settings.log)
    try:
        patterns = distinct(check_pattern(pattern) for pattern in request.patterns)
        start = _start(request)
        accepts = _accepts(request)
    except BadInput as fault:
        raise Mistakes([f"tail: {fault}"]) from None
    if request.count is not None and request.count < 1:
        raise Mistakes(["tail: --count needs a number from 1 on"])
    run_interruptibly(_print(settings, request, patterns, start, accepts))
    return 0


def _start(request: TailRequest) -> Start:
    since = request.since
    if since and re.fullmatch(r"[\d.]+(ms|[smhdw])(\d+(ms|[smhdw]))*", since):
        since = datetime.fromtimestamp(time.time() - seconds(since), UTC).isoformat()
    if request.last == "all":
        return Start(earliest=True)
    return parse_start(None, since, request.last) or Start(now=request.follow, earliest=not request.follow)


def _accepts(request: TailRequest) -> Callable[[Event], bool]:
    types = frozenset(request.types)
    chosen: Filter | None = None
    if request.filter:
        from router.filter import Filter

        chosen = Filter.compile(request.filter)
    return lambda event: (not types or event.type in types) and (chosen is None or chosen.matches(event))


async def _print(
    settings: Settings, request: TailRequest, patterns: tuple[str, ...], start: Start, accepts: Callable[[Event], bool]
) -> None:
    lines = sys.stdout.isatty() and not request.json
    paint = Paint.of(sys.stdout)
    left = request.count
    async with Broker(settings.broker, "tail", settings.topology) as broker:
        tail = Tail(broker, patterns)
        if lines and request.follow:
            print(paint(f"following {' '.join(patterns)}; Ctrl-C ends it", "dim"), file=sys.stderr)
        async with contextlib.aclosing(tail.follow(start, request.follow)) as records:
            async for record in records:
                if isinstance(record, Gap):
                    whole = (
                        "the stream was made anew"
                        if record.reset
                        else f"{_sequences(record.first)} to {_sequences(record.last)} are no longer kept"
                    )
                    print(f"callboard: events are missing: {whole}", file=sys.stderr)
                    continue
                event = record.event
                if event is None or not accepts(event):
                    continue
                print(line(event, paint) if lines else _json(record, tail.epoch), flush=True)
                if left is not None:
                    left -= 1
                    if left == 0:
                        return


def _sequences(position: Position) -> str:
    return "~".join(map(str, position.sequences))


def _json(record: Record, epoch: str) -> str:
    from edge.dialects.callback import callback

    return callback(record, epoch).decode()


def line(event: Event, paint: Paint) -> str:
    """Writes one event for people: when, where, and what it says."""
    moment = datetime.fromtimestamp(event.time / 1e9).strftime("%H:%M:%S.%f")[:-3]
    style = _STYLES.get(event.subject.domain, "")
    kind = "" if event.subject.endswith(f".{event.type}") else f" {paint(event.type, 'bold')}"
    mark = paint(" test", "yellow") if event.test else ""
    values = "  ".join(f"{paint(safe(str(name)) + '=', 'dim')}{_value(value)}" for name, value in event.data.items())
    return f"{paint(moment, 'dim')}  {paint(event.subject, style)}{kind}{mark}  {values}".rstrip()


def _value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    text = value if isinstance(value, str) else to_json(value).decode()
    text = safe(text.replace("\n", "⏎").replace("\r", ""))
    return text if len(text) <= MAX_VALUE else text[: MAX_VALUE - 1] + "…"
