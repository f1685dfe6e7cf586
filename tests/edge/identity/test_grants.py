"""What contains what: patterns against patterns, held against every subject there could be."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.identity.grants import Grants, common, contains, meet
from edge.view import View
from router.errors import BadPattern
from router.subject import matches

# `z` stands for all the tokens that nobody names.
SUBJECTS = [".".join(tokens) for length in (3, 4, 5, 6) for tokens in itertools.product("abz", repeat=length)]

patterns = st.builds(
    lambda tokens, open_ended: ".".join([*tokens, *([">"] if open_ended else [])]) or ">",
    st.lists(st.sampled_from(["a", "b", "*"]), max_size=4),
    st.booleans(),
)
several = st.lists(patterns, max_size=4)


def _under(some: list[str] | tuple[str, ...]) -> set[str]:
    return {subject for subject in SUBJECTS if any(matches(pattern, subject) for pattern in some)}


@given(several, patterns)
def test_a_pattern_is_granted_exactly_where_all_its_subjects_are(granted: list[str], pattern: str) -> None:
    inside = _under([pattern]) <= _under(granted)

    if contains(granted, pattern):
        assert inside
    elif len(pattern.split(".")) >= 3 or pattern.endswith(">"):
        # Patterns of one or two tokens have no subjects at all; those are refused, though nothing would be seen.
        assert not inside


@given(patterns, patterns)
def test_what_two_patterns_have_in_common_is_one_pattern(one: str, other: str) -> None:
    both = meet(one, other)

    assert _under([both] if both else []) == _under([one]) & _under([other])
    assert (meet(other, one) is None) == (both is None)


@given(several, several)
def test_what_two_lists_have_in_common_is_a_list(ones: list[str], others: list[str]) -> None:
    assert _under(common(ones, others)) == _under(ones) & _under(others)


@given(several.filter(bool), several)
def test_a_view_within_grants_shows_what_both_show(asked: list[str], granted: list[str]) -> None:
    view = View.of("sess_x", asked, None, None)
    within = view.within(tuple(granted))

    assert {s for s in SUBJECTS if within.admits(s, "x")} == _under(asked) & _under(granted)


@given(several, several)
def test_a_view_without_subjects_shows_what_is_granted_twice(granted: list[str], to_the_reader: list[str]) -> None:
    view = View.of("sess_x", None, None, None, granted=tuple(granted)).within(tuple(to_the_reader))
    own, foreign = "session.sess_x.test", "session.sess_y.test"

    assert {s for s in SUBJECTS if view.admits(s, "x")} == _under(granted) & _under(to_the_reader)
    assert view.admits(own, "x") and not view.admits(foreign, "x")
    assert any(matches(pattern, own) for pattern in view.patterns)


def test_a_union_may_hold_what_none_of_it_holds() -> None:
    assert contains(["a.*.*", "a.*.*.>"], "a.>")
    assert not contains(["a.*.*", "a.*.*.*.>"], "a.>")
    assert contains([">"], ">") and contains(["*.>"], ">") and not contains(["*.*.*"], ">")
    assert not contains([], ">") and not contains([], "a.b.c")


def test_a_view_that_leaves_nothing_out_is_the_same_and_shares_its_feed() -> None:
    view = View.of("sess_x", ["job.>"], None, None)

    assert view.within(("job.>", "agent.>")) is view
    assert View.of("sess_x", None, None, None).within((">",)).patterns == (">",)


@pytest.mark.parametrize("pattern", ["", "a..b", ">.a", "a.>.b", "a b", "a.\r\nb", "é", "a." * 20 + "b", "x" * 300])
def test_a_grant_that_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(BadPattern):
        Grants.of([pattern])


def test_grants_say_what_is_allowed_and_nothing_else_is() -> None:
    grants = Grants.of(["a.>"], ["b.*.c"], ["camera.main.*"])

    assert grants.may_read("a.b.c") and not grants.may_read("b.x.c")
    assert grants.may_publish("b.x.c") and not grants.may_publish("a.b.c")
    assert grants.may_command("camera.main.set_fps") and not grants.may_command("camera.other.set_fps")
    assert not grants.operate and not Grants().may_read("a.b.c")
