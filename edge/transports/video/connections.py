"""Keeps the viewers' connections of this process: looks after each once a second, publishes what they were delivered, and
ends them when the process does.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from edge import metrics
from edge.disconnect import FAILED, SHUTDOWN, Disconnect
from edge.settings import VideoSettings
from edge.transports.video.delivery import PictureDelivery, PictureSink, Watch
from edge.transports.video.statistics import SourceCounts
from edge.transports.video.wish import Wish
from router.broker import Broker
from router.coalescing import coalesced_sleep
from router.errors import RouterError
from router.event import Event
from router.subject import Subject

log = logging.getLogger(__name__)

# How often each connection is looked at.
LOOK_SECONDS = 1.0
# Sources whose viewers' statistics are published.
REPORTED = ("camera",)


@dataclass(eq=False)
class ViewerConnection:
    """One connection: what is delivered over it, and what is done when it ends."""

    delivery: PictureDelivery
    sink: PictureSink
    end: Callable[[], None]
    task: asyncio.Task[None] | None = field(default=None)


class ViewerConnections:
    """The connections of this process that are sent pictures."""

    def __init__(self, broker: Broker, edge_id: str, settings: VideoSettings) -> None:
        self._broker, self._edge_id, self._settings = broker, edge_id, settings
        self._open: set[ViewerConnection] = set()
        self._counts: dict[tuple[str, str], SourceCounts] = {}
        self._group: asyncio.TaskGroup | None = None
        self._ending: Disconnect | None = None
        self._empty = asyncio.Event()
        self._empty.set()
        self._reported = time.monotonic()

    async def run(self) -> None:
        """Looks after the connections until cancelled; then cuts those that are left."""
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as self._group:
            try:
                while True:
                    await coalesced_sleep(LOOK_SECONDS)
                    for each in tuple(self._open):
                        each.delivery.look(loop.time())
                    if time.monotonic() - self._reported >= self._settings.report:
                        self._report()
            finally:
                self._group = None
                for each in tuple(self._open):
                    each.sink.abort()
                    self.close(each)

    def counts(self, domain: str, entity: str) -> SourceCounts:
        """What the viewers of a source were delivered since the last report."""
        return self._counts.setdefault((domain, entity), SourceCounts())

    def open(
        self,
        source: tuple[str, str],
        watch: Watch,
        sink: PictureSink,
        wish: Wish | None,
        ended: Callable[[], None],
        *,
        status: Mapping[str, Any],
        seconds: float | None = None,
    ) -> ViewerConnection:
        """Begins to deliver the pictures of a source, domain and entity, for at most so many seconds.

        `ended` is called when the connection has ended.
        """
        counts = self.counts(*source).of(sink.transport)
        delivery = PictureDelivery(watch, sink, counts, self._settings, wish)
        if seconds is not None:
            delivery.until = asyncio.get_running_loop().time() + seconds
        gauge = metrics.viewers.labels(sink.transport)
        counts.viewers += 1
        gauge.inc()

        def end() -> None:
            counts.viewers -= 1
            gauge.dec()
            ended()

        connection = ViewerConnection(delivery, sink, end)
        self._open.add(connection)
        self._empty.clear()
        if self._group is None:
            sink.abort()
        elif self._ending is not None:
            sink.close(self._ending)
        else:
            connection.task = self._group.create_task(self._run(connection, status))
        return connection

    async def _run(self, connection: ViewerConnection, status: Mapping[str, Any]) -> None:
        try:
            await connection.delivery.run(status)
        except RouterError as fault:
            log.warning("pictures cannot be delivered; the connection is closed", extra={"fault": str(fault)})
            connection.sink.close(FAILED)

    def close(self, connection: ViewerConnection) -> None:
        """Ends what was begun for a connection that has ended; once is enough."""
        if connection not in self._open:
            return
        self._open.discard(connection)
        if not self._open:
            self._empty.set()
        connection.delivery.end()
        if connection.task is not None:
            connection.task.cancel()
        connection.end()

    async def finish(self, grace: float) -> None:
        """Closes all connections because the process stops, and cuts those that take longer."""
        self._ending = SHUTDOWN
        for each in tuple(self._open):
            each.sink.close(SHUTDOWN)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await self._empty.wait()
        for each in tuple(self._open):
            each.sink.abort()

    def _report(self) -> None:
        """Publishes what the viewers of each source were delivered, and forgets sources that nobody watches."""
        now = time.monotonic()
        seconds, self._reported = max(0.001, now - self._reported), now
        for (domain, entity), counts in tuple(self._counts.items()):
            data = {"edge": self._edge_id, "seconds": round(seconds, 1), **counts.summary(seconds)}
            if domain in REPORTED and self._group is not None:
                # Also once when nobody watches any more, so that the last figures do not stand for ever.
                self._group.create_task(self._publish(Event.new(str(Subject.of(domain, entity, "delivery")), data)))
            if not counts.viewers:
                del self._counts[domain, entity]

    async def _publish(self, event: Event) -> None:
        with contextlib.suppress(RouterError):
            await self._broker.publish(event, timeout=self._settings.report)
