"""Headers of a request are found by name; of those that occur more than once, the first."""

from __future__ import annotations

from starlette.datastructures import Headers

from edge.http.head import head_of, header_of


def test_a_header_is_what_starlette_finds() -> None:
    scope = {"type": "http", "headers": [(b"host", b"a"), (b"accept", b"one"), (b"accept", b"two"), (b"x", b"\xe9")]}

    for name in ("host", "accept", "x", "none"):
        assert header_of(scope, name.encode()) == Headers(scope=scope).get(name)


def test_the_headers_of_a_request_are_gone_through_once() -> None:
    scope = {"type": "http", "headers": [(b"host", b"a")]}

    assert head_of(scope) is head_of(scope)
    assert header_of({"type": "http"}, b"host") is None
