"""Tests of router/filter_scan.py: what an expression reads, what it may cost, and what is refused."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import BadFilter
from router.event import Event
from router.filter import Filter
from router.filter_scan import MAX_LENGTH, Scan


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("   \n", "empty"),
        ("1 +", "line 1, column 4: Syntax error"),
        ("true &&\n  data.a ==", "line 2, column 12: Syntax error"),
        ("foo == 1", "line 1, column 1: unknown variable 'foo'; there are cause, data"),
        ("type == 'x' &&\n payload.a", "line 2, column 2: unknown variable 'payload'"),
        ("data.tags.exists(t, t == u)", "unknown variable 'u'"),
        ("data.tags.exists(t, true) && t == 'x'", "unknown variable 't'"),
        (".other == 1", "unknown variable '.other'"),
        ("frobnicate(type)", "unknown function 'frobnicate'"),
        ("type.beginsWith('x')", "unknown function 'beginsWith'"),
        ("data.tags.map(t, t + t).size() == 1", "map is not offered"),
        ("data.tags.filter(t, true).size() == 1", "filter is not offered"),
        ("data.tags.exists(type, true)", "with a name that is not a variable's"),
        ("type.matches('((')", "not a valid pattern"),
        ("type.matches(data.p)", "written out"),
        ("type.matches('(a{100}){100}')", "may not use {…}"),
        (r"type.matches('\\w\\w\\w\\w\\w')", "4 times"),
        ("type.matches('" + "a" * 101 + "')", "at most 100 characters"),
        ("data.tags.exists(t, t.matches('a'))", "every time"),
        (" || ".join(["type.matches('a')"] * 9), "more than 8 times matches"),
        (" || ".join([r"type.matches('\\w\\w\\w')"] * 3), "more than 8 times: try"),
        ("(true", "never closed"),
        ("true)", "closes nothing"),
        ("(true]", "closes nothing"),
        ("type = 'x'", "'=' does not belong here"),
        ("type == 'x", "does not belong here"),
        ("data.`a-b` == 1", "does not belong here"),
        ("(" * 25 + "true" + ")" * 25, "nested deeper than 24"),
        ("1" + "+1" * 17 + " > 0", "17 times +"),
        ("1" + "<1" * 300, "601 parts"),
        ("data.a.exists(x, x.exists(y, y.exists(z, z)))", "inside one another"),
        (" || ".join(["data.a.exists(x, x)"] * 9), "more than 8"),
        ("true " + "//" + "x" * MAX_LENGTH, "characters; at most 2000"),
        ("type == '\ud800'", "surrogates"),
        ("true\x00", "does not belong here"),
    ],
)
def test_a_bad_filter_is_refused_on_one_line_with_place_and_reason(text: str, reason: str) -> None:
    with pytest.raises(BadFilter) as refusal:
        Filter.compile(text)

    assert reason in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_filter_that_would_close_the_bracket_around_it_is_refused() -> None:
    with pytest.raises(BadFilter):
        Filter.compile("false) || (true")


@given(pattern=st.text(alphabet="ab()[]*+?|^$.\\wdx-i:P<>", max_size=30))
def test_no_pattern_takes_long(pattern: str) -> None:
    literal = pattern.replace("\\", "\\\\")
    try:
        wanted = Filter.compile(f"type.matches('{literal}')")
    except BadFilter:
        return
    started = time.process_time()
    wanted.matches(Event.new("agent.run-42.progress", {"progress": 42}))
    assert time.process_time() - started < 0.1


@pytest.mark.parametrize(
    ("text", "variables", "fields"),
    [
        ("type == 'progress'", {"type"}, set()),
        ("data.step.name == 'sort' && data['odd key'] == 7", {"data"}, {"step", "odd key"}),
        ("size(data) == 4 && data.progress > 1", {"data"}, None),
        ("data.tags.exists(t, t == entity)", {"data", "entity"}, {"tags"}),
        ("data['a' + 'b'] == 1", {"data"}, None),
        ("'data.progress' == type // data.tags", {"type"}, set()),
    ],
)
def test_a_scan_finds_what_an_expression_reads(text: str, variables: set[str], fields: set[str] | None) -> None:
    needs = Scan(text).needs

    assert needs.variables == variables
    assert needs.fields == fields


def test_nested_macros_multiply_what_an_expression_costs() -> None:
    flat, nested = Scan("data.a.exists(x, x > 1)"), Scan("data.a.exists(x, data.b.all(y, y > x))")

    assert (flat.macros, flat.power, flat.bound) == (1, 1, {"x"})
    assert (nested.macros, nested.power, nested.bound) == (2, 2, {"x", "y"})


def test_a_need_covers_a_smaller_one() -> None:
    one, other = Scan("data.a == 1 && type == 'b'").needs, Scan("data.b == 1").needs

    assert (one | other).cover(one) and (one | other).cover(other)
    assert not one.cover(other) and not other.cover(one)
    assert (one | Scan("size(data) > 1").needs).fields is None
