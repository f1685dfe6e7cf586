"""This file is where it is told that something was buried: an event in the domain `system` for each dead letter, or for many.

Whoever holds the role of dead letters follows DEADLETTERS by one durable consumer, so that burials are told whoever made
them, also those of a process that died right after. A letter whose own event is the system's makes no news: else two dead
endpoints would talk of each other for ever.

The news are bounded: a round of it goes out at most once a second. Up to ten letters in it are told one by one; of more
there is one event per origin, name and reason with their number, of at most twenty such groups, and one for all others.
"""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from edge import metrics
from router.broker import Broker
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
CONSUMER = "deadletter-news"

ROUND_SECONDS = 1.0
TOLD_SINGLY = 10
MOST_GROUPS = 20
# Headers only, at 1 kB each: 5 MB at most wait here for their round.
CREDIT = 5000

# Past 80 % there is time left to look; at 100 % the oldest letters are dropped.
FILLING, RELIEVED = 0.8, 0.7
LOOK_SECONDS = 10.0


class Burials:
    """Tells of new dead letters, as long as this process holds the role."""

    def __init__(self, broker: Broker, buried: Callable[[DeadLetter], None]) -> None:
        """`buried` is told of each letter at once, from the read loop; its payload is left out."""
        self._broker = broker
        self._buried = buried
        self._waiting: list[tuple[DeadLetter, Message]] = []
        self._news = asyncio.Event()

    async def run(self) -> None:
        """Tells until cancelled."""
        self._waiting.clear()
        consumer = Consumer(
            self._broker.connection,
            DEADLETTERS,
            {
                "durable_name": CONSUMER,
                "description": "tells of each burial",
                # Also what was buried before anybody followed: in a new system, the first ones.
                "deliver_policy": "all",
                "headers_only": True,
                "ack_wait": 10_000_000_000,
                "max_ack_pending": 2 * CREDIT,
                "max_deliver": -1,
            },
            self._heard,
            credit=CREDIT,
        )
        async with asyncio.TaskGroup() as group:
            group.create_task(consumer.run(), name=CONSUMER)
            group.create_task(self._watch_fullness(), name="dead letters' room")
            while True:
                await self._news.wait()
                self._news.clear()
                await self._tell(consumer)
                await asyncio.sleep(ROUND_SECONDS)

    def _heard(self, message: Message) -> None:
        letter = replace(read_headers(message.headers, message.subject, message.sequence), stored=rfc3339(message.time))
        if message.attempt == 1:
            if letter.kind in ORIGINS:
                metrics.deadletters.labels(letter.kind, label(letter.reason)).inc()
            self._buried(letter)
        self._waiting.append((letter, message))
        self._news.set()

    async def _tell(self, consumer: Consumer) -> None:
        waiting, self._waiting = self._waiting, []
        try:
            for event in news([letter for letter, _ in waiting]):
                try:
                    await self._broker.publish(event)
                except (BadInput, Refused) as fault:
                    # Of a letter with headers that are not ours, or news that are never taken: repeated, it would be again.
                    log.warning("news of a dead letter cannot be told", extra={"fault": str(fault)})
            for _, message in waiting:
                await message.ack_soon()
        except BrokerError as fault:
            # Not acknowledged, they come again; what was told twice has the same id.
            log.debug("news of dead letters wait for NATS", extra={"fault": str(fault)})
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
                    log.warning("the dead letters fill up; at 100 % the oldest are dropped", extra=_room(state))
                    await self._broker.publish(
                        Event.new(FULL, _room(state), type="deadletters_filling", source="edge.deadletters.desk")
                    )
                filling = state.fullness >= (RELIEVED if filling else FILLING)
            except BrokerError as fault:
                log.debug("the dead letters' room is not known", extra={"fault": str(fault)})
            await asyncio.sleep(LOOK_SECONDS)


def news(letters: list[DeadLetter]) -> list[Event]:
    """The events that tell of some burials, oldest first."""
    letters = [letter for letter in letters if not letter.event_subject.startswith("system.")]
    if len(letters) <= TOLD_SINGLY:
        return [_of_one(letter) for letter in letters]
    groups: dict[tuple[str, str, str], list[DeadLetter]] = {}
    for letter in letters:
        groups.setdefault((letter.kind, letter.name, letter.reason), []).append(letter)
    largest = sorted(groups.values(), key=len, reverse=True)
    told = [_of_many(group, letters) for group in largest[:MOST_GROUPS]]
    if rest := [letter for group in largest[MOST_GROUPS:] for letter in group]:
        told.append(_of_many(sorted(rest, key=lambda letter: letter.sequence), letters, alike=False))
    return told


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
        # With its time, because a stream that was made anew counts from one again.
        f"{letter.sequence}.{zlib.crc32(letter.stored.encode()):08x}",
        letter.event_id or None,
    )


def _of_many(group: list[DeadLetter], told: list[DeadLetter], alike: bool = True) -> Event:
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
        # Named after the round, so that another round with other letters is not taken for this one.
        f"{first.sequence}.{zlib.crc32(first.stored.encode()):08x}.{told[0].sequence}.{told[-1].sequence}.{len(group)}",
        None,
    )


def _event(data: dict[str, Any], name: str, cause: str | None) -> Event:
    return Event.new(
        SUBJECT, data, type="deadletter_buried", source="edge.deadletters.desk", id=f"deadletter.{name}", cause=cause
    )


def _room(state: DeadLetterStats) -> dict[str, Any]:
    return {"messages": state.messages, "bytes": state.bytes, "max_bytes": state.max_bytes, "fullness": state.fullness}


async def fullness(dead: DeadLetters) -> None:
    """Keeps the metrics of what DEADLETTERS holds up to date, in every process, until cancelled."""
    while True:
        try:
            state = await dead.stats()
        except BrokerError as fault:
            log.debug("the dead letters are not known", extra={"fault": str(fault)})
        else:
            metrics.deadletters_kept.set(state.messages)
            metrics.deadletters_bytes.set(state.bytes)
            metrics.deadletters_fullness.set(state.fullness)
        await asyncio.sleep(LOOK_SECONDS)
