"""Keeps the endpoints of one partition in step with ENDPOINTS: stores what changes here, adopts what others have stored."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from edge.webhooks.endpoint.dispatch import EndpointDispatcher
from edge.webhooks.endpoint.state import EndpointState
from edge.webhooks.endpoint.store import EndpointStore
from edge.webhooks.endpoint.tasks import PartitionTasks
from edge.webhooks.queue.ordering import OrderedQueue
from router.errors import BrokerError, Conflict

log = logging.getLogger(__name__)

# Changes within a tenth of a second are stored together.
GATHER = 0.1


class StateSync:
    """Stores the states of the endpoints of one partition, and how far the first posts of their serial queues have come."""

    def __init__(
        self, store: EndpointStore, dispatchers: Mapping[str, EndpointDispatcher], tasks: PartitionTasks
    ) -> None:
        self._store = store
        self._dispatchers = dispatchers
        self._tasks = tasks
        self._changed: dict[str, EndpointDispatcher] = {}
        self._wake = asyncio.Event()

    def note(self, dispatcher: EndpointDispatcher) -> None:
        """Notes that the state of an endpoint has changed."""
        self._changed[dispatcher.session] = dispatcher
        self._wake.set()

    async def run(self) -> None:
        """Stores the states that have changed, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            for session in list(self._changed):
                try:
                    await self._store_one(session)
                except BrokerError as fault:
                    log.debug(
                        "the state of an endpoint was not stored; it will be stored again", extra={"fault": str(fault)}
                    )
                    self._wake.set()
            await asyncio.sleep(GATHER)

    async def flush(self) -> None:
        """Stores the states that have changed, once. Raises BrokerError."""
        for session in list(self._changed):
            await self._store_one(session)

    async def _store_one(self, session: str) -> None:
        dispatcher = self._changed.pop(session, None)
        if dispatcher is None or self._dispatchers.get(session) is not dispatcher:
            return
        try:
            await self._store.keep(session, dispatcher.breaker.snapshot(dispatcher.parked, dispatcher.oldest))
        except Conflict:
            state = self._store.of(session)
            if state is not None:
                self.adopt(session, state)
        except BrokerError:
            self._changed.setdefault(session, dispatcher)
            raise

    def adopt(self, session: str, state: EndpointState) -> None:
        """Takes over a state that another process has stored: somebody enabled or disabled the endpoint."""
        dispatcher = self._dispatchers.get(session)
        if dispatcher is None:
            return  # nothing in hand: it is read when there is
        enabled_at = dispatcher.breaker.enabled_at
        dispatcher.breaker.adopt(state)
        if state.enabled_at > enabled_at:
            for queue in dispatcher.queues.values():
                if queue.head is not None:
                    queue.head = queue.head.resumed()
                    self._tasks.spawn(self.keep_head(dispatcher, queue), "head")
                    dispatcher.resume(queue)
        dispatcher.wake()

    async def keep_head(self, dispatcher: EndpointDispatcher, queue: OrderedQueue) -> None:
        """Stores how far a queue's first post has come; where that fails, a successor may try it more often than it should."""
        try:
            if queue.head is None:
                await self._store.drop_head(dispatcher.session, queue.name)
            else:
                await self._store.keep_head(dispatcher.session, queue.name, queue.head)
        except BrokerError as fault:
            log.debug("the attempts of a queue's first post were not stored", extra={"fault": str(fault)})
