"""The record of an alert and its transitions: which are allowed, what they remember, and which events they tell."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.alerts import (
    ACTIONS,
    MAX_HISTORY,
    UNSNOOZE,
    AlertRecord,
    AlertRefused,
    AlertResolved,
    BadPlace,
    Firing,
    act,
    channel_of,
    confirm,
    describe,
    entry_key,
    entry_of,
    events,
    fire,
    place_of,
    read_place,
    resolve,
    subjects,
    wake,
    write_place,
)
from router.event import Event
from router.subject import matches

S = 1_000_000_000
NOW = 1_800_000_000 * S


def firing(at: float = 0, **more: Any) -> Firing:
    cause = Event.new("metric.lab-1.temperature", {"celsius": 91}, id=more.pop("id", None), time_ns=NOW + int(at * S))
    said = {"severity": "warning", "category": "general", "entity": "lab-1", "title": "hot", "value": 91}
    return Firing(**{"rule": "hot", "key": "metric.lab-1", "at": cause.time, "cause": cause, **said, **more})


def fired(**more: Any) -> AlertRecord:
    return fire(None, firing(**more), NOW)


def told(record: AlertRecord) -> list[str]:
    return [str(event.subject) for pending in record.outbox for event in events(pending)]


def test_what_fires_is_a_record_whose_event_waits_in_it() -> None:
    record = fired(id="cause-1")

    assert (record.state, record.count, record.cause_id) == ("firing", 1, "cause-1")
    [event] = events(record.outbox[0])
    assert (event.subject, event.source, event.cause, event.key) == ("alert.hot.firing", "alerts", "cause-1", record.id)
    assert event.id == f"{record.id}.1"
    assert event.data["since"] == "2027-01-15T08:00:00.000000Z"


def test_an_event_that_is_delivered_again_changes_nothing() -> None:
    again = firing(id="cause-1")
    record = fire(None, again, NOW)
    assert fire(record, again, NOW + S) is record

    ended = resolve(record, NOW + 5 * S, NOW + 5 * S, "resolve_when")
    assert ended is not None
    assert fire(ended, again, NOW + 6 * S) is ended
    assert fire(ended, firing(4), NOW + 6 * S) is ended, "an older event than the end"
    assert resolve(ended, NOW + 7 * S, NOW + 7 * S, "resolve_when") is ended


def test_what_a_person_resolved_fires_anew_by_an_event_of_a_producer_whose_clock_is_behind() -> None:
    first = firing(id="cause-1")
    ended = act(fire(None, first, NOW), "resolve", "alice", NOW + 9 * S)

    assert fire(ended, first, NOW + 10 * S) is ended, "delivered again"
    assert fire(ended, firing(-1), NOW + 10 * S) is ended, "older than what it was told by"
    anew = fire(ended, firing(4), NOW + 10 * S)
    assert (anew.state, anew.id != ended.id) == ("firing", True)


def test_a_new_episode_has_another_id_in_the_same_entry_and_keeps_what_was_not_published() -> None:
    record = fired()
    ended = resolve(record, NOW + S, NOW + S, "resolve_when")
    anew = fire(ended, firing(2), NOW + 2 * S)

    assert anew.id != record.id
    assert entry_of(anew.id) == entry_of(record.id) == entry_key("hot", "metric.lab-1")
    assert told(anew) == ["alert.hot.firing", "alert.hot.resolved", "alert.hot.firing"]
    assert len({event.id for pending in anew.outbox for event in events(pending)}) == 3


def test_people_acknowledge_snooze_and_dismiss_and_the_record_says_who_and_when() -> None:
    record = act(fired(), "acknowledge", "alice", NOW + S, "on it")
    assert (record.state, record.history[-1].by, record.history[-1].comment) == ("acknowledged", "alice", "on it")
    assert act(record, "acknowledge", "bob", NOW + 2 * S) is record, "a repeat changes nothing"

    record = act(record, "snooze", "bob", NOW + 2 * S, until=NOW + 60 * S)
    assert (record.state, record.snoozed_until) == ("snoozed", NOW + 60 * S)
    assert wake(record, NOW + 59 * S) is record
    assert wake(record, NOW + 60 * S).state == "firing"

    record = act(record, "dismiss", "carol", NOW + 3 * S)
    assert (record.state, record.snoozed_until) == ("dismissed", None)
    with pytest.raises(AlertRefused, match="dismissed"):
        act(record, "acknowledge", "dave", NOW + 4 * S)
    record = act(record, "resolve", "dave", NOW + 5 * S)
    assert [step.what for step in record.history] == ["fired", "acknowledged", "snoozed", "dismissed", "resolved"]
    assert told(record)[1:] == [f"alert.hot.{state}" for state in ("acknowledged", "snoozed", "dismissed", "resolved")]
    with pytest.raises(AlertResolved):
        act(record, "acknowledge", "eve", NOW + 6 * S)
    assert act(record, "resolve", "eve", NOW + 6 * S) is record


@pytest.mark.parametrize("what", ["acknowledge", "snooze", "dismiss"])
def test_whoever_has_taken_note_is_not_told_again_but_the_count_goes_on(what: str) -> None:
    record = act(fired(), what, "alice", NOW + S, until=NOW + 60 * S)
    before = len(record.outbox)
    record = fire(record, firing(30, count=7), NOW + 30 * S)

    assert (record.count, len(record.outbox)) == (7, before)


def test_a_snooze_needs_a_time_ahead() -> None:
    for until in (None, NOW, NOW - S):
        with pytest.raises(AlertRefused):
            act(fired(), "snooze", "alice", NOW, until=until)


def test_an_event_from_the_future_does_not_keep_an_alert_from_firing_again() -> None:
    record = fire(None, firing(10**9), NOW)
    record = fire(record, firing(5), NOW + 5 * S)
    assert len(record.outbox) == 2
    ended = resolve(record, NOW + 10**9 * S, NOW + 6 * S, "resolve_when")
    assert ended is not None
    assert fire(ended, firing(7), NOW + 7 * S).is_active


def test_an_alert_with_an_audience_is_told_in_each_members_channel_and_nowhere_else() -> None:
    assert subjects("hot", (), "firing") == ("alert.hot.firing",)
    assert subjects("hot", ("alice", "bob@x.org", "alice"), "firing") == (
        "alert._alice.hot.firing",
        "alert._bob=40x=2Eorg.hot.firing",
    )
    assert matches(channel_of("bob@x.org"), subjects("hot", ("bob@x.org",), "firing")[0])
    assert not matches(channel_of("alice"), subjects("hot", ("bob@x.org",), "firing")[0])
    # A reader of all rules by their names, and one of a rule that has a user's name, see nothing of a user's channel.
    for pattern in ("alert.*.firing", "alert.alice.>", "alert.hot.>"):
        assert not matches(pattern, subjects("hot", ("alice",), "firing")[0])

    ids = {event.id for event in events(fired(audience=("alice", "bob")).outbox[0])}
    assert len(ids) == 2


def test_what_was_published_leaves_the_outbox_and_nothing_else_does() -> None:
    record = act(fired(), "acknowledge", "alice", NOW + S)
    left = confirm(record, record.outbox[:1])
    assert left.outbox == record.outbox[1:]
    assert confirm(left, record.outbox[:1]) is left


def test_a_history_is_bounded_and_keeps_its_first_step() -> None:
    record = fired()
    for turn in range(MAX_HISTORY):
        record = confirm(record, record.outbox)
        record = act(record, ("acknowledge", "snooze")[turn % 2], "alice", NOW, until=NOW + (turn + 1) * S)
    assert len(record.history) == MAX_HISTORY
    assert record.history[0].what == "fired"


def test_ids_that_can_be_none_have_no_entry() -> None:
    for odd in ("", "x", "a.b.c", "hot." + "0" * 32, "hot." + "0" * 32 + ".>", "../" + "0" * 32 + "." + "0" * 12):
        assert entry_of(odd) == ""


def test_a_cursor_of_a_list_comes_back_as_it_was_written() -> None:
    record = fired()
    assert read_place(write_place(place_of(record))) == (record.since, record.id)
    for odd in ("", "!", "abc", "MTI"):
        with pytest.raises(BadPlace):
            read_place(odd)


def test_an_alert_is_described_with_its_history_where_it_is_asked_for() -> None:
    record = act(fired(), "snooze", "alice", NOW, until=NOW + S)
    assert "history" not in describe(record)
    [first, second] = describe(record, history=True)["history"]
    assert first == {"what": "fired", "at": "2027-01-15T08:00:00.000000Z"}
    assert (second["by"], second["until"]) == ("alice", "2027-01-15T08:00:01.000000Z")


def test_a_snooze_that_somebody_ends_fires_again_and_its_history_says_who_ended_it() -> None:
    snoozed = act(fired(), "snooze", "alice", NOW, until=NOW + 100 * S)

    woken = act(snoozed, UNSNOOZE, "bob", NOW + S, comment="too early")

    assert (woken.state, woken.snoozed_until, woken.numbered) == ("firing", None, snoozed.numbered + 1)
    assert (woken.history[-1].what, woken.history[-1].by, woken.history[-1].comment) == ("woke", "bob", "too early")
    assert act(woken, UNSNOOZE, "bob", NOW + 2 * S) is woken


MOVES = st.one_of(
    st.tuples(st.just("fire"), st.integers(-5, 20)),
    st.tuples(st.just("end"), st.integers(-5, 20)),
    st.tuples(st.just("wake"), st.integers(0, 20)),
    st.tuples(st.sampled_from((*ACTIONS, UNSNOOZE)), st.integers(0, 20)),
    st.tuples(st.just("publish"), st.just(0)),
)


@given(st.lists(MOVES, max_size=40))
def test_whatever_happens_the_states_follow_one_another_and_each_change_is_told_once(
    moves: list[tuple[str, int]],
) -> None:
    record: AlertRecord | None = None
    published: list[Event] = []
    now = NOW
    for place, (move, at) in enumerate(moves):
        before, now = record, now + S
        try:
            record = _moved(record, move, at, now, place)
        except AlertRefused:
            assert before is not None and before.state in ("resolved", "dismissed") and record is before
        if record is not None and move == "publish":
            published += [event for pending in record.outbox for event in events(pending)]
            record = confirm(record, record.outbox)
        if before is not None and record is not before:
            assert record is not None
            assert before.is_active or record.state in ("firing", "resolved")
            assert (record.state == "snoozed") == (record.snoozed_until is not None)
            if record.id == before.id and record.state != before.state:
                assert record.numbered == before.numbered + 1

    ids = [event.id for event in published]
    assert len(ids) == len(set(ids))
    # Of every episode: firing first, resolved at most once and last.
    episodes: dict[str, list[str]] = {}
    for event in published:
        episodes.setdefault(str(event.key), []).append(event.type)
    for states in episodes.values():
        assert states[0] == "firing"
        assert "resolved" not in states[:-1]


def _moved(record: AlertRecord | None, move: str, at: int, now: int, place: int) -> AlertRecord | None:
    if move == "fire":
        return fire(record, firing((now - NOW) / S + at, id=f"e{place}"), now)
    if record is None or move == "publish":
        return record
    if move == "end":
        return resolve(record, now + at * S, now, "resolve_when")
    if move == "wake":
        return wake(record, now + at * S)
    return act(record, move, "alice", now, until=now + (at + 1) * S)
