"""Conflation: what may be left out is, the rest is untouched, and the cursor stays true."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge.dialects.callback import callback
from edge.hub.conflation import conflate
from router.catalogue import Delivery
from router.codec import encode, from_json
from router.event import Event
from router.record import Record

KINDS = st.tuples(st.sampled_from(["a", "b"]), st.sampled_from(["progress", "token", "output"]))


def _record(sequence: int, entity: str, kind: str) -> Record:
    event = Event.new(f"job.{entity}.{kind}", {"n": sequence, "text": f"<{sequence}>"})
    return Record(sequence, event.subject, encode(event))


@given(st.lists(KINDS, max_size=30), st.integers(0, 30))
def test_nothing_but_superseded_events_is_left_out(kinds: list[tuple[str, str]], cut: int) -> None:
    records = [_record(n, *kind) for n, kind in enumerate(kinds, 1)]

    # Conflating in two steps, as a mailbox does, keeps the same promises.
    kept = conflate(conflate(records[:cut]) + records[cut:])

    assert [r.sequence for r in kept] == sorted(r.sequence for r in kept)
    assert sum(1 + r.superseded for r in kept) == len(records)
    if records:
        assert max(r.sequence for r in kept) == records[-1].sequence
    for record in records:
        event = record.event
        assert event is not None
        if event.delivery is Delivery.LOG:
            assert record.sequence in [r.sequence for r in kept]
    latest = [r.event.conflation_key for r in kept if r.event and r.event.delivery is Delivery.LATEST]
    assert len(latest) == len(set(latest))
    for entity in "ab":
        said = "".join(f"<{n}>" for n, kind in enumerate(kinds, 1) if kind == (entity, "token"))
        read = "".join(r.event.data["text"] for r in kept if r.event and r.event.subject == f"job.{entity}.token")
        assert read == said


def test_a_thousand_updates_of_one_bar_become_the_newest_and_say_so() -> None:
    (one,) = conflate([_record(n, "a", "progress") for n in range(1, 1001)])

    assert (one.sequence, one.superseded) == (1000, 999)
    assert from_json(callback(one, "0badcafe"))["conflated"] == 999


def test_a_shared_record_is_not_changed() -> None:
    records = [_record(n, "a", "progress") for n in (1, 2)]
    before = callback(records[1], "0badcafe")

    (kept,) = conflate(records)

    assert kept is not records[1]
    assert callback(records[1], "0badcafe") == before and b"conflated" not in before


FIGURES = st.tuples(st.sampled_from("ab"), st.integers(-20, 20), st.booleans())


@given(st.lists(FIGURES, max_size=30), st.integers(0, 30), st.integers(0, 30))
def test_the_deltas_of_a_window_are_added_however_it_is_cut(
    said: list[tuple[str, int, bool]], one: int, other: int
) -> None:
    records = []
    for n, (campaign, clicks, test) in enumerate(said, 1):
        data = {"metrics": {"clicks": n}, "change": {"clicks": clicks}}
        event = Event.new(f"metric.{campaign}.campaign_metrics", data, test=test)
        records.append(Record(n, event.subject, encode(event)))
    first, second = sorted((one, other))

    whole = conflate(records)
    in_parts = conflate(conflate(conflate(records[:first]) + records[first:second]) + records[second:])

    def shown(kept: list[Record]) -> list[tuple[int, int, object]]:
        return [(record.sequence, record.superseded, record.event and record.event.data) for record in kept]

    assert shown(whole) == shown(in_parts)
    for campaign in "ab":
        for test in (False, True):
            ours = [r.event for r in whole if r.event and r.event.subject.entity == campaign and r.event.test is test]
            told = [(n, clicks) for n, (name, clicks, flag) in enumerate(said, 1) if (name, flag) == (campaign, test)]
            assert [event.data for event in ours] == (
                [{"metrics": {"clicks": told[-1][0]}, "change": {"clicks": sum(clicks for _, clicks in told)}}]
                if told
                else []
            )


def test_metrics_of_one_subject_are_conflated_each_for_itself() -> None:
    records = []
    for n, metric in enumerate(("ctr", "roas", "ctr"), 1):
        event = Event.new("metric.c1.live_metric_update", {"metric": metric, "value": n, "delta": n})
        records.append(Record(n, event.subject, encode(event)))

    kept = conflate(records)

    assert [(r.sequence, r.event and r.event.data["delta"]) for r in kept] == [(2, 2), (3, 4)]
    # The cursor is that of what is stored there, not of what was made of it.
    assert kept[1].check == records[2].check
