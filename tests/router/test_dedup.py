"""Tests of router/dedup.py: names of different publishers never meet, whatever they are called."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from router.broker import Broker
from router.dedup import dedup_id, dedup_ids, of_event
from router.event import Event

parts = st.lists(st.one_of(st.none(), st.integers(), st.text(max_size=20)), min_size=1, max_size=4)


@given(parts, parts)
def test_a_name_is_the_same_exactly_for_the_same_parts(
    one: list[str | int | None], other: list[str | int | None]
) -> None:
    assert (dedup_id(*one) == dedup_id(*other)) == (one == other)


@given(parts, st.lists(st.tuples(st.sampled_from(["job.1.a", "job.1.b"]), st.text(max_size=20))))
def test_names_that_are_made_together_are_those_made_one_by_one(
    scope: list[str | int | None], names: list[tuple[str, str]]
) -> None:
    assert dedup_ids(scope, names) == [dedup_id(*scope, subject, id) for subject, id in names]


async def test_events_of_two_sources_or_subjects_with_one_id_are_both_stored(broker: Broker, entity: str) -> None:
    events = [
        Event.new(f"job.{entity}.{kind}", source=source, id="1") for kind in ("done", "failed") for source in ("a", "b")
    ]

    acks = [await broker.publish(event) for event in events]
    repeats = [await broker.publish(event) for event in events]

    assert len({ack.sequence for ack in acks}) == 4 and not any(ack.duplicate for ack in acks)
    assert [repeat.sequence for repeat in repeats] == [ack.sequence for ack in acks]
    assert all(repeat.duplicate for repeat in repeats)
    assert len({of_event(event) for event in events}) == 4
