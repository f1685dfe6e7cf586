"""Makes the notices that a reader sends beside events: ready, gap, position, heartbeat, slowed and bye."""

from __future__ import annotations

import time
from typing import Any

from edge import metrics
from edge.disconnect import Disconnect
from edge.hub.recovery import ReaderRecovery
from edge.types import Notice
from router.codec import rfc3339
from router.cursor import Start
from router.place import Gap

_recoveries = {outcome: metrics.recoveries.labels(outcome) for outcome in metrics.RECOVERIES}
_SLOWED = "the filters of this principal take too much time: events come later, all of them and in order"


def ready(
    recovery: ReaderRecovery, session_id: str, cursor: str, start: Start, gap: Gap | None, heartbeat: float
) -> Notice:
    """The first notice of every connection: where it begins, and whether it goes on where its client was."""
    return Notice(
        "ready",
        {
            "session_id": session_id,
            "cursor": cursor,
            "earliest": recovery.earliest(),
            "recovered": start.cursor is not None and gap is None,
            "heartbeat_seconds": heartbeat,
            **_times(),
        },
    )


def count_recovery(gap: Gap | None, start: Start) -> None:
    """Counts a reader that connected."""
    _recoveries["gap" if gap else "recovered" if start.cursor else "fresh"].inc()


def lost(recovery: ReaderRecovery, gap: Gap, cursor: str) -> Notice:
    """Says which events a client can never have."""
    reason = "foreign_cursor" if gap.reset else "beyond_retention"
    metrics.gaps.labels(reason).inc()
    return Notice(
        "gap",
        {
            "from": recovery.cursor(gap.first),
            "to": recovery.cursor(gap.last),
            "reset": gap.reset,
            "reason": reason,
            "cursor": cursor,
            "timestamp": _now(),
        },
    )


def place(control: str, cursor: str) -> Notice:
    """A heartbeat or a position: says up to where a client has everything."""
    return Notice(control, {"cursor": cursor, **_times()})


def slowed(cursor: str) -> dict[str, Any]:
    """The body of a notice that a reader was taken off the live path because of its filter's cost."""
    return {"reason": "filter_budget", "detail": _SLOWED, "cursor": cursor, **_times()}


def bye(reason: Disconnect, cursor: str | None) -> Notice:
    """The last notice: why the connection ends, whether and where to come back."""
    body: dict[str, Any] = {
        "reason": reason.reason,
        "code": reason.code,
        "reconnect": reason.reconnect,
        "delay_ms": int(reason.delay * 1000),
        "timestamp": _now(),
    }
    if cursor is not None:
        body["cursor"] = cursor
    return Notice("bye", body)


def _times() -> dict[str, str]:
    """The time, as a clock to set one's own by, and as every event has it."""
    now = _now()
    return {"server_time": now, "timestamp": now}


def _now() -> str:
    return rfc3339(time.time_ns())
