"""Builds one edge process from its parts, starts them, and drains and stops them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from edge.auth.authenticator import Authenticator
from edge.auth.connection import ConnectionAuths
from edge.collector import collector
from edge.deadletters.redrive import Redrives
from edge.deadletters.undecodable import Undecodable
from edge.disconnect import DELETED, SHUTDOWN
from edge.filters.evaluation import Filtering
from edge.hub import lag
from edge.hub.hub import Hub
from edge.presence import Presence
from edge.sessions.cluster_stats import ClusterStats
from edge.sessions.compaction import Compaction
from edge.sessions.expiry import SessionExpiry
from edge.sessions.registry import Registry, Session
from edge.settings import EdgeSettings, IdentitySettings
from edge.throughput import Throughput
from edge.transports.fast.takeover import Takeover
from edge.transports.pixels import Pixels
from edge.transports.receipts import PollReceipts
from edge.transports.since import PollHistory
from edge.transports.video.connections import ViewerConnections
from edge.transports.video.relay import Video
from edge.transports.video.webrtc import WebRtc
from edge.transports.video.webrtc_requests import PeerRequests
from edge.webhooks.client.ssrf import GuardSettings
from edge.webhooks.endpoint.verification import Verification
from edge.webhooks.history.recovery import Recoveries
from edge.webhooks.service import Webhooks, WebhookSettings
from edge.webhooks.shortage import shortages
from router.alert_store import AlertStore
from router.broker import Broker
from router.errors import Unreachable
from router.metrics import survey
from router.nats.bucket import Bucket
from router.rule_store import RuleStore
from router.store_health import StoreHealth
from router.topology import HOOKS, LEASES, RETRIES, is_of_events


class Edge:
    """The parts of one edge process. `running` starts them; `drain` closes the readers."""

    def __init__(
        self, settings: EdgeSettings, broker: Broker, guard: GuardSettings, identity: IdentitySettings | None = None
    ) -> None:
        """Raises BadKey where a key cannot be read."""
        self.settings = settings
        self.broker = broker
        # A webhook that posts to this edge itself could loop for ever.
        self.guard = guard = replace(guard, closed_ports=(*guard.closed_ports, settings.port))
        self.started = time.time()
        self.draining = False
        self.store = StoreHealth(broker)
        self.undecodable = Undecodable(broker)
        self.filtering = Filtering(settings.filters)
        self.hub = Hub(broker, settings.session, self.undecodable.found, self.filtering)
        self.poll_history = PollHistory(Bucket(broker.connection, LEASES))
        self.takeover = Takeover(self.hub, settings.lanes)
        self.registry = Registry.over(broker.connection, self.store)
        self.alerts = AlertStore(broker, self.store)
        self.rules = RuleStore(broker, self.store)
        self.cluster_stats = ClusterStats(
            broker.connection,
            partial(lag.measure, self.hub),
            lambda: len(self.webhooks.partitions.ownership.alive()),
        )
        self.poll_receipts = PollReceipts()
        self.throughput = Throughput(broker, self.hub, self.cluster_stats)
        self.authenticator = Authenticator(
            identity or IdentitySettings(), settings.limits, settings.trusted_proxies, broker.connection, self.store
        )
        self.connection_auths = ConnectionAuths(
            self.authenticator, broker.connection, self.cluster_stats.id, lambda: self.cluster_stats.size
        )
        self.video = Video(broker, self.cluster_stats.id)
        self.webrtc = WebRtc(settings.webrtc, settings.host, self.cluster_stats.id)
        self.peer_requests = PeerRequests(self.webrtc, broker.connection)
        self.viewers = ViewerConnections(broker, self.cluster_stats.id, settings.video)
        self.pixels = Pixels()
        self.presence = Presence(broker, self.store)
        self.webhooks = Webhooks(
            broker,
            self.registry,
            guard,
            WebhookSettings.of(settings.webhooks),
            epoch=lambda: self.hub.epoch,
            undecodable=self.undecodable.found,
            filtering=self.filtering,
            writes=self.store,
            subscribe=self.hub.followers.follow,
        )
        self.session_expiry = SessionExpiry(
            self.registry.bucket,
            self.registry,
            self.cluster_stats,
            settings.session_ttl,
            self.webhooks.posted,
        )
        self.compaction = Compaction(broker, self.registry)
        partitions, departures = self.webhooks.settings.partitions, self.webhooks.departures
        self.redrives = Redrives(broker, self.registry, partitions, guard=self.store, departures=departures)
        self.recoveries = Recoveries(
            broker,
            self.registry,
            partitions,
            filtering=self.filtering,
            guard=self.store,
            departures=departures,
        )
        self.verification = Verification(self.registry, guard, self.webhooks.attempts)
        self.registry.on_change(self._session_changed)
        self.store.on_renewed(self._stream_renewed)
        self._watched = collector.watch(self.hub, self.registry, self.store, lambda: self.ready)

    def _stream_renewed(self, stream: str) -> None:
        """Drops what was known of a stream that was created again."""
        if is_of_events(stream):
            self.hub.integrity.suspect("the stream was recreated")
        elif stream in (HOOKS, RETRIES):
            self.webhooks.partitions.restart()

    def _session_changed(self, session_id: str, session: Session | None) -> None:
        if session is None:
            self.hub.close_session(session_id, DELETED)
            self.cluster_stats.forget(session_id)
            self.session_expiry.forget(session_id)
        else:
            self.hub.change_session(session_id, session.view)
            self.connection_auths.change(session)

    @asynccontextmanager
    async def running(self, timeout: float = 15.0) -> AsyncIterator[Edge]:
        """Starts all parts and waits until sessions can be served. Raises Unreachable."""
        async with asyncio.TaskGroup() as group:
            parts = [
                group.create_task(part.run(), name=name)
                for name, part in (
                    ("store", self.store),
                    ("hub", self.hub),
                    ("takeover", self.takeover),
                    ("registry", self.registry),
                    ("alerts", self.alerts),
                    ("rules", self.rules),
                    ("cluster_stats", self.cluster_stats),
                    ("authenticator", self.authenticator),
                    ("connection_auths", self.connection_auths),
                    ("video", self.video),
                    ("presence", self.presence),
                    ("webrtc", self.webrtc),
                    ("peer_requests", self.peer_requests),
                    ("viewers", self.viewers),
                    ("webhooks", self.webhooks),
                    ("session_expiry", self.session_expiry),
                    ("compaction", self.compaction),
                    ("redrives", self.redrives),
                    ("recoveries", self.recoveries),
                    ("verification", self.verification),
                    ("undecodable", self.undecodable),
                    ("throughput", self.throughput),
                )
            ]
            try:
                async with asyncio.timeout(timeout):
                    await self.hub.integrity.steady(timeout)
                await self.registry.loaded(timeout)
            except TimeoutError:
                raise Unreachable("the event store did not become ready; see `callboard doctor`") from None
            try:
                parts.append(
                    group.create_task(
                        survey(self.broker.connection, self.broker.topology, lambda: self.broker.layout), name="survey"
                    )
                )
                yield self
            finally:
                await self.webhooks.close(grace=2.0)
                for part in parts:
                    part.cancel()
                await self.filtering.close()
                self.pixels.close()

    @property
    def ready(self) -> dict[str, bool]:
        """The readiness checks, each with whether it passes."""
        return {
            "not_draining": not self.draining,
            "nats": self.broker.connection.connected,
            "subscriptions": not self.broker.connection.refused_subjects,
            "events": self.hub.integrity.is_steady,
            "sessions": self.registry.ready.is_set(),
            "store": self.store.writable,
        }

    @property
    def readiness(self) -> dict[str, Any]:
        """The body of `/readyz`: each check, and which streams accept no writes and why."""
        checks = self.ready
        return {
            "status": "ok" if all(checks.values()) else "unavailable",
            "checks": checks,
            "store": self.store.describe(),
            # Resources that were missing for webhook posts in the last ten minutes, and how many seconds ago.
            "shortages": shortages.recent(),
        }

    async def drain(self) -> None:
        """Refuses new requests, and closes the readers one after the other over the drain time."""
        self.draining = True
        self.webrtc.close()
        readers = list(self.hub.readers)
        pause = self.settings.drain / len(readers) if readers else 0.0
        for reader in readers:
            reader.close(SHUTDOWN)
            if pause:
                await asyncio.sleep(pause)
        await asyncio.gather(self.takeover.finish(), self.viewers.finish(self.settings.lanes.grace))
