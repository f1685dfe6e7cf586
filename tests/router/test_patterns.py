from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from router.patterns import Patterns, Widest
from router.subject import covers, distinct, matches, overlap

TOKENS = st.sampled_from(["a", "b", "c"])
SUBJECTS = st.lists(TOKENS, min_size=1, max_size=5).map(".".join)
PATTERNS = st.builds(
    lambda tokens, rest: ".".join([*tokens, *rest]),
    st.lists(st.sampled_from(["a", "b", "c", "*"]), max_size=4),
    st.sampled_from([[], [">"]]),
).filter(bool)


@given(st.lists(st.tuples(PATTERNS, st.booleans()), max_size=30), SUBJECTS, PATTERNS)
def test_what_is_found_is_what_comparing_with_each_pattern_finds(
    changes: list[tuple[str, bool]], subject: str, other: str
) -> None:
    patterns: Patterns[str] = Patterns()
    kept: set[str] = set()
    for pattern, adds in changes:
        if adds:
            patterns.set(pattern, pattern)
            kept.add(pattern)
        else:
            assert patterns.remove(pattern) == (pattern if pattern in kept else None)
            kept.discard(pattern)

    assert len(patterns) == len(kept)
    assert all(patterns.get(pattern) == pattern for pattern in kept)
    assert (patterns.get(other) is not None) == (other in kept)
    assert sorted(patterns.matching(subject)) == sorted(each for each in kept if matches(each, subject))
    assert sorted(patterns.covering(other)) == sorted(each for each in kept if covers(each, other))
    assert sorted(patterns.covered(other)) == sorted(each for each in kept if covers(other, each))
    assert sorted(patterns.overlapping(other)) == sorted(each for each in kept if overlap(each, other))


@given(st.lists(PATTERNS, max_size=20))
def test_nothing_is_left_of_patterns_that_are_removed(chosen: list[str]) -> None:
    patterns: Patterns[int] = Patterns()
    for pattern in chosen:
        patterns.set(pattern, 1)

    for pattern in set(chosen):
        assert patterns.remove(pattern) == 1

    assert len(patterns) == 0 and patterns._root.is_empty


@given(
    st.lists(
        st.tuples(st.sampled_from(["a.b", "a.c", "a.*", "a.>", "*.b", "b.>", ">", "a.b.c"]), st.booleans()), max_size=40
    )
)
def test_the_widest_of_the_wanted_patterns_are_those_that_no_other_covers(changes: list[tuple[str, bool]]) -> None:
    widest = Widest()
    wanted: Counter[str] = Counter()
    for pattern, adds in changes:
        before = set(widest.found)
        if adds:
            came, gone = widest.add(pattern)
            wanted[pattern] += 1
        elif wanted[pattern]:
            came, gone = widest.remove(pattern)
            wanted[pattern] -= 1
        else:
            continue

        assert widest.found == set(distinct(+wanted))
        assert widest.found == (before - set(gone)) | set(came)
