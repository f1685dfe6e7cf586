"""Works on the webhook jobs of one partition for as long as this process owns it: attempt, record, settle.

A worker has consumers of its own, named by the epoch of the ownership, and removes those of its predecessors. So it is handed
at once what they had not settled, in the order of the stream; and whenever a message may have been lost on the way it makes
others. It knows the jobs in hand by place and time, so that none is posted twice for that.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial

from edge.metrics import record_faults
from edge.sessions.registry import Session
from edge.webhooks import metrics
from edge.webhooks.client.outcome import Outcome, Verdict, postponement
from edge.webhooks.endpoint.dispatch import EndpointDispatcher
from edge.webhooks.endpoint.host import DispatchHost
from edge.webhooks.endpoint.recorder import Decision, OutcomeRecorder
from edge.webhooks.endpoint.state_sync import StateSync
from edge.webhooks.endpoint.tasks import PartitionTasks, until_stored
from edge.webhooks.queue.catch_up import CatchUp
from edge.webhooks.queue.in_hand import JobsInHand
from edge.webhooks.queue.ordering import OrderedQueue
from edge.webhooks.queue.post import Post
from edge.webhooks.shortage import shortages
from edge.webhooks.worker.attempt import attempt, expired, poisonous, weigh
from edge.webhooks.worker.backlog_sweep import BacklogSweep
from edge.webhooks.worker.consumers import PartitionConsumers
from edge.webhooks.worker.context import WorkerContext
from edge.webhooks.worker.deadletters import discard
from edge.webhooks.worker.endpoints import PartitionEndpoints
from edge.webhooks.worker.intake import JobIntake
from edge.webhooks.worker.settlement import PostTask, Settler, count
from edge.webhooks.worker.takeover import PartitionTakeover, read_takeover
from router.clock import wall
from router.coalescing import coalesced_sleep
from router.errors import BrokerError

log = logging.getLogger(__name__)

# Between two tries to read what a predecessor has left, in seconds.
TAKEOVER_SECONDS = 0.3


class PartitionWorker:
    """The work on one partition, during one ownership."""

    def __init__(self, context: WorkerContext, partition: int, epoch: int, clean: bool) -> None:
        """`clean` says that the predecessor let go in good order."""
        settings = context.settings
        self.dispatchers: dict[str, EndpointDispatcher] = {}
        self.in_hand = JobsInHand(context.acks, settings.credit, settings.credit_bytes)
        self.catch_up = CatchUp()
        self.consumers = PartitionConsumers(context.broker, partition, epoch, settings)
        self._context = context
        self._partition = partition
        self._clean = clean
        self._tasks = PartitionTasks()
        self._closed = asyncio.Event()
        self._pulling: list[asyncio.Task[None]] = []
        self._posting: set[asyncio.Task[None]] = set()
        # Where the next post goes while the task that has just freed a place asks for one.
        self._next: list[tuple[EndpointDispatcher, OrderedQueue, Post]] | None = None
        self._states = StateSync(context.endpoints, self.dispatchers, self._tasks)
        self._recorder = OutcomeRecorder(
            context.attempts, self._states, self._tasks, context.broker.publish, context.epoch_for
        )
        self._settler = Settler(context, self.in_hand, self._states, self._recorder)
        host = DispatchHost(
            partition,
            settings.queue,
            context.backlog,
            self.in_hand,
            self._tasks,
            self.catch_up,
            weigh=partial(weigh, context),
            give_up=self._settler.give_up_unparked,
            discard=partial(discard, context),
        )
        self._endpoints = PartitionEndpoints(context, self.dispatchers, host, self._start)
        self._intake = JobIntake(
            context, partition, self.in_hand, self._endpoints, self._tasks, self.catch_up, self._settler
        )
        self._sweep = BacklogSweep(
            context, partition, self.in_hand, self._endpoints, self._states, self.catch_up, self._settler
        )

    # The ownership

    async def run(self) -> None:
        """Works until cancelled, or until `close` has let everything go."""
        unlisten = self._context.endpoints.on_change(self._states.adopt)
        try:
            left = await self._read_takeover()
            async with asyncio.TaskGroup() as tasks:
                self._tasks.begin(tasks)
                try:
                    if left is not None:
                        self._take_over(left)
                    if not self._tasks.closing:
                        for consumer in self.consumers.make(self._intake.receive):
                            self._pulling.append(tasks.create_task(consumer.run(), name=consumer.name))
                    beside = [
                        tasks.create_task(each, name=f"{name} {self._partition}")
                        for each, name in (
                            (self._extend(), "extend jobs"),
                            (self._sweep.run(), "sweep backlogs"),
                            (self._states.run(), "store endpoint states"),
                        )
                    ]
                    await self._closed.wait()
                    for each in beside:
                        each.cancel()
                finally:
                    self._tasks.end()
                    self._endpoints.end()
        finally:
            unlisten()
            self._closed.set()

    async def _read_takeover(self) -> PartitionTakeover | None:
        """Reads what the predecessor has left; None where this worker is closed before it can."""
        while not self._tasks.closing:
            try:
                return await read_takeover(self._context, self._partition, self.consumers, self._clean)
            except BrokerError as fault:
                log.info(
                    "partition cannot be taken over yet; its state will be read again",
                    extra={"partition": self._partition, "fault": str(fault)},
                )
                await asyncio.sleep(TAKEOVER_SECONDS)
        return None

    def _take_over(self, left: PartitionTakeover) -> None:
        self._intake.suspects = left.suspects
        self.catch_up.begin(left.last)
        for session_id in self._endpoints.take_over(left, self._clean):
            self._tasks.spawn(self._intake.resolve_backlog(session_id), "find")

    async def close(self, grace: float) -> None:
        """Takes nothing more, lets the posts under way end for `grace` seconds, and leaves the rest to a successor."""
        self._tasks.closing = True
        for task in self._pulling:
            task.cancel()
        if self._posting:
            await asyncio.wait(set(self._posting), timeout=grace)
        for task in list(self._posting):
            task.cancel()
        if self._posting:
            await asyncio.wait(set(self._posting), timeout=1.0)
        try:
            async with asyncio.timeout(1.0):
                await self._states.flush()
                await self._context.acks.flushed()
                await self.consumers.acknowledged(self.in_hand)
                await self.consumers.remove()
        except (BrokerError, TimeoutError):
            log.debug(
                "partition released before its acknowledgements were confirmed; its next owner is handed their jobs again",
                extra={"partition": self._partition},
            )
        self._closed.set()

    def changed(self, session_id: str, session: Session | None) -> None:
        """Follows a session that was changed; None for one that was deleted."""
        dropped = self._endpoints.change(session_id, session)
        if self._tasks.running:
            self._settler.drop(dropped)

    async def count_pending(self) -> tuple[int, int]:
        """How many new jobs and retries are not in hand yet. Raises BrokerError."""
        return await self.consumers.count_pending()

    async def _extend(self) -> None:
        """Extends the jobs that take long, before the server hands them out again."""
        loop = asyncio.get_running_loop()
        # So a job is extended before less than half of its time is over, and a second time before the rest is.
        every = self._context.settings.ack_wait / 4
        while True:
            await coalesced_sleep(every)
            for pending in self.in_hand:
                if pending.message is not None and loop.time() - pending.since >= every / 2:
                    try:
                        await pending.message.working()
                    except BrokerError:
                        break

    # The work

    def _start(self, dispatcher: EndpointDispatcher, queue: OrderedQueue, post: Post) -> None:
        """Posts a post, in a task of its own or in the one that has just freed the place."""
        if self._next is not None:
            self._next.append((dispatcher, queue, post))
            self._next = None
            return
        task = self._tasks.spawn(self._work(dispatcher, queue, post))
        assert task is not None
        self._posting.add(task)
        task.add_done_callback(self._posting.discard)

    async def _work(self, dispatcher: EndpointDispatcher, queue: OrderedQueue, post: Post) -> None:
        """One post after the other: the task that frees a place goes on with the next post, which saves a task each."""
        going = [(dispatcher, queue, post)]
        while going:
            dispatcher, queue, post = going.pop()
            try:
                freed = await self._deliver(dispatcher, queue, post)
            except Exception as fault:  # noqa: BLE001 - logged with its traceback by `_failed`
                # The place was freed by then. A fault of ours at one job must not end the work on all others.
                await self._failed(dispatcher, queue, post, fault)
                freed = False
            if freed:
                self._next = going
                dispatcher.finished(queue)
                self._next = None

    async def _deliver(self, dispatcher: EndpointDispatcher, queue: OrderedQueue, post: Post) -> bool:
        """One attempt and what follows from it; says whether the post still has its place, which is then to be freed."""
        has_place = True
        try:
            task = self._task(dispatcher, queue, post)
            if task is None:
                return True
            over = expired(self._context, task.endpoint, post) or (
                await poisonous(self._context, post) if post.suspect else None
            )
            if over is None:
                begun, endpoint = wall.now_ns(), task.session.spec.webhook or task.endpoint
                outcome = await attempt(self._context, task.session, endpoint, post)
                if outcome.verdict is Verdict.POSTPONED:
                    self._postpone(task, outcome)
                    return True
                decision = self._recorder.record(dispatcher, task.session, task.endpoint, post, outcome, begun)
            else:
                decision = Decision(over)
            settlement = self._settler.settle_simple(task, decision.outcome)
            if settlement is None:
                if not queue.serial:
                    # The endpoint is free for its next post; what follows is between this process and NATS.
                    has_place = False
                    dispatcher.finished(queue)
                settlement = await until_stored(lambda: self._settler.settle(task, decision))
            count(self._context, task.session, post, settlement)
            return has_place
        except BaseException:
            if has_place:
                dispatcher.finished(queue)
            raise

    def _task(self, dispatcher: EndpointDispatcher, queue: OrderedQueue, post: Post) -> PostTask | None:
        """A post with what it is made for; None where its session was deleted, and its jobs dropped."""
        session = self._context.webhook(dispatcher.session)
        if session is None or session.spec.webhook is None:
            self._settler.drop(post.pending)
            return None
        return PostTask(post, queue, dispatcher, session, dispatcher.policy or session.spec.webhook)

    def _postpone(self, task: PostTask, outcome: Outcome) -> None:
        """Postpones what could not be posted for a reason of ours: no attempt counts, and the breaker does not hear of it."""
        post, dispatcher = task.post, task.dispatcher
        metrics.postponed.labels(outcome.postponed_for).inc()
        if outcome.postponed_for == "address":
            log.warning("webhook resolves to a denied address; postponed", extra={"session": dispatcher.session})
            shortages.note("address")
        if self.dispatchers.get(dispatcher.session) is dispatcher:
            dispatcher.postpone(task.queue, post, postponement(outcome))
            return
        # The session was deleted meanwhile: nothing would come of it in the queues that it had.
        for pending in post.pending:
            self._intake.admit(pending)

    async def _failed(self, dispatcher: EndpointDispatcher, queue: OrderedQueue, post: Post, fault: Exception) -> None:
        """Gives up jobs at which the work itself failed."""
        log.error(
            "work on a webhook job failed; moved to dead letters",
            extra={"session": dispatcher.session},
            exc_info=fault,
        )
        record_faults.labels("webhook").inc()
        task = self._task(dispatcher, queue, post)
        if task is not None:
            settlement = await until_stored(lambda: self._settler.fail(task, fault))
            count(self._context, task.session, post, settlement)
