"""Stores many events with one write to NATS and one wait for all, in their order."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from router.broker import Broker
from router.errors import BrokerError, Forbidden, Refused
from router.event import Event
from router.nats.publisher import Answers, Publish
from router.nats.refusals import Fate, fate
from router.nats.stream import Ack
from router.publication import Publication, all_stored
from router.subject import STORED
from router.topology import EVENTS


class EncodedEvent(NamedTuple):
    """An event to be stored, with its bytes, the name that a repeat is known by, and headers to be stored with it."""

    event: Event
    payload: bytes
    dedup: str
    headers: Mapping[str, str]


async def store_all(broker: Broker, many: Sequence[EncodedEvent], answers: Answers, timeout: float = 10.0) -> None:
    """Fills `answers`, a list of as many None, with what became of each event: as `Broker.put` without `await_right`.

    What is not acknowledged is tried again one by one, under its name, until `timeout` seconds are over. Who cancels this finds
    in `answers` what was known by then.
    """
    if not many:
        return
    deadline = asyncio.get_running_loop().time() + timeout
    begun = time.time()
    sent = [
        Publish(
            STORED + event.subject, payload, {"Nats-Msg-Id": dedup, **headers} if headers else {"Nats-Msg-Id": dedup}
        )
        for event, payload, dedup, headers in many
    ]
    found = await broker.publisher.send(sent, answers)
    acks = [answer for answer in found if isinstance(answer, Ack)]
    if len(acks) == len(found):
        answers[:] = acks
        _note_acknowledged(broker, sent[-1])
        all_stored([event for event, *_ in many], acks, begun)
        return
    again: list[int] = []
    for place, answer in enumerate(found):
        answers[place] = answer
        publication = Publication(many[place].event, begun)
        if isinstance(answer, Ack):
            publication.stored(answer)
            _note_acknowledged(broker, sent[place])
        elif isinstance(answer, Forbidden) or (isinstance(answer, Refused) and _is_final(answer)):
            publication.failed(answer)
        else:
            if not isinstance(answer, Refused):
                broker.count_unanswered(EVENTS)
            answers[place] = None
            again.append(place)
    await _retry(broker, many, answers, again, deadline)


def _note_acknowledged(broker: Broker, message: Publish) -> None:
    broker.unanswered.pop(EVENTS, None)
    broker.acknowledged[EVENTS] = message.subject


async def _retry(
    broker: Broker, many: Sequence[EncodedEvent], answers: Answers, again: Sequence[int], deadline: float
) -> None:
    """Stores the events at some places one by one, side by side."""
    loop = asyncio.get_running_loop()

    async def retry(place: int) -> None:
        event, payload, dedup, headers = many[place]
        left = max(0.05, deadline - loop.time())
        try:
            answers[place] = await broker.put(event, payload, left, dedup=dedup, headers=headers, await_right=False)
        except BrokerError as fault:
            answers[place] = fault

    if again:
        async with asyncio.TaskGroup() as group:
            for place in again:
                group.create_task(retry(place))


def _is_final(refusal: Refused) -> bool:
    return fate(refusal) in (Fate.REFUSED, Fate.FULL)
