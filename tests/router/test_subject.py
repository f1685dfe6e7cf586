"""Addresses: what is a subject, what a pattern matches, and that no id can break out of its token."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import BadPattern, BadSubject
from router.subject import Subject, check_pattern, covers, distinct, escape, matches, overlap, unescape

TOKEN = st.from_regex(r"[A-Za-z0-9_-]{1,4}", fullmatch=True)
SUBJECTS = st.lists(st.sampled_from(["a", "b", "c"]), min_size=3, max_size=5).map(".".join)
PATTERNS = st.tuples(
    st.lists(st.sampled_from(["a", "b", "*"]), min_size=0, max_size=4), st.sampled_from(["a", "*", ">"])
).map(lambda parts: ".".join([*parts[0], parts[1]]))


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
