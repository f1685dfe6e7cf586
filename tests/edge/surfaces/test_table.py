"""The table of surfaces: each address once, described, with an access, in a dialect; and a new one by one file."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest
from starlette.routing import Match, Mount, Route

from edge.app import ACCESS, openapi
from edge.app import routes as all_routes
from edge.auth.authenticator import Access
from edge.http.openapi.document import document
from edge.surfaces.serving import serve
from edge.surfaces.surface import StreamSurface
from edge.surfaces.table import SURFACES, gather, routes

ONE_FILE = """
from edge.auth.authenticator import Access
from edge.dialects.dialect import SharedDialect
from edge.surfaces.surface import CallSurface, Reading, StreamSurface
from router.cursor import Start

LENGTHS = SharedDialect(name="lengths", encode=lambda record, _epoch: str(len(record.payload)).encode())


async def _find(request):
    return Reading(subjects=("job.{}.>".format(request.path_params["job"]),), start=Start(now=True))


ROWS = (
    StreamSurface(path="/lengths/{job}", name="stream_lengths", summary="Lengths", dialect=LENGTHS, find=_find),
    StreamSurface(path="/lengths", name="stream_all_lengths", summary="Lengths", dialect=LENGTHS, find=_find),
    %s
)
"""


def test_each_row_is_a_route_with_an_access_and_an_operation() -> None:
    assert len(SURFACES) == len(routes())
    for surface in SURFACES:
        # Whether the server runs is no secret.
        assert ACCESS[surface.path] is surface.access is not Access.OPEN or surface.path == "/health"
        method = "get" if surface.method == "WEBSOCKET" else surface.method.lower()
        assert openapi()["paths"][surface.path][method]["operationId"]


def test_a_stream_is_described_with_its_dialect_and_how_to_resume() -> None:
    for surface in SURFACES:
        if isinstance(surface, StreamSurface):
            described = openapi()["paths"][surface.path][surface.method.lower()]
            assert surface.dialect.name in described["responses"]["200"]["description"]
            assert "Last-Event-ID" in {parameter["name"] for parameter in described["parameters"]}


def test_no_address_hides_another_one() -> None:
    served = [route for route in all_routes() if not isinstance(route, Mount)]

    for route in served:
        kind, methods = ("http", route.methods or {"GET"}) if isinstance(route, Route) else ("websocket", {"GET"})
        path = route.path.replace("{", "").replace("}", "")
        for method in methods - {"HEAD"}:
            asked = {"type": kind, "path": path, "method": method, "root_path": "", "headers": []}
            assert next(each for each in served if each.matches(asked)[0] is Match.FULL) is route, path


def _package(root: Path, monkeypatch: pytest.MonkeyPatch, name: str, row: str = "") -> None:
    monkeypatch.syspath_prepend(root)
    (root / name).mkdir()
    (root / name / "lengths.py").write_text(ONE_FILE % row)


def test_a_surface_and_its_dialect_are_added_by_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _package(tmp_path, monkeypatch, "more_surfaces")

    rows = gather(import_module("more_surfaces"))

    assert [row.path for row in rows] == ["/lengths/{job}", "/lengths"]
    described = document([row.route(serve) for row in rows], {row.path: row.access for row in rows})
    assert described["paths"]["/lengths/{job}"]["get"]["operationId"] == "streamLengths"


@pytest.mark.parametrize(
    ("name", "row", "refusal"),
    [
        ("doubled", "CallSurface(path='/lengths', handler=_find)", r"the address GET /lengths, one of them in doubled"),
        (
            "contradicting",
            "CallSurface(path='/lengths', handler=_find, method='POST', access=Access.OPEN)",
            "the path /lengths has two accesses",
        ),
    ],
)
def test_rows_that_contradict_each_other_are_refused(
    name: str, row: str, refusal: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _package(tmp_path, monkeypatch, name, row)

    with pytest.raises(ValueError, match=refusal):
        gather(import_module(name))
