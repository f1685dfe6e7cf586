"""Counts what becomes of each publish, and tells its span: stored, a repeat, refused, or not answered."""

from __future__ import annotations

import time
from collections.abc import Sequence

from router import tracing
from router.errors import Conflict, Refused, Timeout
from router.event import Event
from router.nats.counters import DUPLICATE, REFUSED, TIMEOUT, figures
from router.nats.counters import STORED as TAKEN
from router.nats.stream import Ack


class Publication:
    """One event on its way to the store, since `begun` (Unix time) or from now on."""

    __slots__ = ("_begun", "_event", "_span")

    def __init__(self, event: Event, begun: float | None = None) -> None:
        self._event = event
        self._begun = time.time() if begun is None else begun
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


def all_stored(events: Sequence[Event], acks: Sequence[Ack], begun: float) -> None:
    """As `Publication.stored` of each, of events whose publishes began together and are all answered."""
    if tracing.recorder:
        for event, ack in zip(events, acks, strict=True):
            Publication(event, begun).stored(ack)
        return
    now = time.time()
    ages = [now - event.time / 1e9 for event, ack in zip(events, acks, strict=True) if not ack.duplicate]
    figures.publish.observe_many(now - begun, len(acks))
    figures.publish_to_store.observe_all(ages)
    figures.published[TAKEN] += len(ages)
    figures.published[DUPLICATE] += len(acks) - len(ages)
