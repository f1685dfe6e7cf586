"""Deduplicates repeated HTTP publishes: names events within their principal, and tells a repeat from another request.

With an `Idempotency-Key` an event is named by principal, key and place in the request; else by principal, subject and id.
An event with a key or an id of the client's choice is stored with a fingerprint. Where JetStream reports a duplicate, the
stored fingerprint is read back: the same one is a repeat, which gets the first answer; another one is another request under a
used name. Only the stream remembers, so any replica answers alike, for as long as the dedup window lasts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from edge.errors import Problem
from router.broker import Broker
from router.codec import encode
from router.dedup import dedup_id, dedup_ids
from router.event import Event
from router.nats.headers import header
from router.nats.stream import Ack
from router.topology import EVENTS

FINGERPRINT = "Callboard-Fingerprint"


class Name(NamedTuple):
    """The `Nats-Msg-Id` under which an event is stored, and its fingerprint; None for an event that no client can repeat."""

    dedup: str
    fingerprint: str | None
    # Whether it was sent to the store already, and may be there.
    was_sent: bool = False

    @property
    def is_new(self) -> bool:
        """Whether it is not stored yet, and nobody can publish it again."""
        return self.fingerprint is None and not self.was_sent

    @property
    def headers(self) -> dict[str, str]:
        return {FINGERPRINT: self.fingerprint} if self.fingerprint else {}


def name_events(many: Sequence[Event], own_ids: Sequence[bool], principal: str | None, key: str | None) -> list[Name]:
    """Names the events of one request; `own_ids` marks those with an id of the client's choice."""
    if key is not None:
        # Over the whole request: a batch that has grown is another one, even where its first events are the same.
        whole = _fingerprint(many)
        return [Name(dedup_id("key", principal, key, place), whole) for place in range(len(many))]
    if len(many) == 1:
        # What most requests bring: nothing is shared.
        (event,), (own,) = many, own_ids
        return [Name(dedup_id("http", principal, event.subject, event.id), _fingerprint(many) if own else None)]
    ids = dedup_ids(("http", principal), [(event.subject, event.id) for event in many])
    return [
        Name(dedup, _fingerprint([event]) if own else None)
        for dedup, event, own in zip(ids, many, own_ids, strict=True)
    ]


async def require_same(broker: Broker, name: Name, ack: Ack, **more: Any) -> None:
    """Raises Problem where another event is stored under the name, or BrokerError."""
    if not ack.duplicate or name.fingerprint is None:
        return
    # From the stream's leader: a replica that lags may not have it yet.
    message = await broker.stream(ack.stream or EVENTS).get(ack.sequence)
    if message is None:
        return  # no longer kept
    stored = header(message.headers, FINGERPRINT.encode())
    if stored is not None and stored != name.fingerprint:
        raise Problem(
            "idempotency_key_reused",
            "another event was stored under this Idempotency-Key or id; take a new one for a new event",
            **more,
        )


def _fingerprint(many: Sequence[Event]) -> str:
    """Hashes what the client sent; its time and the order of a map's keys make no difference."""
    digest = hashlib.blake2b(digest_size=16)
    for event in many:
        packed = encode(msgspec.structs.replace(event, time=0, trace=None, data=_ordered(event.data)))
        digest.update(len(packed).to_bytes(8))
        digest.update(packed)
    return digest.hexdigest()


def _ordered(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _ordered(item) for key, item in sorted(value.items(), key=lambda pair: str(pair[0]))}
    if type(value) in (list, tuple):
        return [_ordered(item) for item in value]
    return value
