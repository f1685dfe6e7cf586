"""Tests of thoughts.py: streamed reasoning becomes few events, and no character of it is lost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from router.sdk.adapters.thoughts import LINE_CHARACTERS, MAX_CHARACTERS, Thoughts


@given(st.lists(st.text("ab \n", max_size=60)))
def test_all_that_was_thought_is_emitted_in_its_order(pieces: list[str]) -> None:
    emitted: list[str] = []
    thoughts = Thoughts(emitted.append)

    for piece in pieces:
        thoughts.add(piece)
    thoughts.end()

    assert "".join("".join(emitted).split()) == "".join("".join(pieces).split())
    assert all(each == each.strip() != "" for each in emitted)


def test_a_thought_ends_with_a_line_that_is_long_enough_or_where_it_grows_too_long() -> None:
    emitted: list[str] = []
    thoughts = Thoughts(emitted.append)

    thoughts.add("short\n")
    assert emitted == []
    thoughts.add("x" * LINE_CHARACTERS)
    thoughts.add("\n")
    assert len(emitted) == 1
    thoughts.add("y" * MAX_CHARACTERS)

    assert len(emitted) == 2
