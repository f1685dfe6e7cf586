"""Tests of router/filter.py: what filters select, and that neither a text nor data ends the process."""

from __future__ import annotations

import asyncio
import threading
import time
from functools import reduce
from operator import or_
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.errors import BadFilter
from router.event import Event
from router.filter import Activation, Expression, Filter, work
from router.filter_scan import MAX_NESTING

PROGRESS = Event.new(
    "agent.run-42.progress",
    {"progress": 42, "step": {"name": "sort", "n": 3}, "tags": ["gpu", "fast"], "odd key": 7},
    source="sdk",
    time_ns=1_700_000_000_123_456_789,
)


def matches(text: str, event: Event = PROGRESS) -> bool:
    return Filter.compile(text).matches(event)


def event(data: dict[Any, Any]) -> Event:
    return Event.new("agent.run-42.progress", data)


@pytest.mark.parametrize(
    "text",
    [
        "true",
        "type == 'progress'",
        "domain == 'agent' && entity == 'run-42' && source == \"sdk\"",
        "subject.startsWith('agent.')",
        "data.progress > 40",
        "data['progress'] == 42.0",
        'data["odd key"] == 7',
        "data.step.name == 'sort' ? data.step.n == 3 : false",
        "'gpu' in data.tags",
        "data.tags.exists(t, t.startsWith('g'))",
        "data.tags.all(t, size(t) > 2) && data.tags.exists_one(t, t == 'fast')",
        "has(data.progress) && !has(data.total)",
        "size(data) == 4",
        "data.nothing == 1 || true",
        "key == null && cause == null && !test",
        "time > timestamp('2023-11-14T00:00:00Z') && time.getFullYear() == 2023",
        "entity.matches('^run-[0-9]+$')",
        "type == 'progress' // only these",
        "type in ['progress', 'completion']\n  && data.progress < 100",
        r"'\'(((' != type",
    ],
)
def test_a_filter_says_which_events_are_meant(text: str) -> None:
    assert matches(text)


@pytest.mark.parametrize(
    "text",
    [
        "data.nothing == 1",
        "data.nothing.deeper == 1",
        "data.progress > 'forty'",
        "data.progress + 1",
        "data",
        "type",
        "null",
        "1 / 0 == 1",
        "9223372036854775807 + data.progress > 0",
        "data.tags[7] == 'x'",
        "data.progress.exists(x, x == 1)",
        "int(source) == 1",
        "duration('nonsense') < duration('1s')",
    ],
)
def test_a_missing_field_a_wrong_type_and_what_is_no_truth_mean_no(text: str) -> None:
    assert matches(text) is False


def test_a_fault_while_matching_is_counted_and_remembered() -> None:
    wanted = Filter.compile("data.total > 1")

    assert not wanted.matches(Activation(PROGRESS))
    assert not wanted.matches(Activation(PROGRESS))

    assert wanted.faults == 2
    assert wanted.last_fault is not None and "total" in wanted.last_fault


@pytest.mark.parametrize(
    "text",
    [
        "(" * MAX_NESTING + "true" + ")" * MAX_NESTING,
        "[" * MAX_NESTING + "1" + "]" * MAX_NESTING + " == data.l",
        "!" * 480 + "true",
        "- " * 480 + "1 < 1",
        "true" + " && true" * 240,
        "1" + "<1" * 240,
        "data" + ".a" * 240,
        "true ? true : " * 20 + "true",
        "data" + "[0]" * 160,
    ],
)
def test_the_largest_expression_that_is_taken_fits_a_small_stack(text: str) -> None:
    """An overflow of the native stack would end the process, and this test with it."""
    outcomes: list[str] = []

    def attempt() -> None:
        try:
            Filter.compile(text).matches(PROGRESS)
            outcomes.append("taken")
        except BadFilter:
            outcomes.append("refused")

    before = threading.stack_size(512 * 1024)
    try:
        thread = threading.Thread(target=attempt)
        thread.start()
        thread.join()
    finally:
        threading.stack_size(before)

    assert len(outcomes) == 1


@pytest.mark.parametrize("make", [lambda inner: [inner], lambda inner: {"a": inner}])
def test_data_nested_too_deeply_matches_nothing_and_ends_nothing(make: Any) -> None:
    data: Any = 1
    for _ in range(50_000):
        data = make(data)
    wanted = Filter.compile("data.deep == data.deep")

    assert not wanted.matches(event({"deep": data}))

    assert wanted.last_fault is not None and "nested deeper" in wanted.last_fault
    while isinstance(data, (list, dict)):  # taken apart level by level
        data = data[0] if isinstance(data, list) else data["a"]


