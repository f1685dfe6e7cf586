"""Streams a reader as the Durable Streams protocol has it: pages and ticks as arrays, each followed by a `control` event.

A `control` says whether its client is up to date. Of a page of the past that is known only when the reader has looked for more,
so it waits for what the reader does next. Both are one write: a client that is cut between them would read the page twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from starlette.types import Send

from edge import metrics
from edge.dialects.dialect import SharedDialect
from edge.dialects.durable_streams import array, control, data
from edge.disconnect import COMPLETED, MISSED
from edge.hub.hub import Hub
from edge.hub.meter import Meter
from edge.hub.reader import Reader
from edge.stats import Stats
from edge.transports.encoders import FoldingSseEncoder, SseEncoder, one_line
from edge.transports.sse import SseResponse
from edge.types import Batch, Notice, ReadRequest, State
from edge.view import FULL
from router.cursor import Start
from router.record import Record

# Of an event, in order: whether it belongs to the stream, and whether the stream is over behind it, or before it.
Belongs = Callable[[Record], tuple[bool, bool]]

_LIVE = "live"


def always(_record: Record) -> tuple[bool, bool]:
    """A stream without an end."""
    return True, False


class _OffsetReader(Reader):
    """A reader that says when it has read all there is."""

    __slots__ = ()

    transport_name = "sse"

    async def _catch_up(self) -> AsyncGenerator[Batch | Notice, None]:
        async with aclosing(super()._catch_up()) as steps:
            async for step in steps:
                yield step
        # What is in the mailbox comes next, and its `control` says it.
        if self.state is State.LIVE and not self.queued[0]:
            yield self._notice(_LIVE)

    @property
    def caught_up(self) -> bool:
        """Whether nothing that was received waits to be written."""
        return self.state is State.LIVE and not self.queued[0]


class DurableResponse(SseResponse):
    """An ASGI response that streams one reader until the stream is over, or its client leaves."""

    kind = _OffsetReader

    def __init__(
        self, hub: Hub, asked: ReadRequest, start: Start, stats: Stats, cursor: str, belongs: Belongs, end: int
    ) -> None:
        """`cursor` is the protocol's, not a place. Behind the sequence `end` the stream is over; 0 where that is not known."""
        super().__init__(hub, asked, start, stats, FULL)
        self._cursor = cursor
        self._belongs = belongs
        self._end = end
        # A page that waits for its `control`, and the cursor behind it.
        self._held = b""
        self._owed: str | None = None

    async def _pump(self, reader: Reader, _encoder: SseEncoder | FoldingSseEncoder, send: Send) -> None:
        assert isinstance(reader, _OffsetReader)
        timeout = self._hub.settings.send_timeout
        meter = Meter("sse")
        async with aclosing(reader.read(self._start)) as steps:
            async for step in steps:
                if isinstance(step, Notice):
                    body, reason = await self._noticed(step, reader)
                else:
                    body, reason = self._written(step, reader)
                if body:
                    async with asyncio.timeout(timeout):
                        await send({"type": "http.response.body", "body": body, "more_body": True})
                if isinstance(step, Batch):
                    meter.wrote(step, len(body))
                if reason is not None:
                    metrics.disconnects.labels("sse", reason).inc()
                    await send({"type": "http.response.body", "body": b"", "more_body": False})
                    return

    def _settle(self, up_to_date: bool = False, closed: bool = False) -> bytes:
        """What is held, and its `control`."""
        owed, held, self._owed, self._held = self._owed, self._held, None, b""
        return b"" if owed is None else held + control(owed, self._cursor, up_to_date=up_to_date, closed=closed)

    def _written(self, batch: Batch, reader: _OffsetReader) -> tuple[bytes, str | None]:
        """The bytes of a batch, and why the connection ends behind them, if it does."""
        taken, over = self._taken(batch.records)
        body = self._settle()
        self._held = self._data(batch, taken) if taken else b""
        # Also behind events that are not shown: a client of these gets on.
        self._owed = (batch.records[-1] if not over else (taken or batch.records)[-1]).cursor(batch.epoch)
        if over:
            return body + self._settle(closed=True), COMPLETED.reason
        return (body + self._settle(up_to_date=True) if reader.caught_up else body), None

    def _taken(self, records: list[Record]) -> tuple[list[Record], bool]:
        taken: list[Record] = []
        for record in records:
            belongs, over = self._belongs(record)
            if belongs:
                taken.append(record)
            if over:
                return taken, True
        return taken, False

    def _data(self, batch: Batch, taken: list[Record]) -> bytes:
        whole = len(taken) == len(batch.records)
        name = f"{self._asked.dialect.name}/data"
        made: bytes | None = batch.encoded.get(name) if whole else None
        if made is None:
            made = data(one_line(array(self._texts(batch, taken))))
            if whole:
                batch.encoded[name] = made
        return made

    def _texts(self, batch: Batch, taken: list[Record]) -> list[bytes]:
        assert isinstance(self._asked.dialect, SharedDialect)
        texts: list[bytes] = []
        for record in taken:
            try:
                texts.append(self._asked.dialect.encode(record, batch.epoch))
            except Exception as fault:  # noqa: BLE001 - logged by the hub
                batch.unencodable(record, fault)
        return texts

    async def _noticed(self, notice: Notice, reader: _OffsetReader) -> tuple[bytes, str | None]:
        """The same of a notice. The protocol knows no gap in a stream: its client comes back, and is answered 410."""
        if notice.control == "gap":
            return self._settle(), MISSED.reason
        if notice.control == "bye":
            return self._settle(), str(notice.body["reason"])
        if notice.control in (_LIVE, "position"):
            self._owed = await self._hub.recovery.find_cursor(reader.position)
            over = 0 < self._end <= reader.position
            return self._settle(up_to_date=True, closed=over), COMPLETED.reason if over else None
        return (self._settle() + self._asked.dialect.keep_alive if notice.control == "heartbeat" else b""), None
