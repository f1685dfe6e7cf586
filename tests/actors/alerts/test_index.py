"""The rules that look at an event."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from actors.alerts.index import RuleIndex
from router.subject import matches


@dataclass(frozen=True)
class Looks:
    order: int
    subjects: tuple[str, ...]
    types: tuple[str, ...] = ()


token = st.sampled_from(["a", "b", "c"])
pattern = st.builds(
    lambda tokens, rest: ".".join([*tokens, *rest]),
    st.lists(st.one_of(token, st.just("*")), min_size=1, max_size=4),
    st.sampled_from([[], [">"]]),
)
rules = st.lists(
    st.tuples(
        st.lists(pattern, min_size=1, max_size=3).map(tuple), st.lists(st.sampled_from("xyz"), max_size=2).map(tuple)
    ),
    max_size=20,
)


@settings(max_examples=200)
@given(rules, st.lists(token, min_size=3, max_size=5), st.sampled_from("xyz"), st.data())
def test_the_index_finds_what_a_scan_of_all_rules_finds(
    made: list[tuple[tuple[str, ...], tuple[str, ...]]], tokens: list[str], type: str, data: st.DataObject
) -> None:
    every = [Looks(order, *each) for order, each in enumerate(made)]
    gone = data.draw(st.sets(st.sampled_from(every))) if every else set()
    subject = ".".join(tokens)

    index = RuleIndex(every)
    for each in gone:
        index.remove(each)

    assert index.find(subject, type) == [
        each
        for each in every
        if each not in gone
        and any(matches(one, subject) for one in each.subjects)
        and (not each.types or type in each.types)
    ]