def test_only_the_fields_that_a_filter_names_are_converted() -> None:
    heavy = event({"progress": 50, "blob": list(range(200_000))})
    wanted = Filter.compile("data.progress == 50 && !has(data.other)")
    started = time.process_time()

    for _ in range(100):
        assert wanted.matches(Activation(heavy))

    # All of the list would take 100 × more than 20 ms.
    assert time.process_time() - started < 0.5


@pytest.mark.parametrize(
    "text",
    [
        "data.l.exists(x, data.l.exists(y, x + y == -1))",
        "data.l.exists(x, x in data.l && -1 in data.l)",
        "data.l.all(x, data.l.all(y, data.s.contains(string(x))))",
    ],
)
def test_an_expression_that_would_run_for_long_over_long_lists_does_not_begin(text: str) -> None:
    wanted = Filter.compile(text)
    long = event({"l": list(range(5_000)), "s": "x" * 500_000})
    started = time.process_time()

    assert not wanted.matches(long)

    assert time.process_time() - started < 0.5
    assert wanted.last_fault is not None and "too long" in wanted.last_fault


def test_lists_of_ordinary_length_may_be_asked_through() -> None:
    ordinary = event({"l": [{"tags": ["a", "b"], "n": n} for n in range(30)], "long": list(range(20_000))})

    assert matches("data.l.exists(x, x.n == 29 && x.tags.exists(t, t == 'b'))", ordinary)
    assert matches("data.long.exists(x, x == 19999)", ordinary)


@pytest.mark.parametrize(
    "foreign",
    [{1: 2}, {None: 1}, {b"k": 1}, {"t": msgpack.Timestamp(1)}, {"x": msgpack.ExtType(1, b"")}, {"n": 2**64 - 1}],
)
def test_data_that_is_foreign_to_cel_does_not_hide_what_is_beside_it(foreign: dict[Any, Any]) -> None:
    assert matches("data.a == 1 && size(data) == 2", event({"a": 1, **foreign}))
    assert matches("data.a == 1 && data.inner != null", event({"a": 1, "inner": foreign}))


def test_an_event_from_an_impossible_time_matches_no_question_about_time() -> None:
    far = Event.new("agent.run-42.progress", {}, time_ns=10**25)

    assert not matches("time > timestamp('2020-01-01T00:00:00Z')", far)
    assert matches("type == 'progress'", far)


def test_an_event_is_converted_once_for_all_filters_whatever_fields_they_need() -> None:
    filters = [Filter.compile(f"data.progress > 1 && !has(data.f{n})") for n in range(100)]
    shown = Activation(PROGRESS)
    shown.prepare(reduce(or_, (wanted.needs for wanted in filters)), whole=False, items=100)
    before = work.conversions

    assert all(wanted.matches(shown) for wanted in filters)

    assert work.conversions - before == 1


def test_equal_filters_are_evaluated_once_for_an_event() -> None:
    texts = ["data.progress > 1", "data.progress  >  1", "data . progress>1 // more than one", "data.progress\n> 1"]
    filters = [Filter.compile(text) for text in texts * 25]
    shown = Activation(PROGRESS)
    before = work.evaluations

    assert all(wanted.matches(shown) for wanted in filters)

    assert work.evaluations - before == 1


def test_filters_that_differ_in_a_literal_only_are_not_equal() -> None:
    one, other = Filter.compile("type == 'a b'"), Filter.compile("type == 'a  b'")

    assert one.key != other.key


def test_what_one_filter_looks_at_and_cannot_be_shown_hides_nothing_from_another() -> None:
    deep: Any = 1
    for _ in range(100):
        deep = [deep]
    bad, good = Filter.compile("data.deep == 1"), Filter.compile("data.a == 1")
    shown = Activation(event({"deep": deep, "a": 1}), bad.needs | good.needs)

    assert not bad.matches(shown)
    assert good.matches(shown)
    assert bad.faults == 1 and good.faults == 0


@given(st.dictionaries(st.sampled_from("abcd"), st.integers(0, 3)), st.permutations(range(4)))
def test_the_order_in_which_filters_are_asked_changes_no_answer(data: dict[str, Any], order: list[int]) -> None:
    texts = ["data.a == 1", "data == {'b': 2}", "has(data.c) && data.c > 1", "size(data) > 2 || type == 'x'"]
    shown = Activation(event(data))

    together = {place: Filter.compile(texts[place]).matches(shown) for place in order}

    assert together == {place: Filter.compile(texts[place]).matches(Activation(event(data))) for place in order}


