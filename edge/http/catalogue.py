"""Handlers of the catalogue of event types."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from edge.errors import Problem
from edge.http import asyncapi
from edge.http.bodies.catalogue import EventTypesAnswer, SchemaQuery
from edge.http.body import read_query
from edge.http.openapi.operation import Answer, Media, operation
from router import catalogue
from router.catalogue import EventType
from router.codec import to_json
from router.event_types.json_schema import data_schema


@operation(
    "List the known event types, with the schemas of their data", Answer(200, "By name", EventTypesAnswer), store=False
)
async def list_schemas(_request: Request) -> Response:
    return _answer(_listed(catalogue.all_types()))


@operation(
    "Read the JSON Schema of the data of one event type",
    Answer(200, "JSON Schema 2020-12", Media("application/schema+json")),
    query=SchemaQuery,
    problems=("type_not_found",),
    store=False,
)
async def read_schema(request: Request) -> Response:
    """Answers the schema of a type in a domain, or of that for all; a type that one domain alone has needs none."""
    name, domain = request.path_params["type"], read_query(request, SchemaQuery).domain
    named = [each for each in catalogue.all_types() if each.name == name]
    if domain is not None and catalogue.is_registered(name, domain):
        found = catalogue.find(name, domain)
    elif len(named) == 1 and domain is None:
        (found,) = named
    else:
        common = [each for each in named if each.domain is None]
        if not common:
            domains = ", ".join(each.domain for each in named if each.domain is not None)
            hint = f"; say which domain: {domains}" if domains else ": it may have any data"
            raise Problem("type_not_found", f"no event type {name[:64]!r} is registered{hint}")
        (found,) = common
    return _answer(to_json(data_schema(found)), "application/schema+json")


@operation(
    "Describe the channels and messages of every transport", Answer(200, "AsyncAPI 3.0", dict[str, Any]), store=False
)
async def read_asyncapi(_request: Request) -> Response:
    return _answer(_described(catalogue.all_types()))


# A list takes 60 ms to make, the document 25 ms: once, as the types are registered at start.
@lru_cache(2)
def _listed(types: tuple[EventType, ...]) -> bytes:
    return to_json({"types": [describe(each) for each in types]})


@lru_cache(2)
def _described(types: tuple[EventType, ...]) -> bytes:
    return to_json(asyncapi.document(types))


def describe(declared: EventType) -> dict[str, Any]:
    """What is shown of a type."""
    return {
        "name": declared.name,
        "domain": declared.domain,
        "summary": declared.summary,
        "delivery": declared.delivery.value,
        "key": list(declared.key),
        "text": declared.text,
        "intermediate": declared.intermediate,
        "progress": declared.progress,
        "terminal": declared.terminal is not None,
        "reduce": dict(declared.reduce),
        "data": data_schema(declared),
    }


def _answer(body: bytes | str, kind: str = "application/json") -> Response:
    return Response(body, media_type=kind, headers={"Cache-Control": "no-cache"})


@operation(
    "What the console knows of event types", Answer(200, "A JavaScript module", Media("text/javascript")), store=False
)
async def console_types(_request: Request) -> Response:
    return _answer(console_module(), "text/javascript")


def console_module() -> str:
    """A JavaScript module: the domains of runs, how these end, and which types add which field to a run's text."""
    output: list[Any] = [
        [each.name, {"fields": [each.text, *each.other_texts], "joined": each.delivery is catalogue.Delivery.APPEND}]
        for each in catalogue.all_types()
        if each.text is not None and each.domain in (None, *catalogue.RUN_DOMAINS)
    ]
    return "\n".join(
        (
            "// The catalogue of event types, as far as the page needs it; written by the server.",
            f"export const RUN_DOMAINS = new Set({_js(catalogue.RUN_DOMAINS)});",
            f"export const OUTCOMES = new Set({_js(sorted(catalogue.OUTCOMES))});",
            f"export const OUTPUT = new Map({_js(output)});",
            "",
        )
    )


def _js(value: object) -> str:
    return to_json(value).decode()
