"""Acknowledges and deletes settled jobs in batches."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from router.errors import BrokerError, Refused
from router.nats.consumer import Message
from router.nats.error_codes import GONE
from router.nats.publisher import Publish, Publisher
from router.nats.stream import deletion
from router.topology import HOOKS

log = logging.getLogger(__name__)

# A turn of the loop's work goes out together: a hundredth of a second is nothing to a job, and saves most of the writes.
GATHER = 0.01


class AckBatcher:
    """Takes settled jobs out of the streams, a hundredth of a second later and all together.

    Nothing waits for it: a worker remembers the jobs that it has settled, and acknowledges them again where they come again.
    """

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        # What is to be done before anything is acknowledged, for a second at most.
        self.before: Callable[[], Awaitable[None]] | None = None
        self._acks: list[Message] = []
        self._removals: list[int] = []
        self._news = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def acknowledge(self, message: Message) -> None:
        """Ends a job that came from a consumer."""
        self._acks.append(message)
        self._wake()

    def remove(self, sequence: int) -> None:
        """Ends a job that is in a backlog in HOOKS."""
        self._removals.append(sequence)
        self._wake()

    def _wake(self) -> None:
        self._idle.clear()
        self._news.set()

    async def flushed(self) -> None:
        """Waits until all that was ended so far is on its way."""
        await self._idle.wait()

    async def run(self) -> None:
        """Sends until cancelled, and then what is there, for a second."""
        try:
            while True:
                await self._news.wait()
                await asyncio.sleep(GATHER)
                self._news.clear()
                await self._flush()
                if not (self._acks or self._removals):
                    self._idle.set()
        finally:
            try:
                async with asyncio.timeout(1.0):
                    await self._flush()
            except TimeoutError:
                log.debug("settled jobs were not acknowledged before the end; their next owner is handed them again")
            self._idle.set()

    async def _flush(self) -> None:
        acks, self._acks = self._acks, []
        removals, self._removals = self._removals, []
        if self.before is not None and (acks or removals):
            try:
                async with asyncio.timeout(1.0):
                    await self.before()
            except TimeoutError:
                log.debug("figures were not stored in time; settled jobs are acknowledged before they are counted")
        try:
            if acks:
                await self._publisher.send_all([message.acknowledgement for message in acks])
        except BrokerError as fault:
            log.debug(
                "settled jobs were not acknowledged; they are when they are handed out again",
                extra={"fault": str(fault)},
            )
        orders = [Publish(*deletion(HOOKS, sequence), {}) for sequence in removals]
        for answer in await self._publisher.send(orders) if orders else ():
            if isinstance(answer, BrokerError) and not (isinstance(answer, Refused) and answer.err_code in GONE):
                log.debug("a settled job was not removed; it is when it is read again", extra={"fault": str(answer)})
