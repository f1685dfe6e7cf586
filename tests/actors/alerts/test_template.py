"""Titles and messages: what they show, and that nothing else can be reached."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.alerts.template import BadTemplate, TextTemplate

SCOPE = {
    "entity": "run-42",
    "count": 3,
    "value": 0.1 + 0.2,
    "data": {
        "progress": 42,
        "list": ["a", "b"],
        "deep": {"er": "x"},
        "evil": "{data.secret}",
        "secret": "s",
        "ok": True,
    },
}


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("plain", "plain"),
        ("", ""),
        ("{entity} is at {data.progress} %", "run-42 is at 42 %"),
        ("{data.deep.er} {data.list.1} {data.ok}", "x b true"),
        ("{value}", "0.3"),
        ("{{{entity}}}", "{run-42}"),
        ("{data.nothing} {data.deep.nothing.more} {data.list.9} {rule}", "? ? ? ?"),
        ("{data.list} {data.deep}", "[2 items] [1 items]"),
        ("{data.evil}", "{data.secret}"),
        ("{data.__class__} {data.progress.real} {data.list.append}", "? ? ?"),
    ],
)
def test_a_template_shows_what_an_event_holds_and_nothing_else(template: str, said: str) -> None:
    assert TextTemplate.compile(template).fill(SCOPE, 200) == said


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "}",
        "{}",
        "{entity",
        "{entity!r}",
        "{entity:>999999999}",
        "{0}",
        "{other}",
        "{data..a}",
        "{entity.x}",
        "{a b}",
        "{data[a]}",
    ],
)
def test_what_is_no_template_is_refused(text: str) -> None:
    with pytest.raises(BadTemplate):
        TextTemplate.compile(text)


def test_a_value_is_kept_on_one_line_and_in_bounds() -> None:
    scope = {"data": {"a": "x\r\ny\u202ez" + "w" * 10_000, "n": 10**5000, "b": b"123", "o": object()}}

    said = TextTemplate.compile("{data.a}|{data.n}|{data.b}|{data.o}").fill(scope, 1000)

    assert said.startswith("x y zww")
    assert said.endswith("|?|[3 bytes]|?")
    assert len(said) < 230
    assert TextTemplate.compile("{data.a}").fill(scope, 10) == "x y zwwwww"


values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=8,
)


@settings(max_examples=200)
@given(text=st.text(alphabet="{}.dat_x0[]!: é", max_size=30), data=values)
def test_no_template_and_no_data_bring_it_down(text: str, data: object) -> None:
    for written in (text, "{data.a}{data.0}" + text):
        try:
            template = TextTemplate.compile(written)
        except BadTemplate:
            continue
        assert len(template.fill({"data": data}, 100)) <= 100


@given(st.text(max_size=50))
def test_doubled_braces_give_back_any_text(text: str) -> None:
    doubled = text.replace("{", "{{").replace("}", "}}")

    assert TextTemplate.compile(doubled).fill({}, 1000) == text