def test_a_field_that_is_heavy_is_converted_only_for_who_asks_for_it() -> None:
    light, heavy = Filter.compile("data.n == 1"), Filter.compile("data.m.size() == 5000")
    shown = Activation(event({"n": 1, "m": list(range(5000))}))
    shown.prepare(light.needs | heavy.needs, whole=False, items=1000)

    assert light.matches(shown)
    assert not shown.is_converted_for(heavy.needs)
    assert heavy.matches(shown)


@pytest.mark.parametrize(
    ("text", "data", "cheap"),
    [
        ("data.n == 1", {"n": 1, "m": list(range(10_000))}, True),
        ("data.m.size() == 1", {"n": 1, "m": list(range(10_000))}, False),
        ("data.m.all(k, k > 0)", {"m": list(range(500))}, True),
        ("data.m.all(k, k > 0)", {"m": list(range(1_500))}, False),
        ("data.m.all(k, data.m.all(j, k > j))", {"m": list(range(100))}, False),
        ("type == 'x'", {"m": list(range(10_000))}, True),
    ],
)
def test_what_costs_much_is_known_before_it_is_converted_or_evaluated(
    text: str, data: dict[str, Any], cheap: bool
) -> None:
    before = work.conversions, work.evaluations

    assert Filter.compile(text).is_cheap(Activation(event(data)), items=2000, steps=1000) is cheap

    assert (work.conversions, work.evaluations) == before


def test_an_expression_yields_a_text_a_number_or_a_truth() -> None:
    assert Expression.compile("data.step.name").value(PROGRESS) == "sort"
    assert Expression.compile("entity + '/' + type").value(PROGRESS) == "run-42/progress"
    assert Expression.compile("data.progress").value(PROGRESS) == 42
    assert Expression.compile("data.progress > 1").value(PROGRESS) is True
    assert Expression.compile("data.step").value(PROGRESS) is None
    assert Expression.compile("data.nothing").value(PROGRESS) is None


def test_one_filter_may_be_asked_by_several_threads() -> None:
    wanted = Filter.compile("data.n >= 0 && data.n == int(entity)")
    events = [Event.new(f"agent.{n}.progress", {"n": n}) for n in range(200)]
    found: list[bool] = []

    async def ask() -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(asyncio.to_thread(lambda: found.extend(wanted.matches(each) for each in events)))

    asyncio.run(ask())

    assert found == [True] * 800


PIECES = [
    *"()[]{}.,?:!-+*/%<>\"'\\ \n#`@&|=",
    *[
        "data",
        "type",
        "true",
        "null",
        "in",
        "x",
        ".exists(x, ",
        ".all(y, ",
        ".exists_one(z, ",
        ".matches('",
        "has(",
        "size(",
    ],
    *[
        "&&",
        "||",
        "==",
        "1",
        "0x",
        "1u",
        "1e9",
        "'a'",
        'r"\\"',
        "b'",
        "'''",
        '"""',
        "//",
        "timestamp(",
        ".a",
        "[0]",
        "é",
        "\ud800",
    ],
]
texts = st.one_of(st.text(max_size=80), st.lists(st.sampled_from(PIECES), max_size=60).map("".join))
scalars = st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(), st.text(), st.binary())
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.one_of(st.text(), st.integers()), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=400)
@given(text=texts, data=st.dictionaries(st.sampled_from("abx"), values))
def test_no_text_brings_a_filter_down(text: str, data: dict[str, Any]) -> None:
    try:
        wanted = Filter.compile(text)
    except BadFilter as refusal:
        assert "\n" not in str(refusal)
    else:
        assert wanted.matches(event(data)) in (True, False)


@settings(max_examples=100)
@given(data=st.dictionaries(st.text(max_size=3), values))
def test_no_data_brings_a_filter_down(data: dict[str, Any]) -> None:
    for wanted in QUESTIONS:
        assert wanted.matches(Activation(event(data))) in (True, False)


QUESTIONS = [
    Filter.compile(text)
    for text in (
        "data == data",
        "data.a > data.b || data[''] == 1",
        "data.exists(k, data[k] == k || data[k].exists(x, x == data[k]))",
        "size(data.a) + int(data.b) > 0 && string(data.c) == 'x'",
        "data.a in data.b",
        "timestamp(data.a) < time || duration(data.a) < duration('1s')",
    )
]
