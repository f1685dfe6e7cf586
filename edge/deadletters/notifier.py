"""Publishes an event in the domain `system` for each new dead letter, or for many at once.

The process that holds the role of dead letters consumes DEADLETTERS by one durable consumer, so that each is reported, also
those of a process that died right after. A dead letter whose own event is of the domain `system` is not reported: else two
dead endpoints would report each other for ever.

The rate is bounded: at most one round a second. Up to ten dead letters in it are reported one by one; of more there is one
event per origin, name and reason with their number, for at most twenty such groups, and one for all others. Of deliveries to webhooks
there is beside each an `error` as the callback guide has it.
"""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from edge import metrics
from edge.webhooks.endpoint.state_changes import given_up_error
from router.broker import Broker
from router.coalescing import coalesced_sleep
from router.codec import rfc3339
from router.deadletter import ORIGINS, DeadLetter, DeadLetterStats, label, read_headers
from router.deadletters import DeadLetters
from router.errors import BadInput, BrokerError, Refused
from router.event import Event
from router.nats.consumer import Consumer, Message
from router.topology import DEADLETTERS

log = logging.getLogger(__name__)

SUBJECT = "system.deadletter.buried"
FULL = "system.deadletter.filling"
# As readers and their filters know it, whatever the module is called: part of the event's published form, as the subjects are.
SOURCE = "edge.deadletters.desk"
CONSUMER = "deadletter-news"

ROUND_SECONDS = 1.0
MAX_SINGLE = 10
MAX_GROUPS = 20
# Headers only, at 1 kB each: 5 MB at most wait here for their round.
CREDIT = 5000

# Past 80 % there is time left to act; at 100 % the oldest dead letters are dropped.
FILLING, RELIEVED = 0.8, 0.7
CHECK_SECONDS = 10.0


