"""Builds responses that refuse a request (RFC 9457 problem+json) and counts them when they are sent."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from edge import metrics
from edge.errors import TITLES, Problem
from router.codec import to_json

for _code in TITLES:
    metrics.refusals.labels(_code)


class Refusal(Response):
    """A response that refuses a request; it is counted when it is sent, and not before."""

    def __init__(self, code: str, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.code = code

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        count_refusal(self.code)
        await super().__call__(scope, receive, send)


def to_response(problem: Problem) -> Refusal:
    """The response of a problem."""
    return Refusal(
        problem.code,
        to_json(problem.body()),
        problem.status,
        media_type="application/problem+json",
        headers={"Cache-Control": "no-store", **problem.headers},
    )


def count_refusal(code: str) -> None:
    """Counts a refusal that is not sent as an ASGI response; `code` is one of TITLES."""
    metrics.refusals.labels(code).inc()
