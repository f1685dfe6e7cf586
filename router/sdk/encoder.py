"""Makes a run's events and their bytes: each with the run's subject and an id that a retry keeps."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from typing import Any

import msgspec

from router.codec import decode, encode
from router.dedup import of_event
from router.errors import BadEvent
from router.event import Event
from router.run_entry import outcome
from router.sdk.queued import Kind, Life, Queued
from router.sdk.values import plain
from router.subject import Subject, escape

# 150 of the 200 characters an id may have; the rest is for the incarnation and the number.
MAX_STEM = 150


class RunEncoder:
    """Encodes the events of one run, which are numbered `<run>.<incarnation>.<number>` from 1."""

    def __init__(self, domain: str, run: str, source: str, trace: str | None = None, incarnation: str = "") -> None:
        """Raises BadSubject where `domain` and `run` make no subject."""
        self._prefix = Subject.of(domain, run, "completion")[: -len("completion")]
        self.incarnation = incarnation or secrets.token_hex(4)
        # The most bytes that the server takes; None until that is known.
        self.limit: int | None = None
        self._domain = domain
        self._run = run
        self._source = source
        self._trace = trace
        self._stem = id_stem(run)

    @property
    def life(self) -> Life:
        return Life(self._domain, self._run, escape(self._run), self.incarnation, self._source)

    def renew(self) -> None:
        """Begins another incarnation."""
        self.incarnation = secrets.token_hex(4)

    def encode(
        self, number: int, type: str, data: Mapping[str, Any], cause: str | None = None, kind: Kind = Kind.EVENT
    ) -> tuple[Event, Queued]:
        """Makes an event and what is queued of it. Raises BadEvent where it could not be stored."""
        event = self._event(number, type, data, cause)
        try:
            payload = encode(event)
        except BadEvent:
            event = self._event(number, type, plain(data), cause)
            payload = encode(event)
        if self.limit is not None and len(payload) > self.limit:
            raise BadEvent(
                f"the event has {len(payload)} bytes, the server takes {self.limit}; send a reference instead"
            )
        key = event.conflation_key if type == "progress" else None
        return event, Queued(kind, number, str(event.subject), of_event(event), payload, key)

    def _event(self, number: int, type: str, data: Mapping[str, Any], cause: str | None) -> Event:
        return Event.new(
            self._prefix + type,
            data,
            type=type,
            source=self._source,
            id=f"{self._stem}.{self.incarnation}.{number}",
            cause=cause,
            trace=self._trace,
        )


def in_life(item: Queued, incarnation: str) -> Queued:
    """The same event for another incarnation of its run: what a completion says that ends a later life than it was made in."""
    event = decode(item.payload)
    if event.data.get("incarnation") in (None, incarnation):
        return item
    data = {**event.data, "incarnation": incarnation}
    return item._replace(payload=encode(msgspec.structs.replace(event, data=data)))


def in_short(item: Queued) -> Queued | None:
    """A completion with its outcome alone, for a server that takes no larger one; None where it is that already."""
    event = decode(item.payload)
    if event.data.get("truncated") is True:
        return None
    return item._replace(payload=encode(outcome(event)))


def is_synthesized(item: Queued) -> bool:
    """Whether a completion is not the program's own."""
    return decode(item.payload).data.get("synthesized") is True


def number_of(id: str, run: str, incarnations: frozenset[str]) -> int:
    """The number of an event of one of these incarnations of a run; 0 for any other event."""
    stem, _, rest = id.rpartition(".")
    stem, _, incarnation = stem.rpartition(".")
    return int(rest) if stem == id_stem(run) and incarnation in incarnations and rest.isdecimal() else 0


def incarnation_of_id(id: str) -> str:
    """The incarnation in which an event of a run was said, by its id."""
    return id.rpartition(".")[0].rpartition(".")[2]


def id_stem(run: str) -> str:
    """The run's part of its events' ids: of characters that an id may have, and short enough."""
    token = escape(run).replace("=", ":")
    return token if len(token) <= MAX_STEM else hashlib.sha256(run.encode()).hexdigest()[:32]
