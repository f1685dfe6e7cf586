"""Finds the dead letters of deliveries that are redriven, and removes them once those deliveries are over."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from datetime import UTC, datetime

from edge.webhooks.queue.job import Job
from router.broker import Broker
from router.deadletter import webhook_subject
from router.deadletters import DeadLetters
from router.event_place import place_of

log = logging.getLogger(__name__)

# The clocks of an edge and of the store may differ by so many seconds.
SKEW = 60.0
PAGE = 200
# Of one delivery so many dead letters are removed, the newest; there is one, unless an earlier version left more.
MAX_DEADLETTERS = 8


class RedrivenDeadLetters:
    """The dead letters of one session's deliveries that are redriven."""

    def __init__(self, broker: Broker) -> None:
        self._dead = DeadLetters(broker)

    async def find(
        self, session: str, wanted: Collection[int], since: float = 0.0, pages: int | None = None
    ) -> Mapping[int, tuple[int, ...]]:
        """The dead letters of deliveries, by the place of their events in EVENTS.

        Dead letters that were added before `since` (seconds since the epoch) are not looked at, nor more than so many `pages`.
        Raises BrokerError.
        """
        found: dict[int, tuple[int, ...]] = {}
        after = 0
        if since > SKEW:
            first = await self._dead.at(datetime.fromtimestamp(since - SKEW, UTC))
            if first is None:
                return found
            after = first - 1
        read = 0
        while pages is None or read < pages:
            page = await self._dead.read(after, PAGE, webhook_subject(session))
            for dead in page.deadletters:
                place = place_of(dead.origin.stream, dead.origin.sequence)
                if place in wanted:
                    found[place] = (*found.get(place, ()), dead.sequence)[-MAX_DEADLETTERS:]
            if not page.more or not page.deadletters:
                break
            after, read = page.deadletters[-1].sequence, read + 1
        return found

    async def remove(self, job: Job) -> None:
        """Removes the dead letters that a job was redriven from, as far as they are still there. Raises BrokerError."""
        for sequence in job.letters:
            dead = await self._dead.get(sequence)
            # A stream that was recreated counts from one again: what is there now is another one.
            if dead is None or (
                dead.kind,
                dead.name,
                dead.event_id,
                place_of(dead.origin.stream, dead.origin.sequence),
            ) != (
                "webhook",
                job.session,
                job.event_id,
                job.sequence,
            ):
                continue
            await self._dead.remove(sequence)
            log.info(
                "redriven job is over; its dead letter was removed",
                extra={"session": job.session, "sequence": sequence},
            )