class DeadLetterNotifier:
    """Publishes events about new dead letters, as long as this process holds the role."""

    def __init__(self, broker: Broker, added: Callable[[DeadLetter], None]) -> None:
        """`added` is called with each dead letter at once, from the read loop; its payload is left out."""
        self._broker = broker
        self._added = added
        self._waiting: list[tuple[DeadLetter, Message]] = []
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Publishes until cancelled."""
        self._waiting.clear()
        consumer = Consumer(
            self._broker.connection,
            DEADLETTERS,
            {
                "durable_name": CONSUMER,
                "description": "tells of each burial",
                # Also those that were added before the consumer was: in a new system, the first ones.
                "deliver_policy": "all",
                "headers_only": True,
                "ack_wait": 10_000_000_000,
                "max_ack_pending": 2 * CREDIT,
                "max_deliver": -1,
            },
            self._received,
            credit=CREDIT,
        )
        async with asyncio.TaskGroup() as group:
            group.create_task(consumer.run(), name=CONSUMER)
            group.create_task(self._watch_fullness(), name="dead letters' room")
            while True:
                await self._wake.wait()
                self._wake.clear()
                await self._publish(consumer)
                await asyncio.sleep(ROUND_SECONDS)

    def _received(self, message: Message) -> None:
        letter = replace(read_headers(message.headers, message.subject, message.sequence), stored=rfc3339(message.time))
        if message.attempt == 1:
            if letter.kind in ORIGINS:
                metrics.deadletters.labels(letter.kind, label(letter.reason)).inc()
            self._added(letter)
        self._waiting.append((letter, message))
        self._wake.set()

    async def _publish(self, consumer: Consumer) -> None:
        waiting, self._waiting = self._waiting, []
        try:
            for event in events_about([letter for letter, _ in waiting]):
                try:
                    await self._broker.publish(event)
                except (BadInput, Refused) as fault:
                    # Its headers are not ours, or the event is never accepted: a repeat would fail again.
                    log.warning(
                        "the event about a dead letter was refused; it is not published", extra={"fault": str(fault)}
                    )
            for _, message in waiting:
                await message.ack_soon()
        except BrokerError as fault:
            # Not acknowledged, they are delivered again; an event that is published twice has the same id.
            log.debug(
                "the events about dead letters were not published; they are published again",
                extra={"fault": str(fault)},
            )
        finally:
            for _ in waiting:
                consumer.done()

    async def _watch_fullness(self) -> None:
        dead = DeadLetters(self._broker)
        filling = False
        while True:
            try:
                state = await dead.stats()
                if state.fullness >= FILLING and not filling:
                    log.warning(
                        "DEADLETTERS fills up; at 100 % the oldest dead letters are dropped", extra=_stats(state)
                    )
                    await self._broker.publish(
                        Event.new(FULL, _stats(state), type="deadletters_filling", source=SOURCE)
                    )
                filling = state.fullness >= (RELIEVED if filling else FILLING)
            except BrokerError as fault:
                log.debug("the fill level of DEADLETTERS cannot be read", extra={"fault": str(fault)})
            await coalesced_sleep(CHECK_SECONDS)


def events_about(letters: list[DeadLetter]) -> list[Event]:
    """The events that report some dead letters, oldest first."""
    letters = [letter for letter in letters if not letter.event_subject.startswith("system.")]
    if len(letters) <= MAX_SINGLE:
        return [event for letter in letters for event in (_of_one(letter), *_error(letter, 1, _unique(letter)))]
    groups: dict[tuple[str, str, str], list[DeadLetter]] = {}
    for letter in letters:
        groups.setdefault((letter.kind, letter.name, letter.reason), []).append(letter)
    largest = sorted(groups.values(), key=len, reverse=True)
    events: list[Event] = []
    for group in largest[:MAX_GROUPS]:
        events += (_of_many(group, letters), *_error(group[0], len(group), _unique_of(group, letters)))
    if rest := [letter for group in largest[MAX_GROUPS:] for letter in group]:
        events.append(_of_many(sorted(rest, key=lambda letter: letter.sequence), letters, alike=False))
    return events


def _of_one(letter: DeadLetter) -> Event:
    return _event(
        {
            "count": 1,
            "id": letter.sequence,
            "first_id": letter.sequence,
            "last_id": letter.sequence,
            "origin": letter.kind,
            "name": letter.name,
            "reason": letter.reason,
            "detail": letter.detail,
            "attempts": letter.attempts,
            "redrives": letter.redrives,
            "destination": letter.destination,
            "event_id": letter.event_id or None,
            "subject": letter.event_subject or None,
        },
        _unique(letter),
        letter.event_id or None,
    )


def _of_many(group: list[DeadLetter], round: list[DeadLetter], alike: bool = True) -> Event:
    first = group[0]
    return _event(
        {
            "count": len(group),
            "first_id": first.sequence,
            "last_id": group[-1].sequence,
            "origin": first.kind if alike else None,
            "name": first.name if alike else None,
            "reason": first.reason if alike else None,
        },
        _unique_of(group, round),
        None,
    )


def _unique(letter: DeadLetter) -> str:
    """Names a letter with its time, because a stream that was deleted and created again counts from one."""
    return f"{letter.sequence}.{zlib.crc32(letter.stored.encode()):08x}"


def _unique_of(group: list[DeadLetter], round: list[DeadLetter]) -> str:
    """Names a group after its round, so that another round with other letters is not taken for this one."""
    return f"{_unique(group[0])}.{round[0].sequence}.{round[-1].sequence}.{len(group)}"


def _error(letter: DeadLetter, count: int, unique: str) -> list[Event]:
    """The error of a delivery that was given up; none for what was no delivery."""
    return [given_up_error(letter, count, unique)] if letter.kind == "webhook" else []


def _event(data: dict[str, Any], name: str, cause: str | None) -> Event:
    return Event.new(SUBJECT, data, type="deadletter_buried", source=SOURCE, id=f"deadletter.{name}", cause=cause)


def _stats(state: DeadLetterStats) -> dict[str, Any]:
    return {"messages": state.messages, "bytes": state.bytes, "max_bytes": state.max_bytes, "fullness": state.fullness}


async def report_fullness(dead: DeadLetters) -> None:
    """Keeps the metrics of what DEADLETTERS holds up to date, in every process, until cancelled."""
    while True:
        try:
            state = await dead.stats()
        except BrokerError as fault:
            log.debug("the fill level of DEADLETTERS cannot be read", extra={"fault": str(fault)})
        else:
            metrics.deadletters_kept.set(state.messages)
            metrics.deadletters_bytes.set(state.bytes)
            metrics.deadletters_fullness.set(state.fullness)
        await coalesced_sleep(CHECK_SECONDS)
