"""What is counted of a publish."""

from __future__ import annotations

import pytest

from router.errors import Conflict, Forbidden, Refused, Timeout
from router.event import Event
from router.nats.counters import DUPLICATE, REFUSED, STORED, TIMEOUT, figures
from router.nats.stream import Ack
from router.publication import Publication

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
