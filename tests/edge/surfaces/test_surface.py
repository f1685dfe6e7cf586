"""A row of the table makes a route with its operation declared."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.routing import Route

from edge.dialects.agent_run import AGENT_RUN
from edge.http.openapi.operation import operation_of
from edge.surfaces.surface import Reading, StreamSurface
from router.cursor import Start


async def _nothing(_request: Request) -> Reading:
    return Reading(subjects=("job.a.>",), start=Start(now=True))


def test_a_row_makes_a_route_that_is_served_with_the_row() -> None:
    row = StreamSurface(
        path="/x/{id}", name="stream_x", summary="X", dialect=AGENT_RUN, find=_nothing, problems=("run_not_found",)
    )

    async def serve(surface: StreamSurface, _request: Request) -> Any:
        return surface

    route = row.route(serve)

    assert isinstance(route, Route)
    assert (route.path, route.name) == ("/x/{id}", "stream_x")
    declared = operation_of(route.endpoint)
    assert declared.summary == "X" and "run_not_found" in declared.problems
