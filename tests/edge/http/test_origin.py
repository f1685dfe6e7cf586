"""Which pages may speak to the edge: origins, names, preflights, and the headers of what is answered."""

from __future__ import annotations

import pytest
import websockets

from tests.edge.auth.conftest import SecuredFactory, bearer, token
from tests.edge.conftest import UNHURRIED, EdgeFactory, RunningEdge

LISTED = "https://app.example.com"


async def test_a_page_of_a_foreign_origin_is_refused_and_one_from_loopback_is_not(edge: RunningEdge) -> None:
    foreign = await edge.http.get("/runs", headers={"Origin": "https://evil.example"})
    null = await edge.http.get("/runs", headers={"Origin": "null"})
    local = await edge.http.get("/runs", headers={"Origin": "http://localhost:5173"})
    preflight = await edge.http.options(
        "/events", headers={"Origin": "http://localhost:5173", "Access-Control-Request-Method": "POST"}
    )

    assert [foreign.status_code, null.status_code, local.status_code, preflight.status_code] == [403, 403, 200, 204]
    assert local.headers["access-control-allow-origin"] == "http://localhost:5173"
    with pytest.raises(websockets.InvalidStatus):
        await websockets.connect(
            f"ws://127.0.0.1:{edge.port}/cameras/main/ws", origin="https://evil.example", **UNHURRIED
        ).__aenter__()


async def test_a_name_rebound_to_loopback_is_refused(edge: RunningEdge) -> None:
    answer = await edge.http.get("/runs", headers={"Host": "evil.example"})

    assert (answer.status_code, answer.json()["code"]) == (421, "forbidden_host")


@pytest.mark.parametrize(
    ("origin", "host", "admitted"),
    [
        (None, "callboard.example.com", True),
        (LISTED, "callboard.example.com", True),
        ("https://APP.example.com", "callboard.example.com", True),
        ("https://callboard.example.com", "callboard.example.com", True),
        ("https://callboard.example.com", "callboard.example.com:443", True),
        ("http://callboard.example.com", "callboard.example.com", True),
        ("http://callboard.example.com:8000", "callboard.example.com:8000", True),
        ("https://callboard.example.com", "CALLBOARD.example.com", True),
        ("https://callboard.example.com:8443", "callboard.example.com", False),
        ("https://app.example.com:8443", "callboard.example.com", False),
        ("http://app.example.com", "callboard.example.com", False),
        ("https://app.example.com.evil.example", "callboard.example.com", False),
        ("https://evil-app.example.com", "callboard.example.com", False),
        ("https://callboard.example.com@evil.example", "callboard.example.com", False),
        ("https://evil.example", "callboard.example.com", False),
        ("http://localhost:5173", "callboard.example.com", False),
        ("http://127.0.0.1", "callboard.example.com", False),
        ("http://localhost:5173", "localhost", True),
        ("http://[::1]:5173", "127.0.0.1:8000", True),
        ("null", "callboard.example.com", False),
        ("", "callboard.example.com", False),
        ("file://", "callboard.example.com", False),
        ("chrome-extension://abc", "callboard.example.com", False),
        ("https://callboard.example.com:99999", "callboard.example.com", False),
        ("https://callboard.example.com/", "callboard.example.com", False),
        ("https://[", "callboard.example.com", False),
        ("//callboard.example.com", "callboard.example.com", False),
    ],
)
async def test_a_page_is_admitted_by_its_origin(
    secured: SecuredFactory, origin: str | None, host: str, admitted: bool
) -> None:
    hosts = ("callboard.example.com", "localhost", "127.0.0.1")
    async with secured(allowed_origins=(LISTED,), allowed_hosts=hosts) as edge:
        headers = {"Host": host, **bearer(token(read=[">"])), **({"Origin": origin} if origin is not None else {})}
        answer = await edge.http.get("/runs", headers=headers)
        assert answer.status_code == (200 if admitted else 403), answer.text
        assert (answer.headers.get("access-control-allow-origin") == origin) is admitted
        listed = origin is not None and origin.lower() == LISTED
        assert ("access-control-allow-credentials" in answer.headers) is listed
        if not admitted:
            assert answer.json()["code"] == "forbidden_origin"
        del headers["Host"]
        try:
            async with websockets.connect(
                f"ws://{host}/cameras/main/ws",
                host="127.0.0.1",
                port=edge.port,
                additional_headers=headers,
                **UNHURRIED,
            ):
                opened = True
        except websockets.InvalidStatus as refused:
            # An origin that is admitted is told that there is no such camera.
            opened = refused.response.status_code == 404
            assert opened or refused.response.status_code == 403
        assert opened is admitted


