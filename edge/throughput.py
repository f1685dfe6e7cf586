"""Keeps the throughput of the last hour: events in and out, readers by transport and lag, a sample every ten seconds."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec

from edge import metrics
from edge.hub import lag
from edge.hub.hub import Hub
from edge.sessions.cluster_stats import ClusterStats
from edge.webhooks.metrics import attempted
from router.broker import Broker
from router.cluster.peers import answer_peer, ask_peers
from router.errors import BrokerError

SUBJECT = "edge.throughput"
# Seconds between two samples, and how many are kept: an hour.
EVERY = 10.0
KEPT = 360
WEBHOOK = "webhook"
WAYS = (*metrics.TRANSPORTS, WEBHOOK)


class TrafficTotals(NamedTuple):
    """Counters as they stand: the sequence of the newest event stored, and events delivered by each way, ever."""

    sequence: int
    delivered: Mapping[str, float]
    failed: float


class TrafficSample(msgspec.Struct, frozen=True):
    """Events a second over the seconds before `time` (seconds since the epoch), and how it stood then."""

    time: float
    stored: float
    delivered: dict[str, float]
    failed: float
    readers: dict[str, int]
    lag: int


class Throughput:
    """The samples of this process, and their sum over all edge processes."""

    def __init__(self, broker: Broker, hub: Hub, cluster: ClusterStats, clock: Callable[[], float] = time.time) -> None:
        self._broker, self._hub, self._cluster, self._clock = broker, hub, cluster, clock
        self._before: tuple[float, TrafficTotals] | None = None
        self.samples: deque[TrafficSample] = deque(maxlen=KEPT)

    async def run(self) -> None:
        """Takes samples at the same moments in all processes, and answers the others, until cancelled."""
        listening = await self._broker.connection.listen(SUBJECT, self._asked)
        try:
            while True:
                await self._sample()
                now = self._clock()
                await asyncio.sleep(EVERY - now % EVERY)
        finally:
            await listening.stop()

    async def _sample(self) -> None:
        try:
            state = await self._broker.events_state()
        except BrokerError:
            # A time without samples is shown as one; the next sample is of the whole time since the last.
            return
        delivered, failed = attempted()
        stored = sum(sum(last.sequences) for last in state.lasts)
        self.note(TrafficTotals(stored, _streamed() | {WEBHOOK: delivered}, failed))

    def note(self, totals: TrafficTotals) -> None:
        """Adds a sample of the time since the last totals."""
        now, before = self._clock(), self._before
        self._before = (now, totals)
        if before is None or (seconds := now - before[0]) <= 0:
            return
        last = before[1]
        furthest = max((lag.behind(self._hub, reader) for reader in self._hub.apart), default=0)
        self.samples.append(
            TrafficSample(
                # The moment that it is of is the same in all processes.
                time=round(now / EVERY) * EVERY,
                # A stream that was made anew begins at 1 again, and former ones are deleted once they are too old.
                stored=max(0, totals.sequence - last.sequence) / seconds,
                delivered={way: max(0.0, totals.delivered[way] - last.delivered[way]) / seconds for way in WAYS},
                failed=max(0.0, totals.failed - last.failed) / seconds,
                readers={name: self._hub.counts[name] for name in metrics.TRANSPORTS},
                lag=furthest,
            )
        )

    def _asked(self, _subject: str, reply: str, payload: bytes, _headers: bytes) -> None:
        if payload.decode() == self._cluster.id or not reply:
            return
        answer_peer(self._broker.connection, reply, msgspec.json.encode(list(self.samples)))

    async def gather(self) -> list[TrafficSample]:
        """The samples of all edge processes, added up moment by moment, oldest first."""
        parts = [list(self.samples)]
        if (others := self._cluster.size - 1) > 0:
            question = self._cluster.id.encode()
            parts += await ask_peers(self._broker.connection, SUBJECT, question, others, _samples.decode)
        moments: dict[float, TrafficSample] = {}
        for part in parts:
            for sample in part:
                known = moments.get(sample.time)
                moments[sample.time] = _sum(known, sample) if known else sample
        return [moments[moment] for moment in sorted(moments)][-KEPT:]


def _sum(one: TrafficSample, other: TrafficSample) -> TrafficSample:
    return TrafficSample(
        time=one.time,
        # All processes count the same stream.
        stored=max(one.stored, other.stored),
        delivered={way: one.delivered[way] + other.delivered[way] for way in WAYS},
        failed=one.failed + other.failed,
        readers={way: one.readers[way] + other.readers[way] for way in one.readers},
        lag=max(one.lag, other.lag),
    )


def _streamed() -> dict[str, float]:
    return {name: metrics.delivered.labels(name).total for name in metrics.TRANSPORTS}


_samples = msgspec.json.Decoder(list[TrafficSample])
