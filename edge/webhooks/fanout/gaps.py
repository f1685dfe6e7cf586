"""Publishes a gap where events ran out of retention before a webhook session got them, and counts it."""

from __future__ import annotations

import logging

from edge.sessions.registry import Session
from edge.webhooks import metrics
from edge.webhooks.queue.job import OPERATIONAL
from router.broker import Broker
from router.event import Event
from router.layout import Shard
from router.subject import escape

log = logging.getLogger(__name__)


async def publish_gap(broker: Broker, session: Session, shard: Shard, first: int, last: int) -> None:
    """Publishes that a session misses the events from `first` to `last` of a shard, as far as it would have been shown them.

    A repeat has the same id; returns once the event is stored. Raises BrokerError.
    """
    endpoint = session.spec.webhook
    # The same sequences of another shard are another gap.
    of = f"{shard.generation}.{shard.index}." if shard.generation else ""
    event = Event.new(
        f"{OPERATIONAL}gap",
        {
            "session_id": session.id,
            "destination": endpoint.destination if endpoint is not None else None,
            "reason": "retention",
            # Both are sequences of this stream.
            "stream": shard.stream,
            "first": first,
            "last": last,
            "events": last - first + 1,
        },
        source="edge.webhooks",
        id=f"{session.id}.gap.{of}{first}.{last}",
        key=escape(session.id),
    )
    await broker.publish(event)
    metrics.gaps.inc()
    metrics.gap_events.inc(last - first + 1)
    log.error(
        "events ran out of retention before a webhook got them; a gap was published",
        extra={"session": session.id, "stream": shard.stream, "first": first, "last": last},
    )
