"""What is known to show nothing is skipped, for the view it is known of, and within bounds."""

from __future__ import annotations

from edge.filters.idle import IdleStretches
from edge.view import View
from router.position import of_one


def test_a_known_stretch_is_skipped_by_equal_views_only() -> None:
    idle = IdleStretches()
    view = View.of("s", ["job.*.*"], None, "data.n == 1")

    idle.note(view, of_one(10), of_one(50))
    idle.note(view, of_one(10), of_one(40))

    assert idle.skip(View.of("other", ["job.*.*"], None, "data.n == 1"), of_one(10)) == of_one(50)
    assert idle.skip(View.of("s", ["job.*.*"], None, "data.n == 2"), of_one(10)) == of_one(10)
    assert idle.skip(view, of_one(11)) == of_one(11)


def test_the_least_recently_used_place_is_forgotten_first() -> None:
    idle = IdleStretches(most=2)
    view = View.of("s", None, None, None)
    for after in (1, 2):
        idle.note(view, of_one(after), of_one(100))
    idle.skip(view, of_one(1))

    idle.note(view, of_one(3), of_one(100))

    assert [idle.skip(view, of_one(after)) for after in (1, 2, 3)] == [of_one(100), of_one(2), of_one(100)]


def test_after_a_new_life_of_the_stream_nothing_is_skipped() -> None:
    idle = IdleStretches()
    view = View.of("s", None, None, None)
    idle.note(view, of_one(1), of_one(9))

    idle.clear()

    assert idle.skip(view, of_one(1)) == of_one(1)
