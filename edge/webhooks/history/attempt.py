"""One attempt to deliver a webhook, as it is stored in ATTEMPTS and shown by the API."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from edge.webhooks.client.outcome import Outcome, Timing, Verdict
from edge.webhooks.queue.job import delivery_id
from router.codec import rfc3339
from router.subject import matches

PREFIX = "attempt"


class Part(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One event of those that an attempt carried."""

    event: str
    sequence: int


class Attempt(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One attempt, as it is stored in ATTEMPTS. Times are ns since the epoch; `next` is 0 where no retry is scheduled.

    `attempt` counts from 1. A batch has its events in `parts`. The destination is without secrets.
    """

    session: str
    delivery: str
    event: str
    sequence: int
    subject: str = ""
    attempt: int = 1
    trigger: str = "auto"
    begun: int
    destination: str = ""
    address: str = ""
    verdict: str
    status: int = 0
    fault: str = ""
    note: str = ""
    seconds: float = 0.0
    timing: Timing | None = None
    head: bytes = b""
    next: int = 0
    parts: list[Part] = []

    @classmethod
    def of(
        cls,
        outcome: Outcome,
        *,
        session: str,
        delivery: str,
        event: str,
        sequence: int,
        begun: int,
        subject: str = "",
        attempt: int = 1,
        trigger: str = "auto",
        destination: str = "",
        next: int = 0,
        parts: list[Part] | None = None,
    ) -> Attempt:
        """The attempt that came to an outcome."""
        return cls(
            session=session,
            delivery=delivery,
            event=event,
            sequence=sequence,
            # A Subject is more than msgpack knows.
            subject=str(subject),
            attempt=attempt,
            trigger=trigger,
            begun=begun,
            destination=destination,
            address=outcome.address,
            verdict=outcome.verdict.value,
            status=outcome.status,
            fault=outcome.fault,
            note=outcome.note,
            seconds=outcome.seconds,
            timing=outcome.timing,
            # What a receiver said that accepted the event is of no interest.
            head=b"" if outcome.verdict is Verdict.DELIVERED else outcome.head,
            next=next,
            parts=parts or [],
        )

    @property
    def weight(self) -> int:
        """The places that it takes in the queue: a batch may have a thousand ids."""
        return 1 + len(self.parts) // 16

    def carried(self, event: str | None, delivery: str | None) -> bool:
        """Whether it carried an event, and belongs to a delivery; None for any."""
        if event is not None and self.event != event and all(part.event != event for part in self.parts):
            return False
        if delivery is None or self.delivery == delivery:
            return True
        return any(delivery_id(part.event, part.sequence, self.session) == delivery for part in self.parts)

    def fits(self, subject: str | None, status: int | None) -> bool:
        """Whether it is about a subject, given as a pattern, and was answered with a status; None for any.

        Of a batch the subject of the first event counts.
        """
        if status is not None and self.status != status:
            return False
        return subject is None or (bool(self.subject) and matches(subject, self.subject))

    @property
    def deliveries(self) -> dict[str, Part]:
        """Each delivery that it was an attempt of."""
        if not self.parts:
            return {self.delivery: Part(self.event, self.sequence)}
        return {delivery_id(part.event, part.sequence, self.session): part for part in self.parts}

    @property
    def ok(self) -> bool:
        return self.verdict == Verdict.DELIVERED.value

    @property
    def result(self) -> Literal["ok", "fail"]:
        return "ok" if self.ok else "fail"

    def describe(self) -> dict[str, Any]:
        """The attempt as the API shows it."""
        return {
            "delivery": self.delivery,
            "webhook_id": f"msg_{self.delivery}",
            "event": self.event,
            "events": [part.event for part in self.parts] or [self.event],
            "subject": self.subject,
            "attempt": self.attempt,
            "trigger": self.trigger,
            "at": rfc3339(self.begun),
            "destination": self.destination,
            "address": self.address or None,
            "ok": self.ok,
            "verdict": self.verdict,
            "status": self.status or None,
            "error": self.fault or None,
            "detail": self.note or None,
            "timing_ms": msgspec.structs.asdict(self.timing)
            if self.timing
            else {"total": round(self.seconds * 1000, 3)},
            "response_head": self.head.decode(errors="replace") if self.head else None,
            "next_attempt_at": rfc3339(self.next) if self.next else None,
        }


encode = msgspec.msgpack.Encoder().encode

decode = msgspec.msgpack.Decoder(list[Attempt]).decode
