"""YAML with places."""

from __future__ import annotations

import pytest

from actors.alerts.marked import BadYaml, MarkedMap, TextPosition, inside, load, plain

TEXT = """
a: 1
b:
  c: "x\\"y"
  d: |
    one
    two
  e: >
    three
"""


def test_each_field_knows_where_its_name_and_value_stand() -> None:
    made = load(TEXT)

    assert isinstance(made, MarkedMap) and made.place("a").value == TextPosition(2, 4)
    assert made["b"].place("c").name == TextPosition(4, 3) and made["b"].position == TextPosition(4, 3)
    assert made["b"].place("nothing").value == made["b"].position
    assert type(plain(made)["b"]) is dict and plain(made) == made


def test_a_place_in_a_text_is_a_place_in_the_file() -> None:
    made, lines = load(TEXT)["b"], TEXT.splitlines()

    assert inside(lines, made.place("c"), 1, 3) == TextPosition(4, 10)
    assert inside(lines, made.place("d"), 2, 2) == TextPosition(7, 6)
    assert inside(lines, made.place("e"), 1, 1) is None


def test_a_merged_field_is_found_where_it_is_written() -> None:
    made = load("a: &a {x: 1}\nb:\n  <<: *a\n  y: 2\n")

    assert made["b"] == {"x": 1, "y": 2} and made["b"].place("x").value == TextPosition(1, 11)


@pytest.mark.parametrize(
    ("text", "line"), [("a: 1\na: 2", 2), ("a: [", 2), ("[" * 20_000, 1), ("a: !!python/name:os.system x", 1)]
)
def test_what_is_no_yaml_is_told_with_its_place(text: str, line: int) -> None:
    with pytest.raises(BadYaml) as fault:
        load(text)

    assert fault.value.position.line in (line, 1)


def test_a_field_called_on_is_found_by_its_name() -> None:
    made = load("data: {on: false, 1: x}")["data"]

    assert made == {"on": False, "1": "x"} and made.place("on").name == TextPosition(1, 8)