async def test_a_preflight_is_told_what_is_taken_and_not_what_it_asks_for(edge_factory: EdgeFactory) -> None:
    async with edge_factory(allowed_origins=(LISTED,)) as edge:
        asked = {
            "Origin": LISTED,
            "Access-Control-Request-Method": "DELETE",
            "Access-Control-Request-Headers": "X-Evil, Authorization",
            "Access-Control-Request-Private-Network": "true",
        }
        answer = await edge.http.options("/events", headers=asked)
        foreign = await edge.http.options("/events", headers={**asked, "Origin": "https://evil.example"})

    assert answer.status_code == 204
    allowed = answer.headers["access-control-allow-headers"].lower()
    assert "authorization" in allowed and "last-event-id" in allowed and "x-evil" not in allowed
    assert "access-control-allow-private-network" not in answer.headers
    assert answer.headers["vary"] == "Origin"
    assert foreign.status_code == 403 and "access-control-allow-methods" not in foreign.headers


async def test_any_origin_is_admitted_where_that_is_said_and_then_no_cookies(edge_factory: EdgeFactory) -> None:
    async with edge_factory(allowed_origins=("*",)) as edge:
        answer = await edge.http.get("/runs", headers={"Origin": "https://anybody.example"})

    assert answer.headers["access-control-allow-origin"] == "https://anybody.example"
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("localhost", True), ("localhost:1", True), ("LOCALHOST", True), ("127.0.0.1:8000", True), ("[::1]:8000", True),
        ("evil.example", False), ("localhost.evil.example", False), ("", False), ("localhost@evil.example", False),
        ("[::1", True), ("::1", False), ("127.0.0.1.nip.io", False), ("a" * 3000, False),
    ],
)  # fmt: skip
async def test_the_edge_answers_to_its_own_names_only(
    edge_factory: EdgeFactory,
    host: str,
    known: bool,
) -> None:
    async with edge_factory() as edge:
        answer = await edge.http.get("/runs", headers={"Host": host})
        probe = await edge.http.get("/livez", headers={"Host": host})

    assert answer.status_code == (200 if known else 421), answer.text
    assert probe.status_code == 200


@pytest.mark.parametrize(
    "name", ["Host", "Origin", "Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID"]
)
async def test_a_header_that_is_said_once_and_comes_twice_is_refused(
    edge_factory: EdgeFactory,
    name: str,
) -> None:
    import asyncio

    async with edge_factory() as edge:
        reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
        host = b"" if name == "Host" else b"Host: localhost\r\n"
        twice = b"".join(f"{name}: {value}\r\n".encode() for value in ("localhost", "evil.example"))
        writer.write(b"GET /runs HTTP/1.1\r\n" + host + twice + b"Connection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()

    assert b" 400 " in answer and b'"code":"bad_header"' in answer


async def test_every_answer_has_the_headers_that_keep_it_what_it_is(secured: SecuredFactory) -> None:
    async with secured() as edge:
        alice = edge.as_("alice", read=[">"], operate=True)
        session = await alice.session()
        for path in ("/", "/client/index.js", "/livez", "/nowhere", "/runs", "/metrics"):
            answer = await alice.http.get(path)
            assert answer.headers["x-content-type-options"] == "nosniff", path
            assert answer.headers["referrer-policy"] == "no-referrer", path
            assert "server" not in answer.headers, path
        async with alice.sse(session) as stream:
            assert stream.headers["x-content-type-options"] == "nosniff"
        policy = (await edge.http.get("/")).headers["content-security-policy"]

    rules = dict(rule.strip().partition(" ")[::2] for rule in policy.split(";"))
    assert rules["default-src"] == rules["connect-src"] == "'self'"
    assert "unsafe" not in policy and "*" not in policy and "http" not in policy
    assert rules["frame-ancestors"] == rules["base-uri"] == rules["form-action"] == "'none'"
