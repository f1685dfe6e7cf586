"""Makes and removes the consumers of one partition: one of new jobs in HOOKS, one of retries that are due in RETRIES.

They are named by the epoch of the partition's ownership, and a new owner removes those of its predecessors. So it is handed
at once what they had not settled, in the order of the stream.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from edge.webhooks.queue.in_hand import JobsInHand
from edge.webhooks.queue.job import due_filter, fresh_filter
from edge.webhooks.worker.context import WorkerSettings
from router.broker import Broker
from router.cluster.ownership import owner_key
from router.errors import Refused
from router.nats.bucket import Bucket
from router.nats.consumer import Consumer, Message
from router.topology import HOOKS, LEASES, RETRIES


class PartitionConsumers:
    """The consumers of one partition, during one ownership."""

    def __init__(self, broker: Broker, partition: int, epoch: int, settings: WorkerSettings) -> None:
        self.by_stream: dict[str, Consumer] = {}
        self._broker = broker
        self._partition = partition
        self._epoch = epoch
        self._settings = settings

    def make(self, receive: Callable[[Message, Consumer], None]) -> list[Consumer]:
        """Makes both consumers; each job that they are handed goes to `receive`."""
        return [self._make(*kind(self._partition), receive) for kind in (fresh_filter, due_filter)]

    def _make(self, stream: str, name: str, subjects: str, receive: Callable[[Message, Consumer], None]) -> Consumer:
        consumer = Consumer(
            self._broker.connection,
            stream,
            {
                "name": f"{name}-{self._epoch}",
                "filter_subject": subjects,
                "ack_wait": int(self._settings.ack_wait * 1e9),
                # How much is out is for this process to bound; jobs whose credit was released count no more.
                "max_ack_pending": -1,
                "max_deliver": -1,
                "inactive_threshold": 3600 * 1_000_000_000,
            },
            lambda message: receive(message, consumer),
            credit=self._settings.credit,
            afresh=True,
            clear=lambda: self._clear(stream),
        )
        self.by_stream[stream] = consumer
        return consumer

    async def reached(self, stream: str) -> int:
        """How far the predecessors' consumers had handed jobs out. Raises BrokerError."""
        reached = 0
        for name in await self._names(stream):
            try:
                info = await self._broker.stream(stream).consumer_info(name)
            except Refused:
                continue
            reached = max(reached, info["delivered"]["stream_seq"])
        return reached

    async def remove(self) -> None:
        """Removes both; the successor's own consumers hand out what is not settled. Raises BrokerError."""
        await self._clear(HOOKS)
        await self._clear(RETRIES)

    async def _names(self, stream: str) -> list[str]:
        """The consumers of this partition, those that other processes made included."""
        prefix = ("hook" if stream == HOOKS else "due") + f"-{self._partition}"
        names = await self._broker.stream(stream).consumer_names()
        return [name for name in names if name == prefix or name.startswith(f"{prefix}-")]

    async def _clear(self, stream: str) -> None:
        """Removes the consumers of predecessors, and of earlier connections of this worker; never a successor's."""
        owned: bool | None = None
        for name in await self._names(stream):
            words = name.split("-")
            if len(words) > 2 and words[2].isdigit() and int(words[2]) > self._epoch:
                # Epochs are revisions of LEASES, which begin anew with it: only the bucket knows who succeeds whom.
                if owned is None:
                    owned = await self._is_owned()
                if not owned:
                    continue
            await self._broker.stream(stream).delete_consumer(name)

    async def _is_owned(self) -> bool:
        """Whether this worker owns the partition, as the bucket's leader knows it. Raises BrokerError."""
        entry = await Bucket(self._broker.connection, LEASES).latest(owner_key(self._partition))
        return entry is not None and entry.revision == self._epoch

    async def acknowledged(self, in_hand: JobsInHand) -> None:
        """Waits until the server knows which jobs are settled, else the successor would be handed them again."""
        for stream, consumer in self.by_stream.items():
            held = in_hand.count(stream)
            for _ in range(10):
                info = await self._broker.stream(stream).consumer_info(consumer.name)
                if info["num_ack_pending"] <= held:
                    break
                await asyncio.sleep(0.02)

    async def count_pending(self) -> tuple[int, int]:
        """How many new jobs and retries are not in hand yet. Raises BrokerError."""
        found = []
        for stream in (HOOKS, RETRIES):
            consumer = self.by_stream.get(stream)
            try:
                info = await self._broker.stream(stream).consumer_info(consumer.name) if consumer else {}
            except Refused:  # it is being made again
                info = {}
            found.append(int(info.get("num_pending", 0)))
        return found[0], found[1]
