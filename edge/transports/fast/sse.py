"""Writes server-sent events over a socket that was taken over; its client sends nothing more."""

from __future__ import annotations

from edge import metrics
from edge.disconnect import Disconnect
from edge.transports.encoders import LAST_CHUNK, ChunkedFoldingSseEncoder, ChunkedSseEncoder
from edge.transports.fast.connection import FastReader


class FastSse(FastReader):
    """One SSE stream that reads one session. Its body is in chunked coding, but for HTTP/1.0: there it ends with the connection."""

    __slots__ = ()

    transport_name = "sse"

    def _count(self, change: int) -> None:
        self.stats.sses += change
        self.stats.served += change > 0
        metrics.readers.labels("sse").inc(change)

    def _begin_stream(self) -> None:
        if self._transport is not None and self.encoder.opening:
            self._transport.write(self.encoder.opening)

    @property
    def _chunked(self) -> bool:
        return isinstance(self.encoder, (ChunkedSseEncoder, ChunkedFoldingSseEncoder))

    def data_received(self, data: bytes) -> None:
        """Passes over what comes: the answer to this request has no end, so there is no next one."""

    def _end_connection(self, reason: Disconnect) -> None:
        if self._transport is not None:
            if self._chunked:
                self._transport.write(LAST_CHUNK)
            self._transport.close()
            self._sweeper.set_deadline(self, self._sweeper.settings.close_patience)
