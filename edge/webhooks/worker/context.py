"""Gives the workers of a process what they share: settings, stores, the sender, the events that are decoded already."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from edge.sessions.endpoint.settings import EndpointSettings
from edge.sessions.registry import Registry, Session
from edge.settings import PolicySettings
from edge.stats import Stats
from edge.webhooks.client.sender import Sender
from edge.webhooks.endpoint.breaker import CircuitBreakerSettings
from edge.webhooks.endpoint.rules import Rules, rules_of
from edge.webhooks.endpoint.store import EndpointStore
from edge.webhooks.history.attempt_log import AttemptLog
from edge.webhooks.queue.acks import AckBatcher
from edge.webhooks.queue.backlog import Backlog
from edge.webhooks.queue.event_record import event_record
from edge.webhooks.queue.job import Job
from edge.webhooks.queue.ordering import QueueSettings
from edge.webhooks.queue.redriven import RedrivenDeadLetters
from router.broker import Broker
from router.deadletters import DeadLetters
from router.event_place import locate
from router.layout import FIRST
from router.nats.publisher import Publisher
from router.record import Record

# Events of which the encoded form is kept for the other sessions that want it.
MAX_RECORDS = 512


@dataclass(frozen=True)
class WorkerSettings:
    """How jobs are worked on. Times in seconds."""

    # Jobs one partition may have in hand, of new ones and of retries each; past three quarters, or so many bytes, queues
    # hold fewer.
    credit: int = 512
    credit_bytes: int = 16 * 1024 * 1024
    # The server hands a job out again after so long without a sign of progress; jobs that take longer are extended before.
    ack_wait: float = 30.0
    queue: QueueSettings = field(default_factory=QueueSettings)
    breaker: CircuitBreakerSettings = field(default_factory=CircuitBreakerSettings)
    # The longest pause before each retry, instead of what the session's profile says.
    schedule: tuple[float, ...] | None = None
    # What counts for endpoints that set nothing of their own.
    policy: PolicySettings = field(default_factory=PolicySettings)
    # Jobs wait for an endpoint that takes nothing at most this long, where its session does not say how long.
    keep: float = 7 * 86400.0
    # How often parked jobs are looked for that have waited too long.
    sweep: float = 5.0
    # A job is not tried again after so many workers died while they worked on it.
    kills: int = 20


@dataclass
class WorkerContext:
    """What all partition workers of a process share."""

    broker: Broker
    registry: Registry
    sender: Sender
    attempts: AttemptLog
    publisher: Publisher
    endpoints: EndpointStore
    stats: Callable[[str], Stats]
    epoch: Callable[[], str]
    # The epoch of one stream of events; None for all, where there is only one stream.
    epoch_of: Callable[[str], str | None]
    settings: WorkerSettings
    partitions: int

    def __post_init__(self) -> None:
        self.deadletters = DeadLetters(self.broker)
        self.redriven = RedrivenDeadLetters(self.broker)
        self.backlog = Backlog(self.broker, self.publisher)
        self.acks = AckBatcher(self.publisher)
        self._records: OrderedDict[int, Record] = OrderedDict()

    def webhook(self, session_id: str) -> Session | None:
        """The session of an endpoint; None where it is not known here, or is no webhook."""
        session = self.registry.sessions.get(session_id)
        return session if session is not None and session.spec.webhook is not None else None

    def rules(self, endpoint: EndpointSettings) -> Rules:
        """The retries, circuit breaker and auto-disable of an endpoint: its own settings, and the deployment's."""
        policy = self.settings.policy
        schedule = self.settings.schedule or (endpoint.retry_profile == "guide" and policy.retry_schedule)
        return rules_of(endpoint.policy, schedule or endpoint.schedule, policy, self.settings.breaker)

    def max_age(self, endpoint: EndpointSettings) -> float:
        """How long a job may wait in all, in seconds."""
        return self.settings.keep if endpoint.max_age is None else endpoint.max_age

    def epoch_for(self, job: Job) -> str:
        """The epoch of the stream that has the job's event, of a batch the first one; "" where it is not known."""
        if self.broker.layout is FIRST:
            return self.epoch()
        first = job.parts[0] if job.parts else job
        return self.epoch_of(locate(first.sequence).stream) or ""

    def record(self, job: Job) -> Record:
        """The job's event, shared with the other jobs it makes: decoded once, encoded once."""
        record = self._records.get(job.sequence)
        if record is None or record.payload != job.payload:
            epoch = self.epoch_of(locate(job.sequence).stream)
            record = self._records[job.sequence] = event_record(job.sequence, job.subject, job.payload, epoch)
            if len(self._records) > MAX_RECORDS:
                self._records.popitem(last=False)
        return record
