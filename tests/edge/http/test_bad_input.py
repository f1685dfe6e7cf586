"""Bad input, systematically: every field of every type, bytes that are no HTTP, and lines that try to be two."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.errors import TITLES, Problem
from edge.http.ingest import FIELDS, events, parse
from edge.sessions.body import NewSession, SessionChange
from edge.sessions.spec import parse_change, parse_session, view_of
from router.errors import BadInput
from tests.edge.auth.conftest import SecuredEdge, SecuredFactory, bearer, token
from tests.edge.auth.tally import tried
from tests.edge.conftest import EdgeFactory
from tests.waiting import in_time


@pytest.fixture
async def edge(secured: SecuredFactory) -> AsyncIterator[SecuredEdge]:
    """A secured edge with the usual settings."""
    async with secured() as running:
        yield running


TELLING = st.sampled_from(
    [
        "webhook", "sse", "earliest", "callback", "http://a/", "https://[x", "http://a:99999/", "whsec_AAAA", "a.b.c",
        "a.>", "data.x > 1", "2026-01-01T00:00:00Z", "9" * 400, 10**400, -1, 0, ["a.b.c"], "\r\nX: y", "\x00", "\ud800",
    ]
)  # fmt: skip
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20) | TELLING,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
usual = settings(max_examples=400)


def _fields(names: frozenset[str] | set[str]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=dict.fromkeys(sorted(names), ANYTHING))


def _refused(kind: str, refused: Problem | BadInput) -> None:
    assert refused.code in TITLES
    tried(kind, TITLES[refused.code][0], refused.detail if isinstance(refused, Problem) else str(refused))


@usual
@given(_fields(set(NewSession.__struct_fields__)), st.booleans())
def test_whatever_a_session_s_body_is_it_is_read_or_refused_with_a_code(body: dict[str, Any], webhook: bool) -> None:
    if webhook:
        body = {"webhook_url": "https://a.example/", **body, "delivery_method": "webhook"}
    try:
        spec, _ = parse_session(body)
        view_of(spec)
    except (Problem, BadInput) as refused:
        _refused("session body", refused)
    else:
        tried("session body")
        assert spec.delivery_method and (spec.webhook is not None) == (spec.delivery_method == "webhook")


@usual
@given(_fields(set(SessionChange.__struct_fields__)))
def test_whatever_a_change_is_it_is_made_or_refused_with_a_code(body: dict[str, Any]) -> None:
    before, _ = parse_session({"delivery_method": "webhook", "webhook_url": "https://a.example/"})
    try:
        after = parse_change(body, before)
        view_of(after)
    except (Problem, BadInput) as refused:
        _refused("session change", refused)
    else:
        tried("session change")
        assert (after.id, after.owner, after.granted, after.start) == (before.id, before.owner, before.granted, "")


@usual
@given(_fields(set(FIELDS)))
def test_whatever_an_event_is_it_is_taken_or_refused_with_a_code(item: dict[str, Any]) -> None:
    try:
        ((event, _),) = events([item], None)
    except (Problem, BadInput) as refused:
        _refused("event", refused)
    else:
        tried("event")
        assert len(event.subject.split(".")) >= 3 and event.subject.isascii()


@usual
@given(
    st.binary(max_size=60) | ANYTHING.map(lambda value: json.dumps(value).encode()),
    st.sampled_from(["application/msgpack", "application/json", "application/x-ndjson", "text/plain", "image/png", ""]),
)
def test_whatever_is_posted_as_events_it_is_read_or_refused_with_a_code(body: bytes, kind: str) -> None:
    try:
        given_, _ = parse(body, kind, 10)
        events(given_, "key")
        tried("body of POST /events")
    except (Problem, BadInput) as refused:
        _refused("body of POST /events", refused)


async def test_a_map_with_lists_for_keys_and_a_dialect_that_is_a_list_are_refused(edge: SecuredEdge) -> None:
    """Both were answered with 500 once."""
    alice = edge.as_("alice", read=[">"], publish=[">"])
    packed = await alice.http.post(
        "/events", content=b"\x81\x91\x01\x02", headers={"Content-Type": "application/msgpack"}
    )
    dialect = await alice.http.post("/callbacks/sessions", json={"dialect": ["callback"]})
    huge = await alice.http.post(
        "/events",
        content=msgpack.packb({"subject": "a.b.c", "data": {"a": 2**63}}),
        headers={"Content-Type": "application/msgpack"},
    )

    assert (packed.status_code, packed.json()["code"]) == (400, "bad_json")
    assert (dialect.status_code, dialect.json()["code"]) == (422, "bad_body")
    assert huge.status_code in (201, 422)


HOST = b"Host: localhost\r\n"
SMUGGLED = b"GET /callbacks/stats HTTP/1.1\r\nHost: localhost\r\n\r\n"
WIRE = {
    "two lengths": b"POST /events HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "two equal lengths": b"POST /events HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "length and chunks": b"POST /events HTTP/1.1\r\n" + HOST
    + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "chunks and length": b"POST /events HTTP/1.1\r\n" + HOST
    + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "chunked, identity": b"POST /events HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "xchunked": b"POST /events HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "blank before the colon": b"POST /events HTTP/1.1\r\n" + HOST + b"Content-Length : 5\r\n\r\nhello",
    "folded header": b"GET /livez HTTP/1.1\r\n" + HOST + b"X-A: b\r\n c: d\r\n\r\n",
    "bare line feeds": b"GET /livez HTTP/1.1\nHost: localhost\n\n",
    "bare carriage return": b"GET /livez HTTP/1.1\r\n" + HOST + b"X-A: b\rX-B: c\r\n\r\n",
    "nul in a header": b"GET /livez HTTP/1.1\r\n" + HOST + b"X-A: b\x00c\r\n\r\n",
    "negative length": b"POST /events HTTP/1.1\r\n" + HOST + b"Content-Length: -1\r\n\r\n",
    "plus length": b"POST /events HTTP/1.1\r\n" + HOST + b"Content-Length: +5\r\n\r\nhello",
    "hex length": b"POST /events HTTP/1.1\r\n" + HOST + b"Content-Length: 0x5\r\n\r\nhello",
    "a length of thousands of digits": b"POST /events HTTP/1.1\r\n" + HOST + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\nhello",
    "endless length": b"POST /events HTTP/1.1\r\n" + HOST + b"Content-Length: 99999999999999999999\r\n\r\n",
    "huge chunk": b"POST /events HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFFF\r\n",
    "chunk that is none": b"POST /events HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
    "no host": b"GET /runs HTTP/1.1\r\n\r\n",
    "absolute address": b"GET http://evil.example/runs HTTP/1.1\r\n" + HOST + b"\r\n",
    "no address": b"GET  HTTP/1.1\r\n" + HOST + b"\r\n",
    "address with a blank": b"GET /ru ns HTTP/1.1\r\n" + HOST + b"\r\n",
    "address of bytes": b"GET /\xff\xfe HTTP/1.1\r\n" + HOST + b"\r\n",
    "percent of nothing": b"GET /runs/%zz%00%ff HTTP/1.1\r\n" + HOST + b"\r\n",
    "dots": b"GET /livez/../metrics HTTP/1.1\r\n" + HOST + b"\r\n",
    "encoded slash": b"GET /callbacks%2fstats HTTP/1.1\r\n" + HOST + b"\r\n",
    "double slash": b"GET //metrics HTTP/1.1\r\n" + HOST + b"\r\n",
    "trailing slash": b"GET /metrics/ HTTP/1.1\r\n" + HOST + b"\r\n",
    "connect": b"CONNECT localhost:22 HTTP/1.1\r\n" + HOST + b"\r\n",
    "trace": b"TRACE /runs HTTP/1.1\r\n" + HOST + b"\r\n",
    "a method of nobody": b"BREW /runs HTTP/1.1\r\n" + HOST + b"\r\n",
    "http/0.9": b"GET /livez\r\n\r\n",
    "http/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "http/9.9": b"GET /livez HTTP/9.9\r\n" + HOST + b"\r\n",
    "a tls hello": bytes.fromhex("16030100c8010000c40303") + b"\x00" * 60,
    "upgrade to h2c": b"GET /livez HTTP/1.1\r\n" + HOST + b"Connection: Upgrade, HTTP2-Settings\r\n"
    + b"Upgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n",
    "websocket without a key": b"GET /cameras/main/ws HTTP/1.1\r\n" + HOST + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    "websocket of version 8": b"GET /cameras/main/ws HTTP/1.1\r\n" + HOST
    + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 8\r\n\r\n",
    "websocket to no socket": b"GET /runs HTTP/1.1\r\n" + HOST
    + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    "garbage": bytes(range(256)),
    "a line break in a query": b"GET /callbacks/sessions?limit=1%0d%0aSet-Cookie:%20a=b HTTP/1.1\r\n" + HOST + b"\r\n",
    "a line break in a cursor": b"GET /callbacks/sessions/x/sse?cursor=1%0d%0a%0d%0adata:%20evil HTTP/1.1\r\n" + HOST + b"\r\n",
}  # fmt: skip


@pytest.mark.parametrize("lane", [True, False])
async def test_what_is_no_request_or_two_at_once_gets_no_5xx_and_nothing_it_should_not(
    edge_factory: EdgeFactory,
    lane: bool,
) -> None:
    statuses: Counter[int] = Counter()
    async with edge_factory(lane=lane) as edge:
        for name, said in WIRE.items():
            reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
            writer.write(said)
            writer.write_eof()
            try:
                answer = await in_time(reader.read())
            except ConnectionResetError:
                answer = b""
            writer.close()
            tried("request smuggling, and what is no request", 0, answer.decode("latin-1"))
            heads = [line for line in answer.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]
            for head in heads:
                statuses[int(head.split()[1])] += 1
                assert not head.startswith(b"HTTP/1.1 5"), (name, answer)
            # The address of the encoded slash is that of the route, for authentication as for everything else.
            assert name == "encoded slash" or b"active_sessions" not in answer, name
            assert b"\r\nset-cookie: a=b" not in answer.lower(), name
        assert (await edge.http.get("/livez")).status_code == 200

    assert sum(statuses.values()) >= 30, statuses


@pytest.mark.parametrize("name", ["event", "id", "retry", "data"])
async def test_no_event_can_say_a_line_of_its_own_on_the_sse_wire(edge: SecuredEdge, entity: str, name: str) -> None:
    alice = edge.as_("alice", read=["job.>"], publish=["job.>"])
    session = await alice.session(subjects=[f"job.{entity}.>"])
    evil = f"x\n{name}: evil\r{name}: evil\r\n\r\n{name}: evil\u2028\u0085"
    await alice.publish({"subject": f"job.{entity}.output", "source": evil, "key": evil, "data": {evil: evil}})
    async with alice.http.stream("GET", f"/callbacks/sessions/{session}/sse?cursor=earliest") as answer:
        said = b""
        async for part in answer.aiter_raw():
            said += part
            if b"evil" in said and said.endswith(b"\n\n"):
                break

    tried("header and field injection", 0, said.decode())
    lines = [line for line in said.decode().splitlines() if "evil" in line]
    assert len(lines) == 1
    assert lines[0].startswith("data: {")


async def test_what_is_refused_repeats_nothing_that_could_be_markup_or_a_header(edge: SecuredEdge) -> None:
    evil = "<script>alert(1)</script>\r\nX-Evil: 1"
    alice = edge.as_("alice", read=[">"])
    for answer in (
        await alice.http.get(f"/callbacks/sessions/{evil.replace('/', '')}".replace("\r\n", "%0d%0a")),
        await alice.http.get("/runs/%3Cscript%3E%0d%0aX-Evil:1"),
        await alice.http.get("/callbacks/sessions", params={"limit": evil}),
        await alice.http.post("/callbacks/sessions", json={evil: 1}),
        await edge.http.get("/runs", headers=bearer(token() + "<script>")),
    ):
        tried("header and field injection", answer.status_code, answer.text)
        assert 400 <= answer.status_code < 500
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "x-evil" not in answer.headers
