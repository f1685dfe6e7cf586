"""Tests that the JSON Schemas are valid, and refuse what the check refuses."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from router.catalogue import all_types, check, find
from router.errors import BadData
from router.event_types.json_schema import DIALECT, data_schema, title_of
from tests.router.event_types.test_golden import golden, type_and_data

DECLARED = all_types()
WRONG: tuple[Any, ...] = (7, -7, 1.5, "text", True, [], {}, [1], {"a": 1})


def test_every_schema_is_valid_and_has_a_name_of_its_own() -> None:
    for each in DECLARED:
        schema = data_schema(each)
        Draft202012Validator.check_schema(schema)
        assert schema["$schema"] == DIALECT
    assert len({title_of(each) for each in DECLARED}) == len(DECLARED)


@pytest.mark.parametrize("guide", ["callback-guide", "streaming-guide", "realtime-guide"])
def test_the_samples_of_the_documents_are_valid(guide: str) -> None:
    for sample in golden(guide):
        kind, data = type_and_data(sample)
        Draft202012Validator(data_schema(find(kind))).validate(data)


@pytest.mark.parametrize("sample", golden("malformed"), ids=lambda sample: sample["kind"])
def test_what_is_malformed_is_not_valid(sample: dict[str, Any]) -> None:
    assert not Draft202012Validator(data_schema(find(sample["type"]))).is_valid(sample["data"])


_VALIDATORS = {id(each): Draft202012Validator(data_schema(each)) for each in DECLARED if each.schema is not None}
_FIELDS = st.sampled_from([each for each in DECLARED if each.schema is not None]).flatmap(
    lambda each: st.tuples(
        st.just(each),
        st.dictionaries(st.sampled_from(each.schema.__struct_fields__), st.sampled_from(WRONG), max_size=4),
    )
)


@given(_FIELDS)
def test_the_check_and_the_schema_agree(case: tuple[Any, dict[str, Any]]) -> None:
    declared, given_fields = case
    data = {**(declared.example or {}), **given_fields}
    try:
        check(declared.name, data, declared.domain or "")
        accepted = True
    except BadData:
        accepted = False
    assert accepted == _VALIDATORS[id(declared)].is_valid(data), data
