"""Handlers of the catalogue of event types."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from edge.http.openapi.operation import Answer, Media, operation
from router import catalogue
from router.codec import to_json


@operation(
    "What the console knows of event types", Answer(200, "A JavaScript module", Media("text/javascript")), store=False
)
async def console_types(_request: Request) -> Response:
    return Response(console_module(), media_type="text/javascript", headers={"Cache-Control": "no-cache"})


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
