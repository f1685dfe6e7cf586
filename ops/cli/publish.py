"""Publishes events from the command line: one, or one for each line of standard input."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from ops.cli.interruptible import run_interruptibly
from ops.process.logs import configure_quiet
from ops.settings import Mistakes, Settings
from ops.terminal import StatusLine, bar
from router.broker import Broker
from router.codec import check_depth, from_json, to_json
from router.errors import BadEvent, BadInput, RouterError
from router.event import Event
from router.nats.stream import Ack

# 256 events on their way at once: a round trip is shared by many, and an error is known soon after its line.
WINDOW = 256
# 1 MiB, the edge's own limit for a body.
MAX_LINE = 1024 * 1024
SHOW_EVERY = 0.1


@dataclass(frozen=True)
class PublishRequest:
    """What is to be published. `data` is JSON, - for a line each, or nothing; a subject of - takes whole events."""

    subject: str
    data: str | None = None
    type: str | None = None
    key: str | None = None
    test: bool = False
    json: bool = False

    @property
    def streams(self) -> bool:
        return self.data == "-" or self.subject == "-"

    def event(self, line: str | bytes | None) -> Event:
        """Makes an event of one line; raises BadInput."""
        value = {} if line is None else from_json(line)
        check_depth(value)
        subject, data, kind, key, id = self.subject, value, self.type, self.key, None
        if subject == "-":
            if not isinstance(value, dict):
                raise BadEvent('each line must be an event: {"subject": …, "data": {…}}')
            if strangers := value.keys() - {"subject", "data", "type", "key", "id"}:
                raise BadEvent(f"an event has no {', '.join(sorted(map(str, strangers)))}")
            subject, data, id = value.get("subject", ""), value.get("data"), value.get("id")
            kind, key = value.get("type", kind), value.get("key", key)
        if data is not None and not isinstance(data, dict):
            raise BadEvent("data must be a JSON object")
        if key is not None and not isinstance(key, str):
            raise BadEvent("key must be text")
        return Event.new(subject, data, type=kind, key=key, id=id, source="callboard publish", test=self.test)


def run_publish(settings: Settings, request: PublishRequest) -> int:
    """Publishes what is asked; returns once all of it is stored. Raises Mistakes or BrokerError."""
    configure_quiet(settings.log)
    if not request.streams:
        try:
            event = request.event(request.data)
        except BadInput as fault:
            raise Mistakes([f"publish: {fault}"]) from None
        return run_interruptibly(_one(settings, request, event))
    if request.subject == "-" and request.data not in (None, "-"):
        raise Mistakes(["publish: with a subject of - the data comes from the lines"])
    return run_interruptibly(_lines(settings, request))


async def _one(settings: Settings, request: PublishRequest, event: Event) -> int:
    async with Broker(settings.broker, "publish", settings.topology) as broker:
        _print(request, event, await broker.publish(event))
    return 0


def _print(request: PublishRequest, event: Event, ack: Ack) -> None:
    if request.json:
        said: dict[str, Any] = {
            "id": event.id, "subject": event.subject, "type": event.type,
            "sequence": ack.sequence, "duplicate": ack.duplicate,
        }  # fmt: skip
        print(to_json(said).decode())
    elif not request.streams:
        again = " (it was there already)" if ack.duplicate else ""
        print(f"{event.subject} stored as number {ack.sequence}, id {event.id}{again}")


class _Progress:
    """What has been read and stored so far, for the terminal and for the last line."""

    def __init__(self) -> None:
        self.stored = 0
        self.read_bytes = 0
        self.first: int | None = None
        self.last = 0
        self._size = _size_of_input()
        self._begun = time.monotonic()
        self._shown = 0.0
        self._line = StatusLine(sys.stderr)

    def store(self, ack: Ack) -> None:
        self.stored += 1
        self.first = ack.sequence if self.first is None else min(self.first, ack.sequence)
        self.last = max(self.last, ack.sequence)
        now = time.monotonic()
        if now - self._shown < SHOW_EVERY:
            return
        self._shown = now
        rate = self.stored / max(now - self._begun, 0.001)
        part = (
            f"{bar(self.read_bytes / self._size)} {min(1.0, self.read_bytes / self._size):4.0%}  " if self._size else ""
        )
        self._line.show(f"{part}{self.stored:,} stored  {rate:,.0f}/s")

    def close(self) -> None:
        self._line.clear()


async def _lines(settings: Settings, request: PublishRequest) -> int:
    progress = _Progress()
    number = 0
    window = asyncio.Semaphore(WINDOW)
    try:
        async with Broker(settings.broker, "publish", settings.topology) as broker, asyncio.TaskGroup() as group:

            async def store(event: Event) -> None:
                try:
                    ack = await broker.publish(event)
                finally:
                    window.release()
                progress.store(ack)
                _print(request, event, ack)

            async for line in _stdin():
                number += 1
                progress.read_bytes += len(line) + 1
                if not line.strip():
                    continue
                if len(line) > MAX_LINE:
                    raise BadEvent(f"a line may have {MAX_LINE} bytes")
                event = request.event(line)
                await window.acquire()
                # Tasks begin in the order they are made, and each sends before it first waits: the order of the lines.
                group.create_task(store(event))
    except* RouterError as group_of_faults:
        fault: BaseException = group_of_faults
        while isinstance(fault, BaseExceptionGroup):
            fault = fault.exceptions[0]
        where = f"line {number}: " if isinstance(fault, BadInput) else ""
        raise RouterError(f"{where}{fault}; {progress.stored:,} events were stored before") from None
    finally:
        progress.close()
    if not request.json:
        span = f", numbers {progress.first} to {progress.last}" if progress.first is not None else ""
        print(f"{progress.stored:,} events stored{span}")
    return 0


async def _stdin() -> AsyncIterator[bytes]:
    """Reads lines without holding up what is on its way, and without a thread that could not be ended."""
    rest = b""
    descriptor = sys.stdin.fileno()
    while True:
        await _readable(descriptor)
        chunk = os.read(descriptor, 65536)
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line
        if not chunk or len(rest) > MAX_LINE:
            break
    if rest:
        yield rest


async def _readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    there = asyncio.Event()
    try:
        loop.add_reader(descriptor, there.set)
    except PermissionError:  # a regular file: always readable
        return
    try:
        await there.wait()
    finally:
        loop.remove_reader(descriptor)


def _size_of_input() -> int:
    try:
        info = os.fstat(sys.stdin.fileno())
    except (OSError, ValueError):
        return 0
    return info.st_size if stat.S_ISREG(info.st_mode) else 0
