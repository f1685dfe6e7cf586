"""Field names of YAML are texts as they are written."""

from __future__ import annotations

import pytest
import yaml

from router.yaml_keys import load


def test_what_yaml_takes_for_other_things_is_a_name_where_it_names_a_field() -> None:
    made = load("{on: 1, Off: 2, yes: 3, no: 4, null: 5, ~: 6, 1: 7, 1.5: 8, 2026-11-20: 9, true: 10}")

    assert made == {
        name: place
        for place, name in enumerate(("on", "Off", "yes", "no", "null", "~", "1", "1.5", "2026-11-20", "true"), 1)
    }


def test_values_are_what_they_were() -> None:
    assert load("{a: on, b: null, c: 1, d: [yes, {no: off}]}") == {
        "a": True,
        "b": None,
        "c": 1,
        "d": [True, {"no": False}],
    }


def test_names_are_texts_in_what_is_merged_too() -> None:
    made = load("a: &a {on: 1, off: 2}\nb: {<<: *a, off: 3}\nc: {<<: [*a], no: 4}\n")

    assert made["b"] == {"on": 1, "off": 3} and made["c"] == {"on": 1, "off": 2, "no": 4}
    assert made["a"] == {"on": 1, "off": 2}


@pytest.mark.parametrize("text", ["a: [", "a: !!python/name:os.system x", "? [1]\n: 2", "a: *b"])
def test_what_is_no_yaml_is_refused(text: str) -> None:
    with pytest.raises(yaml.YAMLError):
        load(text)
