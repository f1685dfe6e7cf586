"""Reads a session's events for a program: one connection at a time, resumed behind the last event that it has dealt with.

It behaves as the JavaScript client does: WebSocket, then server-sent events, then long polling, all on one cursor; full
jitter before it comes back, unless a `bye` says when; a connection that is silent for longer than the server's rhythm is
given up.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from typing import Any, Self
from urllib.parse import quote

import aiohttp
import msgspec

from router.errors import RouterError
from router.sdk.links import PROBE_SECONDS, REQUEST_SECONDS, WAYS, Closing, HttpRefusal, SessionLink, answer_of
from router.timing import full_jitter

log = logging.getLogger(__name__)

# Tries without a `ready` before another transport gets its turn.
STRIKES = 2
# A connection must have lived this long before its end counts as the first failure again, in seconds.
STEADY = 5.0
# How long a fall-back is good enough before the preferred transport is tried again, in seconds.
FALLBACK_SECONDS = 300.0
BACKOFF_BASE, BACKOFF_CAP = 0.3, 10.0
# The server's default; `ready` says what it is.
HEARTBEAT = 12.0
# So late may it be.
LATE = 1.25
# Close codes that have an answer of their own; else 4000–4499 say come back, and 4500–4999 stay away.
NO_SESSION, BAD_CURSOR = 4505, 4506


class ReadRefused(RouterError):
    """the server refuses to let this program read"""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(f"{detail or code or status}")
        self.status = status
        self.code = code


class Received(msgspec.Struct, frozen=True, kw_only=True):
    """An event as a reader gets it; `timestamp` as RFC 3339, `cursor` its place in the stream."""

    id: str
    type: str = msgspec.field(name="event_type")
    subject: str
    source: str = ""
    timestamp: str = ""
    data: dict[str, Any] = {}
    cursor: str = ""
    key: str | None = None
    cause: str | None = None
    test: bool = False


def follows(cursor: str, last: str | None) -> bool:
    """Whether a cursor lies behind another, in one shard at least. One of other epochs, another life of a stream, always does."""
    if not last or not last.startswith(("1-", "2-")):
        return True
    old = dict(_places(last))
    return any(epoch not in old or place > old[epoch] for epoch, place in _places(cursor))


def _places(cursor: str) -> list[tuple[str, str]]:
    """Epoch and sequence of each shard that a cursor names; the sequences are texts that have the order of the numbers."""
    version, _, rest = cursor.partition("-")
    if version == "1":
        epoch, sequence, *_ = (*rest.split("-"), "")
        return [(epoch, sequence)]
    # `2-<generation>.<first><width>`, and for each shard three digits of its epoch and `width` of its sequence.
    generation, _, blocks = rest.partition(".")
    blocks = blocks.partition(".")[0]
    size = 3 + int(blocks[1:2] or 0)
    found = [blocks[at : at + size] for at in range(2, len(blocks), size)]
    return [
        (f"{generation}.{blocks[0]}.{index}.{block[:3]}", block[3:].rjust(12, "-")) for index, block in enumerate(found)
    ]


class _Loop:
    """One loop over a reader, from the event on that the loop before was left at."""

    def __init__(self, reader: SessionReader, left_at: Received | None) -> None:
        self._reader = reader
        self._left_at = left_at

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Received:
        if self._left_at is not None:
            event, self._left_at = self._left_at, None
            return event
        return await self._reader.next()


class SessionReader:
    """`async for event in reader`: every event, in order. `cursor` is behind the last one that the loop has dealt with.

    A loop that is left at an event has not dealt with it: the next loop begins with it, and who goes on at `cursor` gets it again.
    """

    def __init__(
        self,
        base: str,
        headers: Callable[[], Mapping[str, str]],
        spec: Mapping[str, Any],
        *,
        session_id: str | None = None,
        cursor: str | None = None,
        transports: tuple[str, ...] = tuple(WAYS),
        on_notice: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        self.cursor = cursor
        self.transport: str | None = None
        self.session_id = session_id
        self._base = base
        self._headers = headers
        self._spec = spec
        self._foreign = session_id is not None
        self._transports = transports
        self._on_notice = on_notice
        self._choice = self._strikes = self._failures = 0
        self._heartbeat = HEARTBEAT
        # What the loop is at.
        self._at: Received | None = None
        self._silent = False
        self._farewell: dict[str, Any] | None = None
        self._running: AsyncGenerator[Received, None] | None = None

    def __aiter__(self) -> AsyncIterator[Received]:
        return _Loop(self, self._at)

    async def next(self) -> Received:
        """The next event: the one before has been dealt with. Where waiting for it is cancelled, or the server refuses, the next call goes
        on behind the last one. Raises ReadRefused."""
        if self._running is None:
            self._running = self._read()
        try:
            return await anext(self._running)
        except BaseException:
            self._running = None
            raise

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Leaves the server."""
        running, self._running, self._at = self._running, None, None
        if running is not None:
            await running.aclose()

    async def _read(self) -> AsyncGenerator[Received, None]:
        try:
            while True:
                # Behind a silence with connections of its own: those that were kept for further requests may be dead, too.
                async with self._http() as http:
                    self._silent = False
                    while not self._silent:
                        async with Closing(self._turn(http)) as events:
                            async for event in events:
                                yield event
                        await asyncio.sleep(self._wait)
        finally:
            async with self._http() as http:
                await self._discard(http)

    @staticmethod
    def _http() -> aiohttp.ClientSession:
        return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None, sock_connect=REQUEST_SECONDS))

    async def _turn(self, http: aiohttp.ClientSession) -> AsyncGenerator[Received, None]:
        """One connection, from session to end; sets how long to wait before the next. Raises ReadRefused."""
        self._farewell, self._wait = None, 0.0
        began, ready, link = time.monotonic(), 0.0, None
        before = self.cursor
        way = self._transports[self._choice]
        try:
            await self._enter(http)
            start = {"cursor": self.cursor} if self.cursor else {}
            link = SessionLink(http, f"{self._base}{self._path}", self._headers(), start)
            async with Closing(WAYS[way](link)) as brought:
                async for said in brought:
                    if said.get("control") == "ready":
                        ready = time.monotonic()
                        self._ready(way, said)
                        link.silence = self._heartbeat * LATE + PROBE_SECONDS
                    if "control" in said:
                        self._notice(said)
                        if self._farewell is not None:
                            break
                    elif follows(said["cursor"], self.cursor):
                        self._at = msgspec.convert(said, Received)
                        yield self._at
                        self._at = None
                        self.cursor = said["cursor"]
                    if self._choice and time.monotonic() - began > FALLBACK_SECONDS:
                        self._choice = 0
                        return
            self._wait = self._ended(link.code, ready, moved=self.cursor != before)
        except HttpRefusal as refusal:
            self._wait = self._refused(refusal)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as fault:
            self._silent = isinstance(fault, TimeoutError)
            log.debug("a connection was lost", extra={"fault": str(fault) or type(fault).__name__, "transport": way})
            reached, moved = link is not None, self.cursor != before
            self._wait = self._ended(link.code if link else 0, ready, reached=reached, moved=moved)
        finally:
            self.transport = None

    @property
    def _path(self) -> str:
        return f"/callbacks/sessions/{quote(self.session_id or '', safe='')}"

    async def _enter(self, http: aiohttp.ClientSession) -> None:
        """Makes the session where there is none. One of somebody else is read as it is."""
        if self.session_id is not None:
            return
        try:
            made = await self._ask(http, "POST", "/callbacks/sessions", self._body)
        except HttpRefusal as refusal:
            if not self.cursor or refusal.status not in (400, 409, 410, 422):
                raise
            made = await self._ask(http, "POST", "/callbacks/sessions", dict(self._spec))
            self._lose(made.get("cursor"))
        self.session_id = made["session_id"]
        given = str(made.get("cursor") or "")
        if given.startswith(("1-", "2-")):
            self.cursor = given

    @property
    def _body(self) -> dict[str, Any]:
        """What its session is made of: a cursor takes the place of where it was to begin at first."""
        if not self.cursor:
            return dict(self._spec)
        return {
            **{name: given for name, given in self._spec.items() if name not in ("since", "last")},
            "cursor": self.cursor,
        }

    async def _ask(self, http: aiohttp.ClientSession, method: str, path: str, body: Any = None) -> Any:
        timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
        async with http.request(
            method, self._base + path, json=body, headers=self._headers(), timeout=timeout
        ) as answer:
            return await answer_of(answer)

    async def _discard(self, http: aiohttp.ClientSession) -> None:
        if self.session_id is None or self._foreign:
            return
        try:
            await self._ask(http, "DELETE", self._path)
        except (HttpRefusal, aiohttp.ClientError, OSError, TimeoutError):
            # It expires by itself.
            pass
        self.session_id = None

    def _ready(self, way: str, said: Mapping[str, Any]) -> None:
        self.transport, self._strikes = way, 0
        self._heartbeat = float(said.get("heartbeat_seconds") or HEARTBEAT)

    def _notice(self, said: dict[str, Any]) -> None:
        control, cursor = said["control"], said.get("cursor")
        if control == "position" and cursor and follows(cursor, self.cursor):
            self.cursor = cursor
        elif control == "bye":
            self._farewell = said
            self.cursor = cursor or self.cursor
        elif control == "gap":
            log.warning("events are missing", extra={"first": said.get("from"), "last": said.get("to")})
            if said.get("reset"):
                self.cursor = cursor or said.get("to") or self.cursor
        if self._on_notice is not None and control not in ("position", "heartbeat", "pong"):
            self._on_notice(said)

    def _lose(self, to: object) -> None:
        lost, self.cursor = self.cursor, None
        self._notice({"control": "gap", "from": lost, "to": to})

    def _ended(self, code: int, ready: float, *, reached: bool = True, moved: bool = False) -> float:
        """How long to wait behind the end of a connection; one that has moved the cursor was no failure.

        Raises ReadRefused where the server says to stay away.
        """
        lived = time.monotonic() - ready if ready else 0.0
        bye = self._farewell
        if code == NO_SESSION and not self._foreign:
            self.session_id = None
        elif code == BAD_CURSOR and self.cursor:
            self._lose(None)
        elif bye.get("reconnect") is False if bye else 4500 <= code < 5000:
            reason = str(bye["reason"]) if bye else "the server closed the connection for good"
            raise ReadRefused(0, reason if bye else str(code), reason)
        if not ready and reached:
            self._strike()
        self._failures = 0 if moved or lived > STEADY else self._failures + 1
        jitter = full_jitter(max(1, self._failures), BACKOFF_BASE, BACKOFF_CAP)
        if bye and bye.get("delay_ms"):
            return float(bye["delay_ms"]) / 1000 * random.uniform(1.0, 1.5)
        return jitter

    def _refused(self, refusal: HttpRefusal) -> float:
        self._failures += 1
        jitter = full_jitter(self._failures, BACKOFF_BASE, BACKOFF_CAP)
        if refusal.status == 404 and not self._foreign:
            self.session_id = None
        elif refusal.passing:
            self._strike()
            return max(refusal.retry_after, jitter)
        else:
            raise ReadRefused(refusal.status, refusal.code, str(refusal)) from None
        return jitter

    def _strike(self) -> None:
        self._strikes += 1
        if self._strikes >= STRIKES:
            self._choice, self._strikes = (self._choice + 1) % len(self._transports), 0
