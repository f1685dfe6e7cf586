"""Makes a run's events and their bytes: each with the run's subject and an id that a retry keeps."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from typing import Any

from router.broker import Broker
from router.codec import encode
from router.errors import BadEvent
from router.event import Event
from router.sdk.values import plain
from router.subject import Subject, escape

# 150 of the 200 characters an id may have; the rest is for the incarnation and the number.
MAX_STEM = 150


class RunEncoder:
    """Encodes the events of one run, which are numbered `<run>.<incarnation>.<number>` from 1."""

    def __init__(self, domain: str, run: str, source: str, trace: str | None) -> None:
        """Raises BadSubject where `domain` and `run` make no subject."""
        Subject.of(domain, run, "completion")
        self.incarnation = secrets.token_hex(4)
        self._domain = domain
        self._run = run
        self._source = source
        self._trace = trace
        self._stem = _id_stem(run)

    def encode(
        self, broker: Broker, number: int, type: str, data: Mapping[str, Any], cause: str | None = None
    ) -> tuple[Event, bytes]:
        """Makes an event and its bytes. Raises BadEvent where it could not be stored."""
        event = self._event(number, type, data, cause)
        try:
            payload = encode(event)
        except BadEvent:
            event = self._event(number, type, plain(data), cause)
            payload = encode(event)
        limit = broker.largest_event
        if len(payload) > limit and broker.connection.connected:
            raise BadEvent(f"the event has {len(payload)} bytes, the server takes {limit}; send a reference instead")
        return event, payload

    def _event(self, number: int, type: str, data: Mapping[str, Any], cause: str | None) -> Event:
        return Event.new(
            Subject.of(self._domain, self._run, type),
            data,
            type=type,
            source=self._source,
            id=f"{self._stem}.{self.incarnation}.{number}",
            cause=cause,
            trace=self._trace,
        )


def _id_stem(run: str) -> str:
    """The run's part of its events' ids: of characters that an id may have, and short enough."""
    token = escape(run).replace("=", ":")
    return token if len(token) <= MAX_STEM else hashlib.sha256(run.encode()).hexdigest()[:32]
