"""Follows a new owner of a partition through the jobs that were in HOOKS when it took over."""

from __future__ import annotations

from edge.webhooks.queue.post import PendingJob
from router.topology import HOOKS


class CatchUp:
    """How far the new jobs have been admitted that were in HOOKS at the takeover; parked ones of ordered queues come after."""

    def __init__(self) -> None:
        # The place of the newest job at the takeover, 0 for none; and of the newest that has arrived.
        self.last = 0
        self.reached = 0
        self.done = False
        # Jobs of sessions that are not known here yet, by session and in order.
        self.unresolved: dict[str, list[PendingJob]] = {}

    def begin(self, last: int) -> None:
        """Starts with the place of the newest job that is in HOOKS."""
        self.last = last
        self.done = not last

    def arrived(self, sequence: int) -> bool:
        """Notes that a new job has arrived; says whether it was the last of those at the takeover."""
        self.reached = sequence
        # The consumer's own count of what is left is not used: in a cluster it may be behind.
        if self.done or sequence < self.last:
            return False
        self.done = True
        return True

    def was_there(self, pending: PendingJob) -> bool:
        """Whether a new job was in HOOKS already at the takeover."""
        return (
            pending.message is not None
            and pending.consumer is not None
            and pending.consumer.stream == HOOKS
            and pending.message.sequence <= self.last
        )

    def is_ready(self, session: str) -> bool:
        """Whether all jobs of a session have been admitted that were in HOOKS at the takeover."""
        return self.done and session not in self.unresolved
