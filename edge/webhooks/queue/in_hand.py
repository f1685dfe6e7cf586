"""Keeps the jobs of one partition that this process has in hand, and remembers those that it has settled."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator

from edge.webhooks.queue.acks import AckBatcher
from edge.webhooks.queue.post import PendingJob

# Settled jobs that are remembered, in case the server hands them out again.
SETTLED = 8192

# Stream, sequence and time of a message: a stream that was recreated counts from one again.
Key = tuple[str, int, int]


class JobsInHand:
    """The jobs in hand that came from a consumer, by their place and time: none of them is posted twice.

    The server hands a job out again where its acknowledgement was lost, so settled ones are remembered for a while.
    """

    def __init__(self, acks: AckBatcher, credit: int, credit_bytes: int) -> None:
        self._acks = acks
        self._credit = credit
        self._credit_bytes = credit_bytes
        self._jobs: dict[Key, PendingJob] = {}
        self._settled: OrderedDict[Key, None] = OrderedDict()
        self._removed: OrderedDict[int, None] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._jobs)

    def __iter__(self) -> Iterator[PendingJob]:
        return iter(list(self._jobs.values()))

    def count(self, stream: str) -> int:
        """How many of them came from a stream."""
        return sum(1 for key in self._jobs if key[0] == stream)

    @property
    def nearly_full(self) -> bool:
        """Whether three quarters of the credit are used up, or all bytes: then queues hold fewer jobs."""
        return len(self._jobs) > self._credit * 3 // 4 or self._bytes > self._credit_bytes

    def find(self, key: Key) -> PendingJob | None:
        """The job of a message that was handed out again while it is worked on."""
        return self._jobs.get(key)

    def is_settled(self, key: Key) -> bool:
        """Whether the job of a message was settled already."""
        return key in self._settled

    def is_removed(self, parked_at: int) -> bool:
        """Whether a parked job was settled already."""
        return parked_at in self._removed

    def add(self, key: Key, pending: PendingJob) -> None:
        """Takes a job in hand that came from a consumer."""
        self._jobs[key] = pending
        self._bytes += pending.size

    def release_credit(self, some: Iterable[PendingJob]) -> None:
        """Gives the consumer's credit back for jobs that stay in hand and wait."""
        for pending in some:
            if pending.consumer is not None and not pending.released:
                pending.released = True
                pending.consumer.done()
                self._bytes -= pending.size

    def end(self, some: Iterable[PendingJob]) -> None:
        """Takes settled jobs out of the stream. They are remembered: where that fails they are ended when they come again."""
        for pending in some:
            self._remember(pending)
            if pending.message is not None:
                self._acks.acknowledge(pending.message)
            elif pending.parked_at:
                self._acks.remove(pending.parked_at)
            self._let_go(pending)

    def _remember(self, pending: PendingJob) -> None:
        if pending.message is None:
            self._removed[pending.parked_at] = None
            if len(self._removed) > SETTLED:
                self._removed.popitem(last=False)
        elif pending.consumer is not None:
            self._settled[pending.consumer.stream, pending.message.sequence, pending.message.time] = None
            if len(self._settled) > SETTLED:
                self._settled.popitem(last=False)

    def _let_go(self, pending: PendingJob) -> None:
        if pending.message is None or pending.consumer is None:
            return
        known = self._jobs.pop((pending.consumer.stream, pending.message.sequence, pending.message.time), None)
        if known is not None and not pending.released:
            pending.consumer.done()
            self._bytes -= pending.size
