"""Stores many events with one write to NATS and one wait for all, in their order."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from router.broker import Broker
from router.errors import BrokerError, Cut, Forbidden, Refused, Timeout
from router.event import Event
from router.nats.publisher import Answers, Publish
from router.nats.refusals import Fate, fate, is_sealed
from router.nats.stream import Ack
from router.publication import Publication, all_stored
from router.topology import stream_of


class EncodedEvent(NamedTuple):
    """An event to be stored, with its bytes, the name that a repeat is known by, and headers to be stored with it.

    `is_new`: nobody has published it before, nor will again.
    """

    event: Event
    payload: bytes
    dedup: str
    headers: Mapping[str, str]
    is_new: bool = False


async def store_all(broker: Broker, many: Sequence[EncodedEvent], answers: Answers, timeout: float = 10.0) -> None:
    """Fills `answers`, a list of as many None, with what became of each event: as `Broker.put` without `await_right`.

    What is not acknowledged is tried again one by one, under its name, until `timeout` seconds are over. Who cancels this finds
    in `answers` what was known by then.
    """
    await _Batch(broker, many, answers, timeout).store()


class _Batch:
    """Events that are stored together, and what became of each."""

    def __init__(self, broker: Broker, many: Sequence[EncodedEvent], answers: Answers, timeout: float) -> None:
        self._broker = broker
        self._many = many
        self._answers = answers
        self._deadline = asyncio.get_running_loop().time() + timeout
        self._begun = time.time()
        self._again: list[int] = []

    @property
    def _left(self) -> float:
        return max(0.05, self._deadline - asyncio.get_running_loop().time())

    async def store(self) -> None:
        layouts = self._broker.layouts
        places = list(range(len(self._many)))
        while places:
            generation = layouts.current.current.number
            places = await self._send(places)
            if places:
                # Sealed meanwhile; all at once and in their order again, in the streams that take their place.
                try:
                    await layouts.after(generation, self._left)
                except Timeout as fault:
                    for place in places:
                        self._fail(place, fault)
                    break
        if self._again:
            # Those of one entity in their order.
            again: dict[tuple[str, ...], list[int]] = {}
            for place in sorted(self._again):
                again.setdefault(self._entity(place), []).append(place)
            async with asyncio.TaskGroup() as group:
                for each in again.values():
                    group.create_task(self._retry(each))

    async def _send(self, places: list[int]) -> list[int]:
        """Sends events once; returns those whose stream is sealed."""
        is_first = len(places) == len(self._many)
        if self._broker.earlier.active:
            places = await self._unstored(places, is_first)
        generation = self._broker.layouts.current.current
        only, sent = generation.only, list[Publish]()
        # The last subject of each stream.
        lasts: dict[str, str] = {}
        for place in places:
            event, payload, dedup, headers, _ = self._many[place]
            shard = only or generation.shard_of(event.subject)
            lasts[shard.stream] = subject = shard.prefix + event.subject
            named = {"Nats-Msg-Id": dedup}
            sent.append(Publish(subject, payload, {**named, **headers} if headers else named))
        answers: Answers = self._answers if len(places) == len(self._many) else [None] * len(places)
        sealed: list[int] = []
        try:
            found = await self._broker.publisher.send(sent, answers)
        except asyncio.CancelledError:
            for place, known in zip(places, answers, strict=True):
                self._answers[place] = known
            raise
        acks = [answer for answer in found if isinstance(answer, Ack)]
        if len(acks) == len(found):
            self._take_all(places, lasts, acks)
            return []
        for place, message, answer in zip(places, sent, found, strict=True):
            if is_sealed(answer):
                self._answers[place] = None
                sealed.append(place)
            else:
                self._take(place, message.subject, answer)
        # What was sealed behind one that is tried again comes behind it.
        entities = {self._entity(place) for place in self._again} if sealed else ()
        self._again += [place for place in sealed if self._entity(place) in entities]
        return [place for place in sealed if self._entity(place) not in entities]

    def _entity(self, place: int) -> tuple[str, ...]:
        return tuple(self._many[place].event.subject.split(".", 2)[:2])

    async def _unstored(self, places: list[int], is_first: bool) -> list[int]:
        """Those that the former generation has not stored; behind one of which nobody can say so, none of its entity is sent."""
        left: list[int] = []
        unknown: dict[tuple[str, ...], Timeout] = {}
        for place in places:
            if (fault := unknown.get(self._entity(place))) is not None:
                self._fail(place, fault)
            elif not await self._find(place, is_first):
                left.append(place)
            elif isinstance(answer := self._answers[place], Timeout):
                unknown[self._entity(place)] = answer
        return left

    async def _find(self, place: int, is_first: bool) -> bool:
        """Whether the former generation has stored an event, or nobody can say now."""
        event, _, dedup, _, is_new = self._many[place]
        if is_new and is_first:
            return False
        try:
            known = await self._broker.earlier.find(event.subject, dedup)
        except Timeout as fault:
            self._fail(place, fault)
            return True
        if known is not None:
            self._answers[place] = known
            self._publication(place).stored(known)
        return known is not None

    def _publication(self, place: int) -> Publication:
        return Publication(self._many[place].event, self._begun)

    def _take_all(self, places: list[int], lasts: Mapping[str, str], acks: list[Ack]) -> None:
        """Notes that all were stored, as they mostly are; `lasts` are the last subjects, by stream."""
        if len(places) == len(self._many):
            self._answers[:] = acks
            all_stored([each[0] for each in self._many], acks, self._begun)
        else:
            for place, ack in zip(places, acks, strict=True):
                self._answers[place] = ack
            all_stored([self._many[place].event for place in places], acks, self._begun)
        for stream, subject in lasts.items():
            self._broker.unanswered.pop(stream, None)
            self._broker.acknowledged[stream] = subject

    def _take(self, place: int, subject: str, answer: Ack | BrokerError) -> None:
        broker, stream = self._broker, stream_of(subject)
        self._answers[place] = answer
        if isinstance(answer, Ack):
            self._publication(place).stored(answer)
            broker.unanswered.pop(stream, None)
            broker.acknowledged[stream] = subject
        elif isinstance(answer, Forbidden) or (isinstance(answer, Refused) and _is_final(answer)):
            self._publication(place).failed(answer)
        else:
            if not isinstance(answer, Refused):
                broker.count_unanswered(stream)
            self._answers[place] = None
            self._again.append(place)

    def _fail(self, place: int, fault: Timeout) -> None:
        self._answers[place] = fault
        self._publication(place).failed(fault)

    async def _retry(self, places: list[int]) -> None:
        """Tries the events of one entity again, one after the other; once the time is over, those that are left are not tried."""
        for tried, place in enumerate(places, 1):
            event, payload, dedup, headers, _ = self._many[place]
            try:
                self._answers[place] = await self._broker.put(
                    event, payload, self._left, dedup=dedup, headers=headers, await_right=False
                )
            except BrokerError as fault:
                self._answers[place] = fault
                if isinstance(fault, Timeout) and not isinstance(fault, Cut):
                    for left in places[tried:]:
                        self._fail(left, fault)
                    return


def _is_final(refusal: Refused) -> bool:
    return fate(refusal) in (Fate.REFUSED, Fate.FULL)
