"""This file is where one event for one webhook session becomes a message on HOOKS, or a retry of it on RETRIES, and back."""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass, replace

from router.codec import rfc3339
from router.consumer import Message
from router.topology import HOOKS, RETRIES

FRESH = "hook.q"
DUE = "retry.due"
SCHEDULED = "retry.at"
# What the system says of webhooks.
NEWS = "system.webhook."


def partition_of(session_id: str, partitions: int) -> int:
    """The partition that all jobs of a session go to."""
    return zlib.crc32(session_id.encode()) % partitions


def delivery_id(event_id: str, session_id: str) -> str:
    """Names the delivery of one event to one session: the same over all attempts, and over a later redrive."""
    return hashlib.blake2b(f"{event_id}:{session_id}".encode(), digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class Job:
    """One event that one session is owed. `attempt` counts from 1; `queued` is when it was first asked for, in ns."""

    session: str
    partition: int
    event_id: str
    subject: str
    sequence: int
    payload: bytes
    queued: int
    attempt: int = 1
    deferrals: int = 0
    run: int = 0
    last_status: int = 0

    @property
    def id(self) -> str:
        return delivery_id(self.event_id, self.session)

    @property
    def address(self) -> str:
        """Where the job lies until its first attempt."""
        return f"{FRESH}.{self.partition}.{self.session}"

    @property
    def schedule(self) -> str:
        """Where it waits for its time, if it is a retry.

        Each attempt and deferral has a subject of its own: a schedule that fires removes all that lies under its
        subject, and a server that was killed fires again what it had fired, which would take the next attempt with it.
        """
        return f"{SCHEDULED}.{self.id}-{self.run}-{self.attempt}-{self.deferrals}"

    def headers(self) -> dict[str, str]:
        """The job as headers beside the event's bytes. The id makes a repeat of the fan-out harmless."""
        return {"Nats-Msg-Id": f"{self.event_id}:{self.session}", **self._state()}

    def due(self, at_ns: int) -> dict[str, str]:
        """The headers of a schedule that brings the job back at a time (ADR-51).

        The attempt and the number of deferrals are in the id: a worker that dies between this and its acknowledgement
        repeats it, and JetStream drops the repeat; a second deferral is another message.
        """
        return {
            "Nats-Msg-Id": f"{self.id}.{self.run}.{self.attempt}.{self.deferrals}",
            "Nats-Schedule": f"@at {rfc3339(at_ns)}",
            "Nats-Schedule-Target": f"{DUE}.{self.partition}.{self.session}",
            **self._state(),
        }

    def next_attempt(self, status: int) -> Job:
        return replace(self, attempt=self.attempt + 1, deferrals=0, last_status=status)

    def deferred(self) -> Job:
        """The same attempt, later."""
        return replace(self, deferrals=self.deferrals + 1)

    def _state(self) -> dict[str, str]:
        return {
            "X-Event": self.event_id,
            "X-Subject": self.subject,
            "X-Sequence": str(self.sequence),
            "X-Queued": str(self.queued),
            "X-Attempt": str(self.attempt),
            "X-Deferrals": str(self.deferrals),
            "X-Run": str(self.run),
            "X-Last-Status": str(self.last_status),
        }


def read(message: Message) -> Job | None:
    """Reads a job from HOOKS or RETRIES; None for a message that is none."""
    headers = message.headers
    tokens = message.subject.split(".")
    try:
        return Job(
            session=tokens[3],
            partition=int(tokens[2]),
            event_id=headers["X-Event"],
            subject=headers["X-Subject"],
            sequence=int(headers["X-Sequence"]),
            payload=message.payload,
            queued=int(headers["X-Queued"]),
            attempt=int(headers.get("X-Attempt", "1")),
            deferrals=int(headers.get("X-Deferrals", "0")),
            run=int(headers.get("X-Run", "0")),
            last_status=int(headers.get("X-Last-Status", "0")),
        )
    except (KeyError, ValueError, IndexError):
        return None


def fresh_filter(partition: int) -> tuple[str, str, str]:
    """Stream, consumer and subjects of a partition's new jobs."""
    return HOOKS, f"hook-{partition}", f"{FRESH}.{partition}.*"


def due_filter(partition: int) -> tuple[str, str, str]:
    """Stream, consumer and subjects of a partition's retries that are due."""
    return RETRIES, f"due-{partition}", f"{DUE}.{partition}.*"
