"""Measures how far readers are behind what their process has received."""

from __future__ import annotations

import time
from collections.abc import Mapping

from edge.hub.hub import Hub
from edge.stats import Stats
from edge.types import State, Subscriber


def behind(hub: Hub, reader: Subscriber) -> int:
    """How many sequences lie between a reader and the newest event received; 0 for one that has nothing left to write."""
    if reader.state in (State.REPLAYING, State.LAGGING) or reader.queued[0]:
        return max(0, hub.position - reader.position)
    return 0


def measure(hub: Hub, sessions: Mapping[str, Stats]) -> None:
    """Notes in the stats of sessions how far their readers are behind just now."""
    furthest: dict[str, Subscriber] = {}
    for reader in hub.readers:
        if reader.session_id in sessions and behind(hub, reader):
            known = furthest.setdefault(reader.session_id, reader)
            if reader.position < known.position:
                furthest[reader.session_id] = reader
    for session_id, stats in sessions.items():
        last = furthest.get(session_id)
        stats.lag = behind(hub, last) if last else 0
        stats.oldest = age_behind(hub, last.position) if last else 0.0


def age_behind(hub: Hub, sequence: int) -> float:
    """Age in seconds of the oldest event remembered that comes after a sequence; 0 where there is none."""
    record = hub.recent.next(sequence)
    event = record.event if record else None
    return max(0.0, time.time() - event.time / 1e9) if event else 0.0
