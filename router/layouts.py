"""Keeps a process's layout of the events up to date: read when it connects, told by NATS when it changes.

The bucket LAYOUT republishes what is written to it, so that a process needs no consumer, and no right to make one. A notice that was
missed does no harm: the streams of a former generation are sealed, and who is refused by one reads the entry again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

from router.errors import BrokerError, Forbidden, NoResponders, Refused, Timeout
from router.layout import FIRST, Layout
from router.layout_entry import KEY, LayoutEntry, parse
from router.nats.bucket import Bucket
from router.nats.connection import Connection
from router.nats.error_codes import ErrorCode
from router.nats.headers import header
from router.topology import LAYOUT, LAYOUT_NOTICES

log = logging.getLogger(__name__)

# Between two reads while a reshard is between sealing and the new layout, in seconds.
PAUSE_SECONDS = 0.05
READ_SECONDS = 2.0
# Between two questions to a leader that does not answer.
RETRY_SECONDS = 0.1


class Layouts:
    """The layout as this process knows it; `current` is replaced, never changed."""

    def __init__(self, connection: Connection) -> None:
        self.entry = LayoutEntry()
        self.current: Layout = FIRST
        self._connection = connection
        self._bucket = Bucket(connection, LAYOUT)
        self._revision = 0
        self._listeners: list[Callable[[], None]] = []
        self._following = False

    def on_change(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Calls the listener where the layout has changed; returns a function that removes it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener) if listener in self._listeners else None

    async def follow(self, *, notices: bool = True) -> None:
        """Reads the entry, now and after each reconnect, and with `notices` listens for changes.

        Where it cannot be read now, a publisher that is refused by a sealed stream reads it.
        """
        if not self._following:
            self._following = True
            if notices:
                await self._connection.listen(f"{LAYOUT_NOTICES}{KEY}", self._noticed)
            self._connection.on_reconnect(self._reread)
        await self._reread()

    async def read(self) -> None:
        """Reads the entry from any copy. Raises BrokerError, but not where there is no such bucket: then nothing is changed."""
        with contextlib.suppress(NoResponders):
            found = await self._bucket.read(KEY)
            if found.value is not None:
                self._take(found.value, found.revision)

    async def read_leader(self, patience: float = 0.0) -> LayoutEntry:
        """Reads the entry from the bucket's leader, again for `patience` seconds where that does not answer.

        Raises BrokerError where it is not known whether there is an entry.
        """
        deadline = asyncio.get_running_loop().time() + patience
        while True:
            try:
                found = await self._bucket.latest(KEY)
                break
            except Forbidden:
                raise
            except (Refused, Timeout) as fault:
                if isinstance(fault, Refused) and fault.err_code == ErrorCode.STREAM_NOT_FOUND:
                    return self.entry
                # A server that has just started may still be recovering its streams, or a cluster electing a leader.
                if asyncio.get_running_loop().time() > deadline:
                    raise
                await asyncio.sleep(RETRY_SECONDS)
        if found is not None and found.value is not None:
            self._take(found.value, found.revision)
        return self.entry

    async def after(self, generation: int, timeout: float) -> None:
        """Waits for a newer generation than the given one, which is sealed. Raises Timeout."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while self.current.current.number <= generation:
            # A right that is missing is told at once; another copy of the bucket may have what this one has not.
            with contextlib.suppress(Timeout):
                try:
                    await self.read()
                except Forbidden as fault:
                    raise Timeout(
                        f"the events go to other streams now, and which is not known: {fault}; see `callboard streams`"
                    ) from None
            if self.current.current.number > generation:
                return
            if loop.time() > deadline:
                raise Timeout(
                    "the streams of events are sealed and there are no new ones yet; `callboard streams reshard` finishes it"
                )
            await asyncio.sleep(PAUSE_SECONDS)

    async def _reread(self) -> None:
        try:
            async with asyncio.timeout(READ_SECONDS):
                await self.read()
        except (BrokerError, TimeoutError) as fault:
            log.debug("layout of the events could not be read; the known one is kept", extra={"fault": str(fault)})

    def _noticed(self, _subject: str, _reply: str, payload: bytes, headers: bytes) -> None:
        self._take(payload, int(header(headers, b"Nats-Sequence") or 0))

    def _take(self, value: bytes, revision: int) -> None:
        if revision <= self._revision:
            return
        try:
            entry = parse(value)
        except ValueError as fault:
            log.error("layout of the events is passed over", extra={"revision": revision, "fault": str(fault)})
            return
        # What is read first is no change for this process.
        level = logging.WARNING if self._revision else logging.INFO
        self._revision = revision
        before, self.entry, self.current = self.current, entry, entry.layout
        if self.current == before:
            return
        log.log(
            level,
            "layout of the events has changed",
            extra={"generation": entry.current.number, "shards": entry.current.shards, "revision": revision},
        )
        for listener in list(self._listeners):
            listener()
