"""Names messages for JetStream's duplicate detection, each within the namespace of its publisher.

A stream has one namespace of `Nats-Msg-Id`s for everybody. An event's own id is chosen by who publishes it, so it never is
that name by itself: another's event of the same id would be dropped.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from router.event import Event

# A Subject is a kind of text that msgspec does not know.
_encode = msgspec.json.Encoder(enc_hook=str).encode


def dedup_id(*scope: str | int | None) -> str:
    """Hashes a namespace and a name within it to a `Nats-Msg-Id`; different parts never give the same text to hash."""
    return hashlib.blake2b(_encode(scope), digest_size=16).hexdigest()


def dedup_ids(scope: Sequence[str | int | None], names: Iterable[tuple[str, str]]) -> list[str]:
    """As `dedup_id(*scope, subject, id)` of each pair of a subject and an id, with what a subject's have in common hashed once."""
    begun: dict[str, Any] = {}
    made: list[str] = []
    for subject, id in names:
        if (common := begun.get(subject)) is None:
            common = begun[subject] = hashlib.blake2b(_encode((*scope, subject))[:-1] + b",", digest_size=16)
        hashed = common.copy()
        hashed.update(_encode(id) + b"]")
        made.append(hashed.hexdigest())
    return made


def digest(payload: bytes) -> str:
    """Tells a stored event from every other, also from those of the same id; a copy of it has the same digest."""
    return hashlib.blake2b(payload, digest_size=16).hexdigest()


def event_dedup_id(source: str, subject: str, id: str) -> str:
    """Names an event of a program that speaks NATS, such as an actor or the SDK, within its source and subject."""
    return dedup_id("source", source, subject, id)


def of_event(event: Event) -> str:
    """Names an event within its source and subject."""
    return event_dedup_id(event.source, event.subject, event.id)
