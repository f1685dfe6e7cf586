"""Counts deliveries per session, so that sent = delivered + failed + queued + dropped always holds."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import msgspec

from router.codec import rfc3339

# Sorts behind every cursor.
EVERYTHING = "~"


class ConnectedReader(msgspec.Struct, frozen=True):
    """One reader of a session, as it was when it was asked for: `since` in seconds since the epoch, `lag` in sequences."""

    transport: str
    state: str
    since: float
    lag: int


class Stats(msgspec.Struct):
    """What became of a session's events in one edge process. `queued` is derived, so the sum cannot be wrong."""

    sent: int = 0
    delivered: int = 0
    failed: int = 0
    dropped: int = 0
    retries: int = 0
    conflated: int = 0
    spills: int = 0
    gaps: int = 0
    slowed: int = 0  # times that a reader left the live path because of its filter's cost
    websockets: int = 0
    sses: int = 0
    polls: int = 0
    served: int = 0  # connections and polls ever answered
    last_delivery: float = 0.0
    last_error: str | None = None
    # As they were when they were asked for: sequences between the reader furthest behind and the newest event received, and
    # the age in seconds of the oldest event that it is owed.
    lag: int = 0
    oldest: float = 0.0
    # Cursors that polls were answered with, and how many events up to each wait for their receipt.
    awaited: dict[str, int] = {}
    # The newest cursor that a poll came back with: a receipt, whichever process had answered with it.
    receipt: str = ""
    # Where one session alone was asked for: who reads it, the first hundred in each process.
    connections: list[ConnectedReader] = []

    @property
    def queued(self) -> int:
        return self.sent - self.delivered - self.failed - self.dropped

    def offered(self, count: int) -> None:
        self.sent += count

    def written(self, count: int) -> None:
        self.delivered += count
        self.last_delivery = time.time()

    def passed_on(self, count: int, now: float) -> None:
        """Events that were offered and written in one."""
        self.sent += count
        self.delivered += count
        self.last_delivery = now

    def handed(self, count: int, cursor: str) -> None:
        """Events that a poll answered with: they are queued until the next poll comes back with its cursor."""
        self.sent += count
        if count:
            # A poll that is repeated was answered twice.
            self.awaited = {**self.awaited, cursor: self.awaited.get(cursor, 0) + count}
        # A poller that never comes back with its cursors (the guide's `since`) is believed to have got them.
        while len(self.awaited) > 16:
            self.written(self.awaited.pop(next(iter(self.awaited))))

    def acknowledged(self, cursor: str | None) -> None:
        """Takes a poll from a cursor as the receipt for all that was handed out up to it."""
        if cursor is None:
            return
        for handed in [handed for handed in self.awaited if handed <= cursor]:
            self.written(self.awaited.pop(handed))
        if cursor != EVERYTHING:
            self.receipt = max(self.receipt, cursor)

    def superseded(self, count: int) -> None:
        """Events that a newer one stands for, left out because the client asked so."""
        self.dropped += count
        self.conflated += count

    def left_out(self, count: int) -> None:
        """Events that a newer one stands for in the answer to a poll, which were never counted as sent."""
        self.sent += count
        self.superseded(count)

    def taken_back(self, count: int) -> None:
        """Events that were handed to a reader and never written: it will read them again at its cursor."""
        self.sent -= count


def total(parts: Iterable[Stats]) -> Stats:
    """Adds up what several processes counted."""
    whole = Stats()
    for part in parts:
        for name in Stats.__struct_fields__:
            value = getattr(part, name)
            if name in ("last_delivery", "lag", "oldest", "receipt"):
                setattr(whole, name, max(getattr(whole, name), value))
            elif name == "awaited":
                whole.awaited = {
                    cursor: whole.awaited.get(cursor, 0) + value.get(cursor, 0) for cursor in {**whole.awaited, **value}
                }
            elif name == "last_error":
                whole.last_error = value or whole.last_error
            else:
                setattr(whole, name, getattr(whole, name) + value)
    return whole


def received(whole: Stats) -> Stats:
    """The sum of what several processes counted of one session: a receipt that one was given is good for all."""
    for handed in [handed for handed in whole.awaited if handed <= whole.receipt]:
        whole.delivered += whole.awaited.pop(handed)
    return whole


def beside(figures: Stats, readers: Stats) -> Stats:
    """The figures of a webhook session, and of its other readers only how many there are."""
    return msgspec.structs.replace(
        figures,
        websockets=readers.websockets,
        sses=readers.sses,
        polls=readers.polls,
        served=readers.served,
        spills=readers.spills,
        lag=readers.lag,
        oldest=readers.oldest,
        connections=readers.connections,
    )


def describe_connections(stats: Stats) -> list[dict[str, Any]]:
    """Who reads a session just now, the longest connected first."""
    return [
        {
            "transport": each.transport,
            "state": each.state,
            "since": rfc3339(int(each.since * 1e9)),
            "lag_events": each.lag,
        }
        for each in sorted(stats.connections, key=lambda each: each.since)
    ]


def describe(session_id: str, stats: Stats) -> dict[str, Any]:
    """The stats as the callback guide shows them, and what it leaves out."""
    finished = stats.delivered + stats.failed + stats.dropped
    return {
        "session_id": session_id,
        "events_sent": stats.sent,
        "events_delivered": stats.delivered,
        "events_failed": stats.failed,
        "events_dropped": stats.dropped,
        "retries": stats.retries,
        "queued_events": stats.queued,
        "has_websocket": stats.websockets > 0,
        "has_sse": stats.sses > 0,
        "delivery_rate": round(stats.delivered / finished, 3) if finished else 1.0,
        "readers": {"websocket": stats.websockets, "sse": stats.sses, "polling": stats.polls},
        "conflated": stats.conflated,
        "spills": stats.spills,
        "gaps": stats.gaps,
        "slowed": stats.slowed,
        "lag_events": stats.lag,
        "oldest_event_seconds": round(stats.oldest, 3),
        "last_delivery_at": stats.last_delivery or None,
        "last_error": stats.last_error,
    }
