"""This file is where webhooks are put together: the fan-out that makes jobs, and the worker that delivers them."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from edge.registry import Registry, Session
from edge.stats import Stats
from edge.webhooks.fanout import Fanout, FanoutSettings
from edge.webhooks.guard import GuardSettings
from edge.webhooks.job import DUE, FRESH
from edge.webhooks.sender import Sender
from edge.webhooks.worker import Worker, WorkerSettings
from router.broker import Broker
from router.errors import BrokerError
from router.topology import HOOKS, RETRIES

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WebhookSettings:
    """How webhooks are delivered. All processes of a deployment must agree on `partitions`."""

    # Consumers are counted by partitions, never by sessions; four keep a dozen replicas busy.
    partitions: int = 4
    fanout: FanoutSettings = field(default_factory=FanoutSettings)
    worker: WorkerSettings = field(default_factory=WorkerSettings)


class Webhooks:
    """The webhooks of one edge process: it works jobs beside the others, and fans out where it owns that role."""

    def __init__(
        self,
        broker: Broker,
        registry: Registry,
        guard: GuardSettings,
        settings: WebhookSettings | None = None,
        epoch: Callable[[], str] = lambda: "",
        stats: Callable[[str], Stats] | None = None,
    ) -> None:
        """`stats` gives the counters of a session, where they are kept elsewhere; else they are kept here."""
        self.settings = settings or WebhookSettings()
        self._broker = broker
        self._registry = registry
        self._told_epoch = epoch
        self._first_epoch = ""
        self._counted: dict[str, Stats] = {}
        self._stats = stats or self._own_stats
        self._sender = Sender(guard)
        self.fanout = Fanout(
            broker, registry, self._stats, self.settings.partitions, secrets.token_hex(8), self.settings.fanout
        )
        self.worker = Worker(
            broker, registry, self._sender, self._stats, self._epoch, self.settings.partitions, self.settings.worker
        )
        self._fanning: asyncio.Task[None] | None = None
        registry.on_change(self._changed)

    async def run(self) -> None:
        """Delivers until cancelled or closed."""
        await self._registry.ready.wait()
        await self._learn_epoch()
        async with self._sender, asyncio.TaskGroup() as tasks:
            self._fanning = tasks.create_task(self.fanout.run(), name="webhook fan-out")
            tasks.create_task(self.worker.run(), name="webhook worker")

    async def _learn_epoch(self) -> None:
        """Asks for the epoch itself, because the one who tells it later may not know it yet."""
        while True:
            try:
                self._first_epoch = (await self._broker.state()).epoch
                return
            except BrokerError as fault:
                log.info("webhooks wait for the event store", extra={"fault": str(fault)})
                await asyncio.sleep(0.5)

    def _epoch(self) -> str:
        return self._told_epoch() or self._first_epoch

    def stats(self, session_id: str) -> Stats:
        """What this process has counted for a session. Jobs are counted where the fan-out runs, deliveries where they happen."""
        return self._stats(session_id)

    async def waiting(self, session_id: str) -> int:
        """How many jobs of a session lie in the streams, for all processes together; scheduled retries are not among them."""
        count = 0
        for stream, subjects in ((HOOKS, f"{FRESH}.*.{session_id}"), (RETRIES, f"{DUE}.*.{session_id}")):
            info = await self._broker.connection.api(f"STREAM.INFO.{stream}", {"subjects_filter": subjects})
            count += sum((info["state"].get("subjects") or {}).values())
        return count

    async def close(self, grace: float) -> None:
        """Lets the fan-out go to another process at once, and finishes the posts under way; `run` then returns."""
        if self._fanning is not None:
            self._fanning.cancel()
        await self.worker.close(grace)

    def _own_stats(self, session_id: str) -> Stats:
        found = self._counted.get(session_id)
        if found is None:
            found = self._counted[session_id] = Stats()
        return found

    def _changed(self, session_id: str, session: Session | None) -> None:
        if session is None:
            self._counted.pop(session_id, None)
            self.worker.forget(session_id)
