"""The OpenAPI document: it names every route, refers to what is there, and an independent validator accepts it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route, WebSocketRoute

from edge.app import openapi as document
from edge.app import routes
from edge.errors import TITLES
from edge.http.openapi.document import document as describe
from router.version import VERSION
from tests.edge.conftest import RunningEdge


def test_an_independent_validator_accepts_the_document() -> None:
    import openapi_spec_validator

    openapi_spec_validator.validate(document())


def test_the_description_names_every_route_and_no_other() -> None:
    served: set[tuple[str, str]] = set()
    for route in routes():
        if isinstance(route, Route):
            served |= {(route.path, method) for method in route.methods or () if method != "HEAD"}
        elif isinstance(route, WebSocketRoute):
            served.add((route.path, "GET"))
        else:
            assert isinstance(route, Mount)
    described = {(path, method.upper()) for path, item in document()["paths"].items() for method in item}

    assert served == described


def test_every_reference_of_the_description_leads_somewhere() -> None:
    text = str(document())
    names = set(re.findall(r"#/components/schemas/(\w+)", text))

    assert names == set(document()["components"]["schemas"]) - {"Event"} | ({"Event"} & names)


def test_every_enumeration_says_its_type_and_none_allows_null_by_anyof() -> None:
    """Scalar warns of both."""
    found = list(schemas_within(document()))
    untyped = [schema for schema in found if "enum" in schema and "type" not in schema]
    twofold = [
        schema
        for schema in found
        if len(kinds := schema.get("anyOf", ())) == 2
        and {"type": "null"} in kinds
        and not any("$ref" in k for k in kinds)
    ]

    assert any("enum" in schema for schema in found) and untyped == []
    # One that is null or one of several types has nothing shorter.
    assert [schema for schema in twofold if all(isinstance(k.get("type"), str) for k in schema["anyOf"])] == []


def schemas_within(node: Any) -> Iterator[dict[str, Any]]:
    """Every object of a document that may be a schema; examples are none."""
    if isinstance(node, list):
        for each in node:
            yield from schemas_within(each)
    elif isinstance(node, dict):
        if isinstance(node.get("enum"), list) or isinstance(node.get("anyOf"), list):
            yield node
        for name, each in node.items():
            if name not in ("example", "examples", "default"):
                yield from schemas_within(each)


def test_the_description_has_the_version_of_the_distribution() -> None:
    assert version("callboard") == VERSION


def test_a_route_without_an_operation_cannot_be_described() -> None:
    async def undeclared(_request: Request) -> Response:
        return Response()

    with pytest.raises(KeyError):
        describe([Route("/new", undeclared)], {})


def test_every_operation_has_a_summary_and_codes_that_exist() -> None:
    for path, item in document()["paths"].items():
        for method, operation in item.items():
            assert operation["summary"], (method, path)
            for status, answer in operation["responses"].items():
                if "application/problem+json" in answer.get("content", {}):
                    codes = answer["description"].split(", ")
                    assert {str(TITLES[code][0]) for code in codes} == {status}, (method, path)


def test_an_operation_of_a_stream_takes_a_ticket_and_an_open_one_nothing() -> None:
    paths = document()["paths"]

    assert paths["/callbacks/sessions/{session_id}/sse"]["get"]["security"] == [{"bearer": []}, {"ticket": []}]
    assert paths["/livez"]["get"]["security"] == []
    assert "security" not in paths["/events"]["post"]
    assert document()["servers"][0]["url"] == "/"


async def test_answers_have_the_shape_that_is_described(edge: RunningEdge, entity: str) -> None:
    schemas = document()["components"]["schemas"]
    session = await edge.session(subjects=[f"job.{entity}.>"])
    await edge.numbers(entity, 1)
    page = await edge.poll(session)
    for name, shown in (
        ("Session", (await edge.http.get(f"/callbacks/sessions/{session}")).json()),
        ("Stats", await edge.stats(session)),
        ("Page", page),
        ("Event", page["events"][0]),
        ("Problem", (await edge.http.get("/nope")).json()),
    ):
        assert set(schemas[name]["required"]) <= set(shown), name
        assert set(shown) <= set(schemas[name]["properties"]), name
