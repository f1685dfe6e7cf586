"""Classifies the errors that JetStream returns for a publish: refused for good, no room, try again, or unknown.

| fate    | what it means                                                | `Broker.store`             | POST /events           |
|---------|--------------------------------------------------------------|----------------------------|------------------------|
| REFUSED | not stored, and another try would be answered the same       | raises Refused             | 507 storage_refused    |
| FULL    | not stored; it may be once somebody has made room            | raises Refused             | 503 storage_full       |
| AGAIN   | not stored by this try; the server elects, recovers, is busy | tries again, then Timeout  | 503 broker_unavailable |
| UNKNOWN | an earlier try with this id is neither stored nor given up   | tries again, then Timeout  | 503 broker_unavailable |

What is not listed goes by its HTTP-like code.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from router.errors import BrokerError, Refused, Timeout
from router.nats.error_codes import ErrorCode


class Fate(Enum):
    """What becomes of a message that JetStream answered with an error."""

    REFUSED = "refused"
    FULL = "full"
    AGAIN = "again"
    UNKNOWN = "unknown"


FATES: Mapping[int, Fate] = {
    ErrorCode.CLUSTER_NOT_AVAILABLE: Fate.AGAIN,
    ErrorCode.CLUSTER_NOT_LEADER: Fate.AGAIN,
    ErrorCode.INSUFFICIENT_RESOURCES: Fate.FULL,
    ErrorCode.MEMORY_RESOURCES_EXCEEDED: Fate.FULL,
    ErrorCode.STORAGE_RESOURCES_EXCEEDED: Fate.FULL,
    ErrorCode.STREAM_OFFLINE: Fate.AGAIN,
    # Held for an earlier message with the same id that a leader has proposed and that is not committed yet. It may be
    # stored in a moment, or dropped at a change of leader; within the dedup window only another try finds out.
    ErrorCode.DUPLICATE_MESSAGE_CONFLICT: Fate.UNKNOWN,
    ErrorCode.TOO_MANY_REQUESTS: Fate.AGAIN,
}
# ENOSPC, EDQUOT, and EFBIG of a limit on the file size, as Go writes them.
_FULL_WORDS = ("no space left", "disk quota exceeded", "file too large")


def is_full_disk(text: str) -> bool:
    """Whether the text of an error says that a disk is full."""
    return any(words in text.lower() for words in _FULL_WORDS)


def fate(refusal: Refused) -> Fate:
    """Looks up what a refused publish means."""
    text = refusal.description.lower()
    if is_full_disk(text):
        return Fate.FULL
    if refusal.err_code == ErrorCode.STREAM_STORE_FAILED:
        # One number for everything that kept a stream from storing: its limits, but also "raft: not leader".
        return Fate.FULL if "exceeded" in text else Fate.AGAIN
    if known := FATES.get(refusal.err_code):
        return known
    return Fate.AGAIN if refusal.code >= 500 or refusal.code == 429 else Fate.REFUSED


def is_sealed(answer: object) -> bool:
    """Whether what came back for a message says that its stream is sealed: it is not stored there, and never will be."""
    return isinstance(answer, Refused) and answer.err_code == ErrorCode.STREAM_SEALED


def has_no_room(refusal: Refused) -> bool:
    """Whether a limit, of one subject too, or the disk kept it from being stored; once there is room it may be."""
    return fate(refusal) is Fate.FULL


def is_full(refusal: Refused) -> bool:
    """Whether JetStream refused for want of room, and not by a limit per subject."""
    return has_no_room(refusal) and "per subject" not in refusal.description


def as_fault(code: int, err_code: int, description: str) -> BrokerError:
    """Makes the error for one answer to one publish: Timeout where it does not say whether the message is stored."""
    refusal = Refused(code, err_code, description)
    if fate(refusal) is Fate.UNKNOWN:
        return Timeout(description)
    return refusal
