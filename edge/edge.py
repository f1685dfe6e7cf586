"""This file is where one edge process is put together: broker, hub, registry, census, video, webhooks; and taken apart again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from edge import metrics
from edge.census import Census
from edge.disconnect import DELETED, SHUTDOWN
from edge.hub import Hub
from edge.lane.lanes import Lanes
from edge.reaper import Reaper
from edge.registry import Registry, Session
from edge.settings import EdgeSettings
from edge.video import Video
from edge.webhooks.dispatcher import Webhooks
from edge.webhooks.guard import GuardSettings
from router.broker import Broker
from router.errors import Unreachable


class Edge:
    """Everything one edge process holds. `running` gives it life; `drain` lets its readers go."""

    def __init__(self, settings: EdgeSettings, broker: Broker, guard: GuardSettings) -> None:
        self.settings = settings
        self.broker = broker
        self.guard = guard
        self.started = time.time()
        self.draining = False
        self.hub = Hub(broker, settings.session)
        self.lanes = Lanes(self.hub, settings.lanes)
        self.registry = Registry.over(broker.connection)
        self.census = Census(broker.connection)
        self.video = Video(broker, self.census.id)
        self.webhooks = Webhooks(broker, self.registry, guard, epoch=lambda: self.hub.epoch, stats=self.census.of)
        self.reaper = Reaper(self.registry.bucket, self.registry, self.census, settings.session_ttl)
        self.registry.on_change(self._session_changed)

    def _session_changed(self, session_id: str, session: Session | None) -> None:
        metrics.sessions.set(len(self.registry.sessions))
        if session is None:
            self.hub.close_session(session_id, DELETED)
            self.census.forget(session_id)
        else:
            self.hub.change_session(session_id, session.view)

    @asynccontextmanager
    async def running(self, patience: float = 15.0) -> AsyncIterator[Edge]:
        """Starts all parts and waits until sessions can be served. Raises Unreachable."""
        async with asyncio.TaskGroup() as group:
            parts = [
                group.create_task(part.run(), name=name)
                for name, part in (
                    ("hub", self.hub),
                    ("lanes", self.lanes),
                    ("registry", self.registry),
                    ("census", self.census),
                    ("video", self.video),
                    ("webhooks", self.webhooks),
                    ("reaper", self.reaper),
                )
            ]
            try:
                async with asyncio.timeout(patience):
                    await self.hub.steady(patience)
                    await self.registry.ready.wait()
            except TimeoutError:
                raise Unreachable("the event store did not get ready; see `callboard doctor`") from None
            try:
                yield self
            finally:
                await self.webhooks.close(grace=2.0)
                for part in parts:
                    part.cancel()

    @property
    def ready(self) -> dict[str, bool]:
        """What readiness hangs on, one by one."""
        return {
            "not_draining": not self.draining,
            "nats": self.broker.connection.connected,
            "events": self.hub.is_steady,
            "sessions": self.registry.ready.is_set(),
        }

    async def drain(self) -> None:
        """Refuses what is new, and lets the readers go one after the other over the drain time."""
        self.draining = True
        readers = list(self.hub.readers)
        pause = self.settings.drain / len(readers) if readers else 0.0
        for reader in readers:
            reader.close(SHUTDOWN)
            if pause:
                await asyncio.sleep(pause)
        await self.lanes.finish()
