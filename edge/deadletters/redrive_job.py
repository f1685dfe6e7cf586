"""The values of a redrive: one order to send dead letters again, how far it has come, and the settings of all."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from edge.deadletters.query import DeadLetterFilter, Span
from edge.jobs import ENDED, BackgroundJob, new_id
from router.clock import wall
from router.cluster.role import RoleSettings
from router.codec import rfc3339

# A dead letter that came back so often needs `force`: a person should have looked at it by then.
MAX_REDRIVES = 5
# Sessions whose endpoints take nothing: enough of them to look at, however many there are.
MAX_BLOCKED = 10
MIN_RATE, MAX_RATE, DEFAULT_RATE = 0.1, 10_000.0, 100.0


@dataclass(frozen=True)
class RedriveSettings:
    """How dead letters are sent again. Times in seconds."""

    role: RoleSettings = field(default_factory=RoleSettings)
    # Dead letters between two notes of how far a job has come, or seconds: what is read again after a crash.
    chunk: int = 20
    note_every: float = 0.25
    # Jobs that are worked at the same time; the others wait.
    concurrency: int = 4
    # A job fails where more than `max_returned` of the last `window` came back as dead letters: their cause persists.
    window: int = 100
    max_returned: int = 20
    # An actor answers once its mailbox has come to the event and the event is settled.
    answer_timeout: float = 60.0
    max_timeouts: int = 3
    # After an event that crashed its actor: twelve crashes within a minute would end the actor's process.
    after_crash: float = 10.0
    # Between two tries of what cannot be stored right now (a full queue, a full mailbox, no connection to NATS).
    pause: float = 0.5
    keep: float = 7 * 86400.0


class RedriveJob(BackgroundJob, kw_only=True, omit_defaults=True):
    """One order to send dead letters again, and how far it has come.

    `upto` is where the stream ended when the job was made; `after` is how far it has come.
    """

    filter: DeadLetterFilter
    letter: int | None = None
    dry_run: bool = False
    force: bool = False
    rate: float = DEFAULT_RATE
    limit: int | None = None
    upto: int = 0
    matched: int | None = None
    failed: int = 0
    returned: int = 0
    reasons: dict[str, int] = {}
    blocked: dict[str, str] = {}
    started: int = 0

    @property
    def total(self) -> int | None:
        """How many dead letters there are to be handled; None as long as they are not counted."""
        if self.matched is None or self.limit is None:
            return self.matched
        return min(self.matched, self.limit + self.failed + self.skipped)

    @property
    def handled(self) -> int:
        return self.sent + self.failed + self.skipped

    def describe(self) -> dict[str, Any]:
        """The job as the API shows it."""
        return {
            "id": self.id,
            "state": self.state,
            "dry_run": self.dry_run,
            "letter": self.letter,
            "filter": self.filter.described(),
            "force": self.force,
            "rate": self.rate,
            "limit": self.limit,
            "total": self.total,
            "sent": self.sent,
            "failed": self.failed,
            "skipped": self.skipped,
            "reasons": self.reasons,
            "blocked": self.blocked,
            "returned": self.returned,
            "created": rfc3339(self.created),
            "started": rfc3339(self.started) if self.started else None,
            "updated": rfc3339(self.updated or self.created),
            "ended": rfc3339(self.ended) if self.ended else None,
            "eta": self._eta(),
            "error": self.error or None,
        }

    def _eta(self) -> float | None:
        """Seconds until it ends, at the pace so far."""
        if self.state in ENDED:
            return 0.0
        if self.total is None or not self.handled or self.updated <= self.started:
            return None
        pace = self.handled / ((self.updated - self.started) / 1e9)
        return round(max(0, self.total - self.handled) / pace, 1)


def new_job(chosen: DeadLetterFilter, span: Span, **more: Any) -> RedriveJob:
    """Makes a job over a span of the stream; its id sorts by time."""
    return RedriveJob(
        id=new_id(),
        filter=chosen,
        created=wall.now_ns(),
        after=span.after,
        upto=span.upto,
        **more,
    )
