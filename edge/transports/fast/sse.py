"""Writes server-sent events over a socket that was taken over; its client sends nothing more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from edge import metrics
from edge.disconnect import COMPLETED, Disconnect
from edge.transports.event_stream import LAST_CHUNK
from edge.transports.fast.connection import FastReader


class FastSse(FastReader):
    """One SSE stream that reads one session. Its body is in chunked coding, but for HTTP/1.0: there it ends with the connection."""

    __slots__ = ("give_back",)

    transport_name = "sse"

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        # Takes the connection for the client's next request; None where it ends with the stream.
        self.give_back: Callable[[asyncio.Transport], None] | None = None

    def _count(self, change: int) -> None:
        self.stats.sses += change
        self.stats.served += change > 0
        metrics.readers.labels("sse").inc(change)

    def _preamble(self) -> bytes:
        return self.encoder.opening

    @property
    def _chunked(self) -> bool:
        return bool(getattr(self.encoder, "chunked", False))

    def data_received(self, data: bytes) -> None:
        """Passes over what comes: the answer to this request has no end, so there is no next one."""

    def _end_connection(self, reason: Disconnect) -> None:
        transport = self._transport
        if transport is None:
            return
        if self._chunked and not (self.encoder.dialect.cuts and reason is not COMPLETED):
            transport.write(LAST_CHUNK)
        # A client that still has something to read may be cut; a server that ends serves no next request.
        if self.give_back is not None and reason is COMPLETED and not transport.get_write_buffer_size():
            self.connection_lost(None)
            self.give_back(transport)
        else:
            transport.close()
            self._sweeper.set_deadline(self, self._sweeper.settings.close_patience)
