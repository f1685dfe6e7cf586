"""This file is where the runtime counts. Labels come from closed sets only: the cast, and the outcomes below."""

from __future__ import annotations

import weakref
from collections import defaultdict
from collections.abc import Sized

from prometheus_client import Counter, Gauge, Histogram

OUTCOMES = ("acked", "rejected", "failed", "timeout", "cancelled")

# From a tenth of a millisecond (a plain receive) to the default timeout.
_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

RECEIVE_SECONDS = Histogram(
    "actors_receive_seconds",
    "Time one receive took, by what became of the event",
    ("actor", "outcome"),
    buckets=_SECONDS,
)
MAILBOX_MESSAGES = Gauge("actors_mailbox_messages", "Messages waiting in the mailbox", ("actor",))
RESTARTS = Counter("actors_restarts_total", "Incarnations that crashed", ("actor",))
DEADLETTERS = Counter("actors_deadletters_total", "Events given up", ("actor",))
SOURCE_RESTARTS = Counter("actors_source_restarts_total", "Sources that ended, crashed or fell silent", ("actor",))
EMITTED = Counter("actors_emitted_total", "Events published", ("actor",))
FRAMES = Counter("actors_frames_total", "Pictures sent or passed over for a newer one", ("actor", "outcome"))

# One actor may run in several instances in one process; its gauge is their sum, read when somebody asks.
_mailboxes: defaultdict[str, weakref.WeakSet[Sized]] = defaultdict(weakref.WeakSet)


class Gauges:
    """The children of one actor, made once so that counting costs no look-up and every series exists from the start."""

    def __init__(self, actor: str) -> None:
        self._actor = actor
        self.receive = {outcome: RECEIVE_SECONDS.labels(actor, outcome) for outcome in OUTCOMES}
        MAILBOX_MESSAGES.labels(actor).set_function(lambda: float(sum(map(len, list(_mailboxes[actor])))))
        self.restarts = RESTARTS.labels(actor)
        self.deadletters = DEADLETTERS.labels(actor)
        self.source_restarts = SOURCE_RESTARTS.labels(actor)
        self.emitted = EMITTED.labels(actor)
        self.frames_sent = FRAMES.labels(actor, "sent")
        self.frames_passed_over = FRAMES.labels(actor, "passed_over")

    def measure(self, mailbox: Sized) -> None:
        """Counts what waits in a mailbox, for as long as it exists."""
        _mailboxes[self._actor].add(mailbox)
