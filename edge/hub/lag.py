"""Measures how far readers are behind what their process has received."""

from __future__ import annotations

import time
from collections.abc import Mapping

from edge.hub.hub import Hub
from edge.stats import ConnectedReader, Stats
from edge.types import State, Subscriber
from router.position import Position

# Of one session in one process: more is no list for a person.
MAX_CONNECTIONS = 100


def behind(hub: Hub, reader: Subscriber) -> int:
    """How many sequences lie between a reader and the newest event received; 0 for one that has nothing left to write."""
    if reader.state in (State.REPLAYING, State.LAGGING) or reader.queued[0]:
        return hub.position.ahead_of(reader.position, hub.layout)
    return 0


def measure(hub: Hub, sessions: Mapping[str, Stats]) -> None:
    """Notes in the stats of sessions how far their readers are behind just now; of one session alone also who they are."""
    furthest: dict[str, Subscriber] = {}
    connections: list[ConnectedReader] = []
    alone = len(sessions) == 1
    for reader in hub.readers:
        if reader.session_id not in sessions:
            continue
        if alone and len(connections) < MAX_CONNECTIONS:
            connections.append(_connection(hub, reader))
        if sequences := behind(hub, reader):
            known = furthest.setdefault(reader.session_id, reader)
            if sequences > behind(hub, known):
                furthest[reader.session_id] = reader
    for session_id, stats in sessions.items():
        last = furthest.get(session_id)
        stats.lag = behind(hub, last) if last else 0
        stats.oldest = age_behind(hub, last.position) if last else 0.0
        stats.connections = connections if alone else []


def _connection(hub: Hub, reader: Subscriber) -> ConnectedReader:
    since = time.time() - (time.monotonic() - reader.started)
    return ConnectedReader(reader.transport_name, reader.state.value, since, behind(hub, reader))


def age_behind(hub: Hub, position: Position) -> float:
    """Age in seconds of the oldest event remembered that comes after a position; 0 where there is none."""
    record = hub.recent.next(position)
    event = record.event if record else None
    return max(0.0, time.time() - event.time / 1e9) if event else 0.0
