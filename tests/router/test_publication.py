"""What is counted of a publish."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from router import tracing
from router.errors import Conflict, Forbidden, Refused, Timeout
from router.event import Event
from router.nats.counters import DUPLICATE, REFUSED, STORED, TIMEOUT, figures
from router.nats.stream import Ack
from router.publication import Publication, all_stored

FAULTS = {
    Refused(400, 10052, "bad request"): REFUSED,
    Timeout(): TIMEOUT,
    Forbidden("job.1.said"): TIMEOUT,
    # Who names the last sequence of a subject tries again.
    Conflict(400, 10071, "wrong last sequence"): None,
}


@pytest.mark.parametrize(("duplicate", "outcome"), [(False, STORED), (True, DUPLICATE)])
def test_an_event_is_stored_or_a_repeat(duplicate: bool, outcome: str) -> None:
    before = dict(figures.published)

    Publication(Event.new("job.1.said")).stored(Ack(7, duplicate))

    assert {name: count - before[name] for name, count in figures.published.items() if count != before[name]} == {
        outcome: 1
    }


@pytest.mark.parametrize(("fault", "outcome"), FAULTS.items())
def test_a_failure_is_counted_by_what_is_known_of_it(fault: Refused | Timeout, outcome: str | None) -> None:
    before = dict(figures.published)

    Publication(Event.new("job.1.said")).failed(fault)

    counted = {name: count - before[name] for name, count in figures.published.items() if count != before[name]}
    assert counted == ({outcome: 1} if outcome else {})


@pytest.mark.parametrize("is_traced", [False, True])
def test_events_that_are_stored_together_count_as_each_alone(is_traced: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    spans: list[str] = []
    parent = f"00-{'1' * 32}-{'2' * 16}-01"
    if is_traced:
        recorder = SimpleNamespace(record=lambda name, *_: spans.append(name))
        monkeypatch.setattr(tracing, "recorder", recorder)
    before, waited = dict(figures.published), sum(figures.publish.counts)
    aged = sum(figures.publish_to_store.counts)

    events = [Event.new("job.1.said", trace=parent) for _ in range(3)]
    all_stored(events, [Ack(1, False), Ack(2, True), Ack(3, False)], time.time() - 1)

    assert figures.published[STORED] - before[STORED] == 2
    assert figures.published[DUPLICATE] - before[DUPLICATE] == 1
    assert sum(figures.publish.counts) - waited == 3
    assert sum(figures.publish_to_store.counts) - aged == 2
    assert spans == ["store"] * (3 if is_traced else 0)
