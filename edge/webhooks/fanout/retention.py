"""Looks after the events that wait in EVENTS for a session: which of them have waited too long, and which are gone."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime

from edge.stats import Stats
from edge.webhooks.fanout.gaps import publish_gap
from edge.webhooks.fanout.members import Member, Members
from edge.webhooks.fanout.progress import FanoutProgress
from edge.webhooks.fanout.settings import FanoutSettings
from router.broker import Broker, StreamState
from router.clock import wall
from router.coalescing import coalesced_sleep
from router.errors import BrokerError
from router.layout import Shard

log = logging.getLogger(__name__)


class Retention:
    """Compares the places of waiting sessions with their maximum age and with the oldest event that is kept."""

    def __init__(
        self,
        broker: Broker,
        shard: Shard,
        progress: FanoutProgress,
        members: Members,
        stats: Callable[[str], Stats],
        keep: float,
        settings: FanoutSettings,
    ) -> None:
        """Events wait at most `keep` seconds for an endpoint, where its session does not say how long."""
        self._broker = broker
        self._shard = shard
        self._events = broker.shard(shard)
        self._progress = progress
        self._members = members
        self._stats = stats
        self._keep = keep
        self._settings = settings

    async def run(self) -> None:
        """Looks after the sessions that wait, until cancelled."""
        while True:
            await coalesced_sleep(self._settings.expire_every)
            try:
                if self._members.waiting:
                    await self._check_waiting()
            except BrokerError as fault:
                log.debug("the age of waiting events cannot be checked", extra={"fault": str(fault)})

    async def _check_waiting(self) -> None:
        """Notes up to where events are too old for each session. Raises BrokerError."""
        state = await self._events.state()
        self._progress.oldest = max(state.first - 1, 0)
        waiting = self._members.waiting
        # By how long they may wait, which is the same for most.
        expired: dict[float, int] = {}
        for member in list(waiting.values()):
            endpoint = member.session.spec.webhook
            max_age = endpoint.max_age if endpoint is not None and endpoint.max_age is not None else self._keep
            if member.since is None:
                # What was there before the session is the past that it asked for.
                member.since = await self._last_before(member.session.spec.created / 1e9, state)
            if max_age not in expired:
                expired[max_age] = await self._last_before(wall.now() - max_age, state)
            if member.after >= member.since:
                member.expired = min(expired[max_age], self._progress.matched)
            now = time.monotonic()
            is_lost = self._progress.oldest > member.after and now >= member.gap_due
            if is_lost and waiting.get(member.session.id) is member:
                member.gap_due = now + self._settings.gap_every
                member.telling = True
                try:
                    await self.skip_lost(member)
                finally:
                    member.telling = False

    async def _last_before(self, moment: float, state: StreamState) -> int:
        """The sequence of the last event that was stored before a time. Raises BrokerError."""
        page = await self._events.read(">", 0, 1, since=datetime.fromtimestamp(moment, UTC))
        return page.records[0].sequence - 1 if page.records else state.last

    async def skip_lost(self, member: Member) -> bool:
        """Whether events ran out of retention before a session got them; then the gap is published, and they are skipped.

        Raises BrokerError.
        """
        before_first = max((await self._events.state()).first - 1, 0)
        if before_first <= member.after:
            return False
        await publish_gap(self._broker, member.session, self._shard, member.after + 1, before_first)
        self._stats(member.session.id).gaps += 1
        member.after = max(member.after, before_first)
        self._members.dirty.add(member.session.id)
        return True
