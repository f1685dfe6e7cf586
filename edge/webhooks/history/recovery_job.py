"""The values of a recovery: one order to deliver events again, how far it has come, and the settings of all."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from edge.jobs import BackgroundJob
from router.cluster.role import RoleSettings
from router.codec import rfc3339
from router.cursor import parse_time

Kind = Literal["recover", "replay"]

MIN_RATE, MAX_RATE, DEFAULT_RATE = 0.1, 10_000.0, 100.0


@dataclass(frozen=True)
class RecoverySettings:
    """How recoveries are worked. Times in seconds."""

    role: RoleSettings = field(default_factory=RoleSettings)
    # Deliveries between two saves of how far it has come, or seconds: what is stored again after a crash.
    chunk: int = 100
    note_every: float = 0.5
    # Recoveries that are worked at the same time; the others wait.
    concurrency: int = 4
    # Between two tries of what cannot be stored right now (a full queue, no connection to NATS).
    pause: float = 0.5
    keep: float = 7 * 86400.0


class Recovery(BackgroundJob, kw_only=True, omit_defaults=True):
    """One order to deliver again, and how far it has come.

    A `recover` is about attempts between two places of ATTEMPTS, a `replay` about events between two of EVENTS
    (`router.event_place`); `after` is the place in EVENTS up to which all was delivered again. `spans` are the parts of a replay
    over several shards, in the order of their places.
    """

    session: str
    kind: Kind
    since: str = ""
    until: str = ""
    first: int = 0
    last: int = 0
    spans: tuple[tuple[int, int], ...] = ()
    rate: float = DEFAULT_RATE
    total: int | None = None

    @property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        """What a replay is about: from behind one place up to another in the same shard, each."""
        return self.spans or ((self.first, self.last),)

    @property
    def progress(self) -> float | None:
        """The part that is done, from 0 to 1: of the stream's range for a replay, else of the deliveries, None until counted."""
        if self.state == "done":
            return 1.0
        if self.kind == "replay":
            done = sum(min(max(self.after, low), high) - low for low, high in self.ranges)
            whole = sum(high - low for low, high in self.ranges)
            return done / whole if whole > 0 else 1.0
        return min(1.0, (self.sent + self.skipped) / self.total) if self.total else None

    def describe(self) -> dict[str, Any]:
        """The recovery as the API shows it."""
        return {
            "id": self.id,
            "session_id": self.session,
            "kind": self.kind,
            "state": self.state,
            "since": self.since or None,
            "until": self.until or None,
            "rate": self.rate,
            # Of a replay it is known only at its end how many of the events the session shows.
            "total": self.total,
            "progress": self.progress,
            "sent": self.sent,
            # Deliveries whose event is no longer kept.
            "skipped": self.skipped,
            "created": rfc3339(self.created),
            "updated": rfc3339(self.updated or self.created),
            "ended": rfc3339(self.ended) if self.ended else None,
            "error": self.error or None,
        }


def parse_moment(value: str | float) -> datetime:
    """Reads a time: RFC 3339, or seconds or milliseconds since the epoch. Raises BadCursor."""
    return parse_time(str(value))


def text_of(moment: datetime) -> str:
    return rfc3339(int(moment.timestamp() * 1_000_000) * 1000)
