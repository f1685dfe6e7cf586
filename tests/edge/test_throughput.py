"""Tests that the throughput of the last hour is what was stored and delivered, summed over processes."""

from __future__ import annotations

from collections import Counter
from typing import Any, ClassVar, cast

from edge.throughput import EVERY, KEPT, WAYS, Throughput, TrafficSample, TrafficTotals, _sum
from tests.clocks import Clock
from tests.edge.conftest import RunningEdge


def totals(sequence: int, **delivered: float) -> TrafficTotals:
    return TrafficTotals(sequence, dict.fromkeys(WAYS, 0.0) | delivered, 0.0)


class Quiet:
    """A hub that nobody reads at."""

    readers = apart = ()
    counts: ClassVar[Counter[str]] = Counter()


def kept_by(clock: Clock) -> Throughput:
    return Throughput(cast(Any, None), cast(Any, Quiet()), cast(Any, None), clock.time)


def test_a_sample_is_the_rate_since_the_last_one() -> None:
    clock = Clock(standing=True)
    kept = kept_by(clock)

    kept.note(totals(100))
    clock.advance(10.0)
    kept.note(totals(150, sse=20.0))

    assert [(each.stored, each.delivered["sse"]) for each in kept.samples] == [(5.0, 2.0)]


def test_no_more_than_an_hour_is_kept_and_a_new_stream_is_no_negative_rate() -> None:
    clock = Clock(standing=True)
    kept = kept_by(clock)
    for turn in range(KEPT + 10):
        clock.advance(EVERY)
        kept.note(totals(10 * turn))
    clock.advance(EVERY)
    kept.note(totals(3))

    assert len(kept.samples) == KEPT
    assert kept.samples[-1].stored == 0


def test_processes_count_the_same_stream_and_readers_of_their_own() -> None:
    one = TrafficSample(10.0, 4.0, dict.fromkeys(WAYS, 1.0), 0.5, {"sse": 2}, 7)
    other = TrafficSample(10.0, 5.0, dict.fromkeys(WAYS, 2.0), 0.25, {"sse": 3}, 3)

    whole = _sum(one, other)

    assert (whole.stored, whole.delivered["sse"], whole.failed, whole.readers, whole.lag) == (5, 3, 0.75, {"sse": 5}, 7)


async def test_the_route_says_what_is_kept(edge: RunningEdge, entity: str) -> None:
    await edge.numbers(entity, 3)

    answer = await edge.http.get("/throughput")

    body = answer.json()
    assert answer.status_code == 200 and body["every"] == EVERY
    assert body["stored"]["events"] >= 3 and body["stored"]["last"] > body["stored"]["first"]
