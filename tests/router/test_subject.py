"""Addresses: what is a subject, what a pattern matches, and that no id can break out of its token."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import BadPattern, BadSubject
from router.subject import (
    Subject,
    check_pattern,
    common,
    contains,
    covers,
    distinct,
    escape,
    matches,
    meet,
    overlap,
    unescape,
)

TOKEN = st.from_regex(r"[A-Za-z0-9_-]{1,4}", fullmatch=True)
SUBJECTS = st.lists(st.sampled_from(["a", "b", "c"]), min_size=3, max_size=5).map(".".join)
PATTERNS = st.tuples(
    st.lists(st.sampled_from(["a", "b", "*"]), min_size=0, max_size=4), st.sampled_from(["a", "*", ">"])
).map(lambda parts: ".".join([*parts[0], parts[1]]))
# Every subject of three to six tokens there could be; `z` stands for all the tokens that nobody names.
ALL_SUBJECTS = [".".join(tokens) for length in (3, 4, 5, 6) for tokens in itertools.product("abz", repeat=length)]
OPEN_PATTERNS = st.builds(
    lambda tokens, open_ended: ".".join([*tokens, *([">"] if open_ended else [])]) or ">",
    st.lists(st.sampled_from(["a", "b", "*"]), max_size=4),
    st.booleans(),
)
SEVERAL = st.lists(OPEN_PATTERNS, max_size=4)


@given(st.text())
def test_any_text_becomes_one_token_and_comes_back(text: str) -> None:
    token = escape(text)

    assert "." not in token and "*" not in token and ">" not in token and " " not in token and token
    assert unescape(token) == text


@given(st.text(), st.text())
def test_two_ids_never_share_a_token(one: str, other: str) -> None:
    assert (escape(one) == escape(other)) == (one == other)


def test_an_id_with_dots_and_wildcards_cannot_shift_the_address() -> None:
    subject = Subject.of("agent", "a.b.*.>", "progress")

    assert subject.count(".") == 2
    assert subject.domain == "agent"
    assert unescape(subject.entity) == "a.b.*.>"


@pytest.mark.parametrize(
    "text", ["", "agent", "agent.x", "agent..progress", ".a.b", "a.b.", "a b.c.d", "a.*.c", "a.b.>", "é.b.c", "a.b.c\n"]
)
def test_what_is_no_subject_is_refused(text: str) -> None:
    with pytest.raises(BadSubject):
        Subject.check(text)


def test_a_subject_longer_than_255_or_deeper_than_16_is_refused() -> None:
    with pytest.raises(BadSubject):
        Subject.check("a.b." + "c" * 252)
    with pytest.raises(BadSubject):
        Subject.check(".".join("a" * 17))


@pytest.mark.parametrize("text", ["", "a..b", ">.a", "a.>.b", "a.b*", "a b", ".", "a.b.", ".a"])
def test_what_is_no_pattern_is_refused(text: str) -> None:
    with pytest.raises(BadPattern):
        check_pattern(text)


@pytest.mark.parametrize(
    ("pattern", "subject", "expected"),
    [
        (">", "a.b.c", True),
        ("a.>", "a.b.c", True),
        ("a.b.c.>", "a.b.c", False),
        ("a.*.c", "a.b.c", True),
        ("*.*", "a.b.c", False),
        ("a.b.c", "a.b.c", True),
        ("a.b", "a.b.c", False),
    ],
)
def test_patterns_match_by_the_rules_of_nats(pattern: str, subject: str, expected: bool) -> None:
    assert matches(pattern, subject) is expected


@given(PATTERNS, PATTERNS, SUBJECTS)
def test_a_pattern_that_covers_another_matches_whatever_the_other_does(wide: str, narrow: str, subject: str) -> None:
    if covers(wide, narrow) and matches(narrow, subject):
        assert matches(wide, subject)


@given(PATTERNS, PATTERNS, SUBJECTS)
def test_patterns_that_share_a_subject_overlap(one: str, other: str, subject: str) -> None:
    if matches(one, subject) and matches(other, subject):
        assert overlap(one, other)


@given(st.lists(PATTERNS, min_size=1, max_size=6), SUBJECTS)
def test_distinct_patterns_take_what_all_took(patterns: list[str], subject: str) -> None:
    kept = distinct(patterns)

    assert any(matches(p, subject) for p in patterns) == any(matches(p, subject) for p in kept)
    assert not any(p != q and covers(q, p) for p in kept for q in kept)


def _under(some: list[str] | tuple[str, ...]) -> set[str]:
    return {subject for subject in ALL_SUBJECTS if any(matches(pattern, subject) for pattern in some)}


@given(SEVERAL, OPEN_PATTERNS)
def test_a_pattern_is_held_by_others_exactly_where_all_its_subjects_are(wide: list[str], pattern: str) -> None:
    inside = _under([pattern]) <= _under(wide)

    if contains(wide, pattern):
        assert inside
    elif len(pattern.split(".")) >= 3 or pattern.endswith(">"):
        # Patterns of one or two tokens have no subjects at all; those are refused, though nothing would be seen.
        assert not inside


@given(OPEN_PATTERNS, OPEN_PATTERNS)
def test_what_two_patterns_have_in_common_is_one_pattern(one: str, other: str) -> None:
    both = meet(one, other)

    assert _under([both] if both else []) == _under([one]) & _under([other])
    assert (meet(other, one) is None) == (both is None)


@given(SEVERAL, SEVERAL)
def test_what_two_lists_have_in_common_is_a_list(ones: list[str], others: list[str]) -> None:
    assert _under(common(ones, others)) == _under(ones) & _under(others)


def test_a_union_may_hold_what_none_of_it_holds() -> None:
    assert contains(["a.*.*", "a.*.*.>"], "a.>")
    assert not contains(["a.*.*", "a.*.*.*.>"], "a.>")
    assert contains([">"], ">") and contains(["*.>"], ">") and not contains(["*.*.*"], ">")
    assert not contains([], ">") and not contains([], "a.b.c")
