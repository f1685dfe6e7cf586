"""The values of dead letters: messages that were given up, with the reason, the origin and the number of attempts.

A dead letter has the subject `dead.<origin>.<name>.<reason>`, so that JetStream itself counts, finds and purges by each of
them. The origin is `webhook` (the name is a session), `actor` (the name is an actor), or `ingest` (the name is a stream or
an adapter; what came from there was not an event at all).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from router.codec import unpack
from router.errors import BadEvent
from router.event import Event
from router.layout import ORIGINAL_PREFIX, SHARDED_PREFIX, original_subject
from router.subject import escape, unescape

EVERYWHERE = "dead.>"

ORIGINS = ("webhook", "actor", "ingest")

# Why deliveries are given up, as far as metrics tell them apart; the rest is `other`.
REASONS = (
    "exhausted", "gone", "payload_too_large", "unsupported_type", "rejected", "ssrf_blocked", "bad_url", "overflow",
    "ttl_expired", "endpoint_disabled", "aborted", "decode_error", "malformed_event", "attempts_spent", "cut_short", "too_large",
    "not_a_job", "fault", "unwritable", "throttled", "server_error", "redirect", "poison", "other",
)  # fmt: skip


class Origin(NamedTuple):
    """Where a message came from: its stream, its sequence there, its NATS subject."""

    stream: str
    sequence: int
    subject: str

    def __str__(self) -> str:
        return f"{self.stream}:{self.sequence}:{self.subject}"

    @classmethod
    def parse(cls, text: str) -> Origin:
        """Reads what `str` wrote; an unreadable one becomes an empty origin."""
        stream, _, rest = text.partition(":")
        sequence, _, subject = rest.partition(":")
        return cls(stream, _number(sequence), subject)


def is_of_event(stored: str) -> bool:
    """Whether a subject is one under which an event is stored."""
    return stored.startswith((ORIGINAL_PREFIX, SHARDED_PREFIX))


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One message that was given up. Times are RFC 3339.

    `sequence` is its place in DEADLETTERS, and `stored` when JetStream took it there. `back` is the command that takes it
    back, where its origin has one. A message that was too large is stored by reference: `payload` is empty, `size` is its
    length in bytes, and `origin` says where it is; see `DeadLetters.payload_of`.
    """

    sequence: int
    subject: str
    payload: bytes
    origin: Origin
    reason: str
    detail: str
    attempts: int
    first: str
    last: str
    destination: str
    source: str
    stored: str = ""
    redrives: int = 0
    event_id: str = ""
    back: str = ""
    size: int = 0

    @property
    def kind(self) -> str:
        """`webhook`, `actor` or `ingest`."""
        return _token(self.subject, 1)

    @property
    def name(self) -> str:
        """The session, the actor, or the stream or adapter that it came from."""
        return unescape(_token(self.subject, 2))

    @property
    def event_subject(self) -> str:
        """The subject of the event inside, without the prefix of EVENTS; empty where it is not known."""
        return original_subject(self.origin.subject) if is_of_event(self.origin.subject) else ""

    def event(self) -> Event | None:
        """Decodes the event inside; None where the payload is not an event."""
        try:
            return unpack(self.payload)
        except BadEvent:
            return None


class DeadLetterPage(NamedTuple):
    """Dead letters, oldest first; `more` says that there are further ones."""

    deadletters: list[DeadLetter]
    more: bool


@dataclass(frozen=True)
class DeadLetterStats:
    """What DEADLETTERS holds: how many of each subject, its first and last sequence, and how full it is.

    `complete` is False where there are more subjects than one listing takes.
    """

    subjects: dict[str, int]
    complete: bool
    first: int
    last: int
    messages: int
    bytes: int
    max_bytes: int
    oldest: str

    @property
    def fullness(self) -> float:
        """From 0 to 1; at 1 the oldest are dropped. 0 where there is no limit."""
        return self.bytes / self.max_bytes if self.max_bytes > 0 else 0.0


def actor_subject(name: str) -> str:
    """The subject of an actor's dead letters, without the reason."""
    return f"dead.actor.{escape(name)}"


def webhook_subject(session: str) -> str:
    """The subject of a webhook session's dead letters, without the reason."""
    return f"dead.webhook.{escape(session)}"


def ingest_subject(source: str) -> str:
    """The subject of what came from a stream or an adapter and is not an event, without the reason."""
    return f"dead.ingest.{escape(source)}"


def label(reason: str) -> str:
    """The reason as a metric's label: one of REASONS."""
    return reason if reason in REASONS else "other"


def read_headers(headers: dict[str, str], subject: str, sequence: int, payload: bytes = b"") -> DeadLetter:
    """Makes a dead letter from the headers of its message in DEADLETTERS."""
    return DeadLetter(
        sequence=sequence,
        subject=subject,
        payload=payload,
        origin=Origin.parse(headers.get("Dead-Origin", "")),
        reason=headers.get("Dead-Reason", ""),
        detail=headers.get("Dead-Detail", ""),
        attempts=_number(headers.get("Dead-Attempts", "")),
        first=headers.get("Dead-First", ""),
        last=headers.get("Dead-Last", ""),
        destination=headers.get("Dead-Destination", ""),
        source=headers.get("Dead-Source", ""),
        stored=headers.get("Nats-Time-Stamp", ""),
        redrives=_number(headers.get("Dead-Redrives", "")),
        event_id=headers.get("Dead-Event", ""),
        back=headers.get("Dead-Return", ""),
        size=_number(headers.get("Dead-Size", "")),
    )


def _token(subject: str, place: int) -> str:
    tokens = subject.split(".")
    return tokens[place] if place < len(tokens) else ""


def _number(text: str) -> int:
    # Of ASCII: `isdigit` alone takes characters such as ², which are no number to `int`.
    return int(text) if text.isascii() and text.isdigit() else 0
