"""Bodies, answers and problems have examples, and these are valid."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from jsonschema import Draft202012Validator

from edge.app import openapi
from edge.errors import TITLES, Problem
from edge.http.openapi.examples import with_examples, written


def contents() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The operation, whether it is of its body or an answer, and the JSON content."""
    made = openapi()
    for item in [*made["paths"].values(), *made["webhooks"].values()]:
        for operation in item.values():
            for what, holder in (("body", operation.get("requestBody", {})), *operation["responses"].items()):
                for kind, content in holder.get("content", {}).items():
                    if kind.endswith("json") and content["schema"]:
                        yield operation["operationId"], what, content


def values(content: dict[str, Any]) -> list[Any]:
    if "example" in content:
        return [content["example"]]
    examples = [each.get("$ref", each) for each in content["examples"].values()]
    known = openapi()["components"]["examples"]
    return [(known[each.rpartition("/")[2]] if isinstance(each, str) else each)["value"] for each in examples]


def test_every_body_and_answer_in_json_has_an_example_that_its_schema_allows() -> None:
    components = openapi()["components"]
    for operation, what, content in contents():
        validator = Draft202012Validator({**content["schema"], "components": components})
        found = values(content)
        assert found, (operation, what)
        for value in found:
            assert not [fault.message for fault in validator.iter_errors(value)], (operation, what, value)


def test_an_example_of_a_problem_is_as_the_edge_answers_it() -> None:
    examples = openapi()["components"]["examples"]

    assert set(examples) <= set(TITLES) and len(examples) > 30
    assert examples["bad_parameter"]["value"] == Problem("bad_parameter").body()


def test_each_written_example_is_of_a_body_that_exists() -> None:
    made = openapi()
    names = {operation["operationId"] for item in made["paths"].values() for operation in item.values()}

    assert set(written()) <= names | set(made["components"]["schemas"])


def test_a_body_without_a_written_example_has_a_made_one() -> None:
    schema = {"type": "object", "properties": {"run": {"type": "string"}}}
    body = {"content": {"application/json": {"schema": schema}}}
    made = with_examples({"/new": {"post": {"operationId": "makeNew", "requestBody": body, "responses": {}}}}, {})

    assert made["/new"]["post"]["requestBody"]["content"]["application/json"]["example"] == {"run": "run-42"}
