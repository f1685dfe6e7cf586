"""What is known to show nothing is skipped, for the view it is known of, and within bounds."""

from __future__ import annotations

from edge.filters.idle import IdleStretches
from edge.view import View


def test_a_known_stretch_is_skipped_by_equal_views_only() -> None:
    idle = IdleStretches()
    view = View.of("s", ["job.*.*"], None, "data.n == 1")

    idle.note(view, 10, 50)
    idle.note(view, 10, 40)

    assert idle.skip(View.of("other", ["job.*.*"], None, "data.n == 1"), 10) == 50
    assert idle.skip(View.of("s", ["job.*.*"], None, "data.n == 2"), 10) == 10
    assert idle.skip(view, 11) == 11


def test_the_least_recently_used_place_is_forgotten_first() -> None:
    idle = IdleStretches(most=2)
    view = View.of("s", None, None, None)
    for after in (1, 2):
        idle.note(view, after, 100)
    idle.skip(view, 1)

    idle.note(view, 3, 100)

    assert [idle.skip(view, after) for after in (1, 2, 3)] == [100, 2, 100]


def test_after_a_new_life_of_the_stream_nothing_is_skipped() -> None:
    idle = IdleStretches()
    view = View.of("s", None, None, None)
    idle.note(view, 1, 9)

    idle.clear()

    assert idle.skip(view, 1) == 1
