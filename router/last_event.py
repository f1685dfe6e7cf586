"""Reads the newest event of a subject in whichever generation of streams it is, and stores another one behind it.

A publisher that must follow the last event of a subject names that one's sequence, and JetStream refuses it where another has come in
between. Sequences are of one stream: after a reshard the first event of a subject follows 0, and what was expected before the reshard
is refused as if another event had come.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from router.broker import Broker
from router.errors import NoResponders
from router.event import Event
from router.nats.headers import header
from router.nats.stream import Ack

EXPECTED = "Nats-Expected-Last-Subject-Sequence"


class LastEvent(NamedTuple):
    """The newest event of a subject, as a publisher must expect it.

    `sequence` is 0 where the present `generation` of the streams of events has none; `ack`, `name` (the `Nats-Msg-Id`), `payload` and
    `headers` are of the newest in any of them.
    """

    sequence: int
    generation: int
    ack: Ack | None = None
    name: str = ""
    payload: bytes = b""
    headers: bytes = b""
    # The generation and the sequence of the newest, which order the events of an entity.
    place: tuple[int, int] = (0, 0)

    def is_same(self, other: LastEvent) -> bool:
        """Whether a publisher must expect the same."""
        return (self.sequence, self.generation) == (other.sequence, other.generation)


async def last_event(broker: Broker, subject: str, *, leader: bool = False) -> LastEvent:
    """Reads the newest event of a subject, from any copy of its stream or from the leader. Raises BrokerError."""
    layout = broker.layout
    present = layout.current.number
    for generation in reversed(layout.generations):
        shard = generation.shard_of(subject)
        try:
            found = await _read(broker, shard.stream, shard.stored(subject), leader and generation.number == present)
        except NoResponders:
            if generation.number == present:
                raise
            continue  # deleted just now: its events were too old
        if found is not None:
            sequence, payload, headers = found
            expected = sequence if generation.number == present else 0
            name = header(headers, b"Nats-Msg-Id") or ""
            ack = Ack(sequence, True, shard.stream)
            return LastEvent(expected, present, ack, name, payload, headers, (generation.number, sequence))
    return LastEvent(0, present)


async def _read(broker: Broker, stream: str, stored: str, leader: bool) -> tuple[int, bytes, bytes] | None:
    if leader:
        message = await broker.stream(stream).get_last(stored)
        return None if message is None else (message.sequence, message.payload, message.headers)
    reply = await broker.stream(stream).read_last(stored)
    return None if reply is None else (int(header(reply.headers, b"Nats-Sequence") or 0), *reply)


async def put_behind(
    broker: Broker,
    last: LastEvent,
    event: Event,
    payload: bytes,
    timeout: float,
    dedup: str,
    headers: Mapping[str, str] | None = None,
    *,
    await_right: bool = True,
) -> Ack:
    """Stores an event behind the last one of its subject, as `Broker.put`. Raises Conflict where that is another one by now."""
    expected = {**(headers or {}), EXPECTED: str(last.sequence)}
    return await broker.put(
        event, payload, timeout, dedup=dedup, headers=expected, await_right=await_right, generation=last.generation
    )
