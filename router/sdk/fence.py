"""Keeps what a superseded life of a run still says out of the stream: JetStream refuses it, whoever publishes it and when.

Each flight of events names the place of its life's workflow_start as the last one of that subject, so that nothing of it is stored
behind the start of another life. JetStream takes one such message of a run at a time where a stream has replicas, so that only
the first of a flight names it; and as progress must never go back, an event of progress is always the first of its flight.
"""

from __future__ import annotations

from collections.abc import Sequence

from router import catalogue
from router.broker import Broker
from router.errors import RunSuperseded
from router.last_event import EXPECTED
from router.nats.stream import Ack
from router.runs import START, RunLedger
from router.sdk.queued import Kind, Life, Queued


class LifeFence:
    """The place of the start of the life that a process is."""

    def __init__(self, broker: Broker, ledger: RunLedger, life: Life) -> None:
        # The sequence of the start in a generation of the streams of events; None: not known, and nothing is refused.
        self._start: int | None = None
        self._generation = 0
        self._broker = broker
        self._ledger = ledger
        self._domain, self._token = life.domain, life.token

    def begun(self, ack: Ack) -> None:
        """Notes where the start of the life is stored."""
        shard = self._broker.layout.by_stream.get(ack.stream)
        self._start, self._generation = ack.sequence, shard.generation if shard is not None else 0

    @property
    def is_of_former_streams(self) -> bool:
        """Whether the events go to other streams since the start was found: there it is to be found anew (`check`)."""
        return self._start is not None and self._generation != self._broker.layout.current.number

    @property
    def headers(self) -> dict[str, str]:
        """What the first event of a flight is sent with."""
        if self._start is None:
            return {}
        start = f"{self._domain}.{self._token}.{START}"
        stored = self._broker.layout.shard_of(start).stored(start)
        return {EXPECTED: str(self._start), f"{EXPECTED}-Subject": stored}

    def flight(self, items: Sequence[Queued]) -> list[Queued]:
        """The first events, as far as they may be sent together."""
        flight: list[Queued] = []
        for item in items:
            if item.kind is not Kind.EVENT or (flight and self._start is not None and self._is_progress(item)):
                break
            flight.append(item)
        return flight

    def _is_progress(self, item: Queued) -> bool:
        return catalogue.find(item.subject.rpartition(".")[2], self._domain).progress

    async def check(self, incarnation: str) -> None:
        """Finds the newest start, while this life is the living one. Raises RunSuperseded or BrokerError."""
        # First: a life that begins behind this has its start behind it.
        start = await self._ledger.last_start(self._domain, self._token)
        entry = await self._ledger.read(self._domain, self._token)
        if entry is not None and entry.incarnation not in (None, incarnation):
            raise RunSuperseded(entry.incarnation)
        self._start, self._generation = start.sequence, start.generation
