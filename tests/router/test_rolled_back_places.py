"""A cursor of a log that was rolled back leads exactly on, or to a gap: for each length of what is kept, lost and new."""

from __future__ import annotations

import secrets
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from router.beginning import Beginnings
from router.broker import Broker
from router.cursor import UNKNOWN, Cursor, Start, check_of
from router.event import Event
from router.events_state import of_stream
from router.position import of_one
from router.record import Record
from router.replay import Replay
from router.subject import Subject


class Case(NamedTuple):
    """The former life had `kept` records that are still there and `lost` others; a client had come to its `place`-th."""

    kept: int
    lost: int
    place: int


CASES = st.integers(0, 12).flatmap(
    lambda kept: st.integers(0, 20).flatmap(
        lambda lost: st.builds(Case, st.just(kept), st.just(lost), st.integers(0, kept + lost))
    )
)


async def _records(broker: Broker) -> list[Record]:
    entity = f"t{secrets.token_hex(5)}"
    before = (await broker.state()).last
    for n in range(12):
        await broker.publish(Event.new(Subject.of("job", entity, "output"), {"n": n}))
    return (await broker.read(">", before)).records


async def test_a_resume_against_a_rolled_back_log_goes_on_exactly_or_tells_a_gap(broker: Broker) -> None:
    records = await _records(broker)
    state = await broker.state()
    first = records[0].sequence - 1
    places = Beginnings(broker, Replay(broker))
    cases: list[Case] = []

    @settings(max_examples=300)
    @given(CASES)
    def collect(case: Case) -> None:
        cases.append(case)

    collect()
    for case in cases:
        sequence = first + case.place
        is_kept = case.place <= case.kept
        if case.place == 0:
            check = UNKNOWN
        elif is_kept:
            check = records[case.place - 1].check
        else:
            check = check_of(f"another event at {sequence}".encode())

        place = await places.place(Start(cursor=Cursor(state.epoch, sequence, check)), (">",), of_stream(state))

        if is_kept:
            assert place == (of_one(sequence), None), case
        else:
            assert place.gap is not None and place.gap.reset, case
            if sequence <= state.last:
                assert place.after == of_one(state.first - 1)


async def test_a_place_whose_event_is_not_kept_and_one_without_a_check_are_believed(broker: Broker) -> None:
    records = await _records(broker)
    state = await broker.state()
    places = Beginnings(broker, Replay(broker))
    last = records[-1].sequence

    start = Start(cursor=Cursor(state.epoch, last))
    assert await places.place(start, (">",), of_stream(state)) == (of_one(last), None)
    await broker.connection.api("STREAM.MSG.DELETE.EVENTS", {"seq": records[3].sequence})
    gone = Cursor(state.epoch, records[3].sequence, 1)
    assert await places.place(Start(cursor=gone), (">",), of_stream(state)) == (of_one(gone.sequence), None)


async def test_what_is_asked_while_the_store_may_be_another_is_not_remembered(broker: Broker) -> None:
    records = await _records(broker)
    checks = Replay(broker).checks

    assert await checks.find(records[0].sequence) == records[0].check
    checks.note(records[1].sequence, 7)
    checks.clear()
    assert checks.known(records[0].sequence) == checks.known(records[1].sequence) == UNKNOWN
    assert await checks.find(records[1].sequence) == records[1].check
