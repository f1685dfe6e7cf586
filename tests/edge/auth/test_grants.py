"""What grants allow, and what views show within them, held against every subject there could be."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.auth.grants import Grants
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
