"""Counts what becomes of one publish, and tells its span: stored, a repeat, refused, or not answered."""

from __future__ import annotations

import time

from router import tracing
from router.errors import Conflict, Refused, Timeout
from router.event import Event
from router.nats.counters import DUPLICATE, REFUSED, TIMEOUT, figures
from router.nats.counters import STORED as TAKEN
from router.nats.stream import Ack


class Publication:
    """One event on its way to the store, from now on."""

    __slots__ = ("_begun", "_event", "_span")

    def __init__(self, event: Event) -> None:
        self._event = event
        self._begun = time.time()
        self._span = tracing.begin(event.trace) if event.trace and tracing.recorder else ""

    def stored(self, ack: Ack) -> None:
        """Notes that it is stored, by this publish or by an earlier one."""
        event, now = self._event, time.time()
        figures.publish.observe(now - self._begun)
        if self._span:
            tracing.tell(
                "store", "producer", event.trace, self._span, int(self._begun * 1e9), event=event.id,
                sequence=ack.sequence, subject=event.subject,
            )  # fmt: skip
        if ack.duplicate:
            figures.published[DUPLICATE] += 1
        else:
            figures.published[TAKEN] += 1
            figures.publish_to_store.observe(now - event.time / 1e9)

    def failed(self, fault: Refused | Timeout) -> None:
        """Notes that it is not stored, or that nobody knows."""
        if isinstance(fault, Timeout):
            figures.published[TIMEOUT] += 1
        elif not isinstance(fault, Conflict):
            # A publisher that names the last sequence of a subject reads again and tries again: nothing is lost.
            figures.published[REFUSED] += 1
