"""Makes the dispatcher of each endpoint of one partition, from its settings, its state, and what a predecessor has left."""

from __future__ import annotations

from collections.abc import Callable

from edge.sessions.registry import Session
from edge.webhooks.client.outcome import MAX_RETRY_AFTER
from edge.webhooks.endpoint.breaker import CircuitBreaker
from edge.webhooks.endpoint.dispatch import EndpointDispatcher
from edge.webhooks.endpoint.host import DispatchHost
from edge.webhooks.queue.ordering import Head, OrderedQueue
from edge.webhooks.queue.post import PendingJob, Post
from edge.webhooks.worker.context import WorkerContext
from edge.webhooks.worker.takeover import PartitionTakeover
from router.clock import ceiling, wall


class PartitionEndpoints:
    """The endpoints of one partition: a dispatcher for each that has jobs."""

    def __init__(
        self,
        context: WorkerContext,
        dispatchers: dict[str, EndpointDispatcher],
        host: DispatchHost,
        start: Callable[[EndpointDispatcher, OrderedQueue, Post], None],
    ) -> None:
        self.dispatchers = dispatchers
        self._context = context
        self._host = host
        self._start = start
        self._clean = True
        # What the predecessors have left, until the session's dispatcher is made: first posts by session and queue, and the
        # number of parked jobs of each queue by session.
        self._heads: dict[tuple[str, str], Head] = {}
        self._parked: dict[str, dict[str, int]] = {}

    def take_over(self, left: PartitionTakeover, clean: bool) -> list[str]:
        """Takes what a predecessor has left; returns the sessions with parked jobs that are not known here."""
        self._clean = clean
        self._heads, self._parked = dict(left.heads), dict(left.parked)
        return [session_id for session_id in left.parked if self.get(session_id) is None]

    def get(self, session_id: str) -> EndpointDispatcher | None:
        """The dispatcher of a session; None where the session is not known, or is no webhook."""
        dispatcher = self.dispatchers.get(session_id)
        if dispatcher is not None:
            return dispatcher
        session = self._context.registry.sessions.get(session_id)
        if session is None or session.spec.webhook is None:
            return None
        rules = self._context.rules(session.spec.webhook)
        breaker = CircuitBreaker(rules.breaker, 1, self._context.endpoints.of(session_id))
        dispatcher = EndpointDispatcher(self._host, session_id, breaker, session.spec.webhook, rules, self._start)
        self.dispatchers[session_id] = dispatcher
        for key in [key for key in self._heads if key[0] == session_id]:
            head = self._heads.pop(key)
            if head.halted and breaker.enabled_at > head.since:
                head = head.resumed()
            # Further ahead than any pause is legal it was written by a clock that was wrong.
            longest = max(*rules.schedule, MAX_RETRY_AFTER) + 1.0
            queue = dispatcher.queue(key[1], True)
            dispatcher.restored(queue, head, ceiling(head.not_before, wall.now(), longest))
        # Before any job of it is admitted: what is new goes behind what is parked.
        for name, count in self._parked.pop(session_id, {}).items():
            self._open_backlog(dispatcher, name, count)
        return dispatcher

    def _open_backlog(self, dispatcher: EndpointDispatcher, name: str, count: int) -> None:
        queue = dispatcher.backlog_queue(name)
        queue.behind += count
        queue.suspects = not self._clean
        if queue.serial:
            queue.first = 0
        dispatcher.wake()

    def wake_all(self) -> None:
        """Lets each endpoint look for what it may do now."""
        for dispatcher in self.dispatchers.values():
            dispatcher.wake()

    def change(self, session_id: str, session: Session | None) -> list[PendingJob]:
        """Takes the new settings of a session; returns the jobs in hand that are to be dropped because it was deleted."""
        dispatcher = self.dispatchers.get(session_id)
        if dispatcher is None:
            return []
        if session is not None and session.spec.webhook is not None:
            dispatcher.change(session.spec.webhook, self._context.rules(session.spec.webhook))
            return []
        del self.dispatchers[session_id]
        dispatcher.end()
        dropped: list[PendingJob] = []
        for queue in dispatcher.queues.values():
            dropped += (*queue.waiting, *queue.early, *queue.parking)
            queue.waiting.clear()
            queue.early.clear()
            queue.parking.clear()
            queue.behind = 0
        dispatcher.policy = None
        return dropped

    def end(self) -> None:
        """Stops all dispatchers."""
        for dispatcher in self.dispatchers.values():
            dispatcher.end()
