"""Defines the metrics of the actor runtime. Labels come from closed sets only: the actors, and the outcomes below."""

from __future__ import annotations

import time
import weakref
from collections import defaultdict
from collections.abc import Sized
from typing import Protocol

from prometheus_client import Counter, Gauge, Histogram

import router.metrics  # noqa: F401  NATS is shown beside it

OUTCOMES = ("acked", "rejected", "failed", "timeout", "cancelled")
# refused: the caller's error; failed: ours, and the actor restarts.
ANSWERS = ("answered", "refused", "failed", "cancelled")

# From a tenth of a millisecond (a plain receive) to the default timeout.
_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

RECEIVE_SECONDS = Histogram(
    "actors_receive_seconds",
    "Time one receive took, by what became of the event",
    ("actor", "outcome"),
    buckets=_SECONDS,
)
# From a millisecond (an idle actor) to an hour, long after an alert has fired.
_AGE = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600, 3600)
TAKE_SECONDS = Histogram(
    "actors_publish_to_receive_seconds", "From an event's own time until its receive began", ("actor",), buckets=_AGE
)
ACKNOWLEDGE_SECONDS = Histogram(
    "actors_publish_to_acknowledge_seconds",
    "From an event's own time until it was done with and JetStream told so",
    ("actor",),
    buckets=_AGE,
)
LAG_EVENTS = Gauge(
    "actors_lag_events", "Events of its subjects that the actor has not settled, as of the last that came", ("actor",)
)
LAG_SECONDS = Gauge("actors_lag_seconds", "Time since the oldest of them that is here was stored", ("actor",))
REDELIVERED = Counter("actors_redelivered_total", "Deliveries of events that had been delivered before", ("actor",))
COMMANDS = Counter("actors_commands_total", "Commands called, by how they were answered", ("actor", "outcome"))
MAILBOX_MESSAGES = Gauge("actors_mailbox_messages", "Messages waiting in the mailbox", ("actor",))
RESTARTS = Counter("actors_restarts_total", "Incarnations that crashed", ("actor",))
DEADLETTERS = Counter("actors_deadletters_total", "Events given up", ("actor",))
SOURCE_RESTARTS = Counter("actors_source_restarts_total", "Sources that ended, crashed or fell silent", ("actor",))
EMITTED = Counter("actors_emitted_total", "Events published", ("actor",))
FRAMES = Counter("actors_frames_total", "Pictures sent or passed over for a newer one", ("actor", "outcome"))
PACKETS = Counter(
    "actors_packets_total", "Packets of video streams sent, or lost because NATS was away", ("actor", "outcome")
)

# One actor may run in several instances in one process; its gauge is their sum, read when somebody asks.
_mailboxes: defaultdict[str, weakref.WeakSet[Sized]] = defaultdict(weakref.WeakSet)


class Lagging(Protocol):
    """The intake of an actor, as the gauges see it."""

    @property
    def lag(self) -> int:
        """How many events are not settled."""

    @property
    def oldest(self) -> float | None:
        """When the oldest of those in hand was stored, in seconds since the epoch; None without any."""


_intakes: defaultdict[str, weakref.WeakSet[Lagging]] = defaultdict(weakref.WeakSet)


def _lag(actor: str) -> float:
    return float(sum(intake.lag for intake in list(_intakes[actor])))


def _age(actor: str) -> float:
    oldest = [stored for intake in list(_intakes[actor]) if (stored := intake.oldest) is not None]
    return max(0.0, time.time() - min(oldest)) if oldest else 0.0


class Gauges:
    """The children of one actor, made once so that counting costs no look-up and every series exists from the start."""

    def __init__(self, actor: str) -> None:
        self._actor = actor
        self.receive = {outcome: RECEIVE_SECONDS.labels(actor, outcome) for outcome in OUTCOMES}
        MAILBOX_MESSAGES.labels(actor).set_function(lambda: float(sum(map(len, list(_mailboxes[actor])))))
        LAG_EVENTS.labels(actor).set_function(lambda: _lag(actor))
        LAG_SECONDS.labels(actor).set_function(lambda: _age(actor))
        self.take = TAKE_SECONDS.labels(actor)
        self.acknowledge = ACKNOWLEDGE_SECONDS.labels(actor)
        self.redelivered = REDELIVERED.labels(actor)
        self.commands = {answer: COMMANDS.labels(actor, answer) for answer in ANSWERS}
        self.restarts = RESTARTS.labels(actor)
        self.deadletters = DEADLETTERS.labels(actor)
        self.source_restarts = SOURCE_RESTARTS.labels(actor)
        self.emitted = EMITTED.labels(actor)
        self.frames_sent = FRAMES.labels(actor, "sent")
        self.frames_passed_over = FRAMES.labels(actor, "passed_over")
        self.packets_sent = PACKETS.labels(actor, "sent")
        self.packets_lost = PACKETS.labels(actor, "lost")

    def measure(self, mailbox: Sized) -> None:
        """Counts what waits in a mailbox, for as long as it exists."""
        _mailboxes[self._actor].add(mailbox)

    def follow(self, intake: Lagging) -> None:
        """Shows how far an intake is behind, for as long as it exists."""
        _intakes[self._actor].add(intake)
