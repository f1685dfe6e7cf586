"""How the servers of the fan-out benchmark are compared."""

from __future__ import annotations

from ops.bench.fanout import LANE, PEER, _row


def test_a_ratio_is_the_median_of_those_of_neighbours() -> None:
    runs = {LANE: [10.0, 30.0, 20.0], PEER: [5.0, 10.0, 20.0]}

    ours, theirs = _row("sse", 1, LANE, runs[LANE], runs), _row("sse", 10, PEER, runs[PEER], runs)

    assert ours.note == f"2.00x {PEER}" and "one per tick" in ours.what
    assert theirs.note == "" and "bursts of 10" in theirs.what
