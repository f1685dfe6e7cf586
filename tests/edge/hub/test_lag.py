"""How far readers are behind."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any, cast

from edge.hub import lag
from edge.hub.recent import Recent
from edge.stats import Stats
from edge.types import State
from router.codec import encode
from router.event import Event
from router.layout import FIRST, Layout
from router.position import Position, of_one
from router.record import Record


def reader(position: int, state: State = State.LAGGING, queued: int = 0, session_id: str = "sess_x") -> Any:
    return SimpleNamespace(position=of_one(position), state=state, queued=(queued, 0), session_id=session_id)


def hub() -> Any:
    recent = Recent()
    for n in range(1, 10):
        recent.add(Record(n, "job.a.x", encode(Event.new("job.a.x", {"n": n}))))
    return cast(Any, SimpleNamespace(position=of_one(9), layout=FIRST, readers=[], recent=recent))


def test_a_live_reader_with_nothing_to_write_is_not_behind() -> None:
    assert lag.behind(hub(), reader(4, State.LIVE)) == 0
    assert lag.behind(hub(), reader(4, State.LIVE, queued=1)) == 5
    assert lag.behind(hub(), reader(4)) == 5


def test_after_a_reshard_what_is_left_of_the_former_streams_counts_too() -> None:
    place = hub()
    place.layout = Layout.of([(0, 1), (1, 2), (2, 2)], {0: (9,), 1: (4, 0)})
    place.position = Position(2, (3, 1))

    late = reader(7)
    assert lag.behind(place, late) == 2 + 4 + 4
    late.position = Position(1, (3, 0))
    assert lag.behind(place, late) == 1 + 4
    late.position = Position(2, (1, 1))
    assert lag.behind(place, late) == 2
    # A stretch that is replayed may reach farther than what this process has received.
    late.position = Position(3, (8,))
    assert lag.behind(place, late) == 0


def test_a_session_is_as_far_behind_as_its_last_reader() -> None:
    place = hub()
    place.readers = [reader(7), reader(3), reader(1, session_id="sess_other")]
    found = {"sess_x": Stats(), "sess_quiet": Stats(lag=3, oldest=2.0)}

    lag.measure(place, found)

    assert found["sess_x"].lag == 6 and found["sess_x"].oldest > 0
    assert (found["sess_quiet"].lag, found["sess_quiet"].oldest) == (0, 0.0)


def test_the_age_is_of_the_first_event_behind_a_position() -> None:
    place = hub()

    assert lag.age_behind(place, of_one(3)) > 0
    assert lag.age_behind(place, of_one(9)) == 0.0


def test_of_one_session_alone_it_says_who_reads_it() -> None:
    place = hub()
    place.readers = [reader(7), reader(9, State.LIVE), reader(1, session_id="sess_other")]
    for each in place.readers:
        each.transport_name, each.started = "sse", time.monotonic() - 5
    alone = {"sess_x": Stats()}

    lag.measure(place, alone)
    readers = alone["sess_x"].connections

    assert [(each.state, each.lag) for each in readers] == [("lagging", 2), ("live", 0)]
    assert all(4 < time.time() - each.since < 60 for each in readers)
