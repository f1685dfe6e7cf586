"""How far EVENTS reaches."""

from __future__ import annotations

from router.events_state import EventsState, StreamState, of_stream
from router.layout import Layout, generation
from router.position import Position, of_one


def test_of_one_stream_it_says_what_that_says() -> None:
    state = of_stream(StreamState("0badcafe", 3, 9, 7, 0))

    assert (state.epoch, state.begin, state.last) == ("0badcafe", of_one(2), of_one(9))
    assert of_stream(StreamState("0badcafe", 0, 0, 0, 0)).begin == of_one(0)


def test_of_several_generations_it_begins_with_the_oldest_and_ends_with_the_newest() -> None:
    layout = Layout((generation(0, ends=(9,)), generation(1, 2).with_epochs(["a", "b"])))
    state = EventsState(layout, (of_one(2), Position(1, (0, 0))), (of_one(9), Position(1, (4, 5))))

    assert (state.epoch, state.begin, state.last) == ("a,b", of_one(2), Position(1, (4, 5)))
    assert (state.begin_of(1), state.last_of(0)) == (Position(1, (0, 0)), of_one(9))
