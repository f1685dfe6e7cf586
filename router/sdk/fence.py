"""Keeps what a superseded life of a run still says out of the stream: JetStream refuses it, whoever publishes it and when.

Each flight of events names the place of its life's workflow_start as the last one of that subject, so that nothing of it is stored
behind the start of another life. JetStream takes one such message of a run at a time where a stream has replicas, so that only
the first of a flight names it; and as progress must never go back, an event of progress is always the first of its flight.
"""

from __future__ import annotations

from collections.abc import Sequence

from router import catalogue
from router.errors import RunSuperseded
from router.runs import EXPECTED, START, RunLedger
from router.sdk.queued import Kind, Life, Queued
from router.subject import STORED


class LifeFence:
    """The place of the start of the life that a process is."""

    def __init__(self, ledger: RunLedger, life: Life) -> None:
        self.start: int | None = None  # None: not known, and nothing is refused
        self._ledger = ledger
        self._domain, self._token = life.domain, life.token

    @property
    def headers(self) -> dict[str, str]:
        """What the first event of a flight is sent with."""
        if self.start is None:
            return {}
        return {EXPECTED: str(self.start), f"{EXPECTED}-Subject": f"{STORED}{self._domain}.{self._token}.{START}"}

    def flight(self, items: Sequence[Queued]) -> list[Queued]:
        """The first events, as far as they may be sent together."""
        flight: list[Queued] = []
        for item in items:
            if item.kind is not Kind.EVENT or (flight and self.start is not None and self._is_progress(item)):
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
        self.start = start
