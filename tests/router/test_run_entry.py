"""Tests of router/run_entry.py."""

from __future__ import annotations

import msgspec
import pytest

from router.codec import decode, encode
from router.errors import RunBusy, RunSuperseded
from router.event import Event
from router.run_entry import MAX_CLAIM, MAX_EARLIER, RunEnd, RunEntry, StopRequest, bounded, next_life, run_ended, take

END = RunEnd("e-1", "completion", "failed", 7, synthesized=True, dedup="d-1", stored=True, sequence=12)


def test_a_next_life_remembers_how_the_one_before_ended() -> None:
    entry = RunEntry("one", 1, ended=END, stop=StopRequest(5))

    after = next_life(entry, "two", 9, False, None)

    assert (after.incarnation, after.started, after.ended, after.stop) == ("two", 9, None, None)
    assert after.was("one") and not after.was("two") and not after.was(None)
    assert (after.earlier[0].dedup, after.earlier[0].sequence) == ("d-1", 12)
    assert next_life(entry, "two", 9, True, 10.0).stop == StopRequest(5)


def test_a_life_that_waits_for_the_end_of_the_one_before_is_refused_until_then() -> None:
    living = RunEntry("one", 1, lease=10.0)
    over = RunEntry("one", 1, lease=10.0, ended=END)

    assert take(None, "two", 9, 5.0) == RunEntry("two", 9, lease=5.0)
    assert take(living, "one", 1, 5.0) is None
    for name in ("one", "two"):
        with pytest.raises(RunBusy):
            take(living, name, 9, 5.0)
    with pytest.raises(RunSuperseded):
        take(over, "one", 9, 5.0)
    taken = take(over, "two", 9, 5.0)
    assert taken is not None and (taken.incarnation, taken.lease, taken.was("one")) == ("two", 5.0, True)
    with pytest.raises(RunSuperseded):
        take(taken, "one", 9, 5.0)
    # Nothing tells whether these live.
    assert take(RunEntry("one", 1), "two", 9, 5.0) == next_life(RunEntry("one", 1), "two", 9, False, 5.0)
    assert take(RunEntry(None, 1, stop=StopRequest(5)), "two", 9, 5.0) is not None


def test_few_earlier_lives_are_kept_the_newest() -> None:
    entry = RunEntry("0")
    for n in range(1, 20):
        entry = next_life(entry, str(n), n, False, None)

    assert [life.incarnation for life in entry.earlier] == [str(n) for n in range(19 - MAX_EARLIER, 19)]


def test_an_entry_is_small_once_its_end_is_stored() -> None:
    assert len(msgspec.json.encode(RunEntry("1a2b3c4d", 1_790_000_000_000_000_000, ended=END))) < 200


def test_what_is_kept_of_an_end_is_bounded_and_an_event() -> None:
    small = Event.new("agent.x.completion", {"result": "r"})
    large = Event.new("agent.x.completion", {"result": "r" * MAX_CLAIM, "success": False, "error": {"not": "a text"}})

    assert bounded(small, encode(small)) == encode(small)
    kept = decode(bounded(large, encode(large)))
    assert (kept.id, kept.data) == (large.id, {"success": False, "truncated": True})


def test_who_comes_after_an_end_learns_of_it() -> None:
    error = run_ended(END)

    assert (error.event, error.status, error.at, error.synthesized) == ("e-1", "failed", 7, True)
