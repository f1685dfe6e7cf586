"""Gives the dispatchers of one partition what they share: its backlog, its jobs in hand, its tasks."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from edge.webhooks.endpoint.tasks import PartitionTasks
from edge.webhooks.queue.backlog import Backlog, ParkedJob
from edge.webhooks.queue.catch_up import CatchUp
from edge.webhooks.queue.in_hand import JobsInHand
from edge.webhooks.queue.ordering import QueueSettings
from edge.webhooks.queue.post import PendingJob


@dataclass(frozen=True)
class DispatchHost:
    """What the worker of a partition gives to each of its dispatchers."""

    partition: int
    settings: QueueSettings
    backlog: Backlog
    in_hand: JobsInHand
    tasks: PartitionTasks
    catch_up: CatchUp
    # The bytes of a job in a batch.
    weigh: Callable[[PendingJob], int]
    # Gives up a job that cannot be parked: the session's id, the job and the reason.
    give_up: Callable[[str, PendingJob, str], Coroutine[Any, Any, None]]
    # Moves a parked message that is not a job to the dead letters.
    discard: Callable[[ParkedJob], Coroutine[Any, Any, None]]
