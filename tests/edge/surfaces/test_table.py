"""The table of surfaces: each address once, described, with an access, and with a dialect of its own bytes."""

from __future__ import annotations

from edge.app import ACCESS, openapi
from edge.auth.authenticator import Access
from edge.surfaces.surface import StreamSurface
from edge.surfaces.table import SURFACES, routes


def test_each_row_is_a_route_with_an_access_and_an_operation() -> None:
    named = [(surface.path, getattr(surface, "method", "GET")) for surface in SURFACES]

    assert len(set(named)) == len(named) == len(routes())
    for path, method in named:
        assert ACCESS[path] is not Access.OPEN
        assert openapi()["paths"][path][method.lower()]["operationId"]


def test_a_stream_is_described_with_its_dialect_and_how_to_resume() -> None:
    for surface in SURFACES:
        if isinstance(surface, StreamSurface):
            described = openapi()["paths"][surface.path][surface.method.lower()]
            assert surface.dialect.name in described["responses"]["200"]["description"]
            assert "Last-Event-ID" in {parameter["name"] for parameter in described["parameters"]}
