"""Reads what the predecessor of a partition's owner has left, before the new owner starts."""

from __future__ import annotations

from typing import NamedTuple

from edge.webhooks.queue.job import FRESH, partition_of
from edge.webhooks.queue.ordering import Head
from edge.webhooks.worker.consumers import PartitionConsumers
from edge.webhooks.worker.context import WorkerContext
from router.topology import HOOKS, RETRIES


class PartitionTakeover(NamedTuple):
    """What a predecessor has left.

    `suspects` says by stream up to which place jobs were in the hands of a predecessor that died; `heads` has the first posts
    of serial queues, by session and queue; `parked` counts the parked jobs by session and queue; `last` is the place of the
    newest job in HOOKS, 0 for none.
    """

    suspects: dict[str, int]
    heads: dict[tuple[str, str], Head]
    parked: dict[str, dict[str, int]]
    last: int


async def read_takeover(
    context: WorkerContext, partition: int, consumers: PartitionConsumers, clean: bool
) -> PartitionTakeover:
    """Reads it; `clean` says that the predecessor let go in good order. Raises BrokerError."""
    suspects = {HOOKS: 0, RETRIES: 0}
    if not clean:
        for stream in suspects:
            suspects[stream] = await consumers.reached(stream)
    heads = await context.endpoints.heads()
    own = {key: head for key, head in heads.items() if partition_of(key[0], context.partitions) == partition}
    parked: dict[str, dict[str, int]] = {}
    for (session_id, name), count in (await context.backlog.counts(partition)).items():
        parked.setdefault(session_id, {})[name] = count
    # The newest of the new jobs, as the leader knows it.
    message = await context.broker.stream(HOOKS).get_last(f"{FRESH}.{partition}.*")
    return PartitionTakeover(suspects, own, parked, message.sequence if message is not None else 0)
