"""The events and figures of the filters benchmark."""

from __future__ import annotations

import statistics

from ops.bench.filters import _messages, _p99
from router.subject import STORED


def test_events_are_one_write_with_as_many_messages_as_asked_for() -> None:
    whole = _messages(3, 10)

    assert whole.count(b"PUB " + STORED.encode() + b"job.heavy.output ") == 3
    assert len(_messages(3, 20)) > len(whole)


def test_the_99th_percentile_of_one_figure_is_that_figure() -> None:
    assert _p99([7.0]) == 7.0
    times = [float(n) for n in range(1, 101)]
    assert statistics.median(times) < _p99(times) <= 100.0
