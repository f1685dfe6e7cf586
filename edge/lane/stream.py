"""This file is where an SSE stream that was handed over writes its events; its client has nothing more to say."""

from __future__ import annotations

from edge import metrics
from edge.disconnect import Disconnect
from edge.lane.reader import LaneReader
from edge.transports.sse import PADDING


class StreamLane(LaneReader):
    """One SSE stream that reads one session; the end of the connection is the end of the stream."""

    __slots__ = ()

    transport_name = "sse"

    def _count(self, change: int) -> None:
        self.stats.sses += change
        self.stats.served += change > 0
        metrics.readers.labels("sse").inc(change)

    def _greet(self) -> None:
        if self._transport is not None:
            self._transport.write(PADDING + b"\n")

    def data_received(self, data: bytes) -> None:
        """Passes over what comes: the answer to this request has no end, so there is no next one."""

    def _hang_up(self, reason: Disconnect) -> None:
        if self._transport is not None:
            self._transport.close()
            self._lanes.expect(self, self._lanes.settings.close_patience)
