"""Tests how credentials are read from a request: headers, subprotocols, cookies, and the client's address."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

import httpx
import pytest
import websockets
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.exceptions import InvalidStatus

from edge.auth.proxies import Proxies
from edge.auth.tickets import Pass
from edge.http.credentials import client_address, pass_cookie, pass_of
from router.broker import Broker
from router.event import Event
from tests.edge.auth.conftest import SecuredEdge, SecuredFactory, bearer, token
from tests.edge.auth.tally import tried
from tests.edge.conftest import UNHURRIED


@pytest.fixture
async def edge(secured: SecuredFactory) -> AsyncIterator[SecuredEdge]:
    async with secured() as running:
        yield running


async def test_a_token_may_travel_as_a_subprotocol(
    edge: SecuredEdge, broker: Broker, entity: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await broker.publish(Event.new(f"camera.{entity}.state", {"status": "streaming"}))
    given = token("alice", read=[f"job.{entity}.>", f"camera.{entity}.>"])
    session = await edge.showing(given).session(subjects=[f"job.{entity}.>"])

    for path in (f"callbacks/sessions/{session}/ws", f"cameras/{entity}/ws"):
        address = f"ws://127.0.0.1:{edge.port}/{path}"
        offered = ["callboard.v1", f"bearer.{given}"]
        async with websockets.connect(address, subprotocols=offered, **UNHURRIED) as socket:  # type: ignore[arg-type]
            assert socket.subprotocol == "callboard.v1"
            assert socket.response and given not in str(socket.response.headers)

    logged = [record.getMessage() for record in caplog.records if not record.name.startswith("websockets")]
    assert not [line for line in logged if given in line]
    assert any("sec-websocket-protocol" in line.lower() for line in logged), "the handshake was not logged at all"


@pytest.mark.parametrize(
    ("offered", "header", "code"),
    [
        (["callboard.v1"], False, "token_required"),
        (["callboard.v1", "bearer."], False, "bad_token"),
        (["callboard.v1", "bearer.nobody"], False, "bad_token"),
        (["callboard.v1", "bearer.{good}", "bearer.{good}"], False, "bad_token"),
        (["callboard.v1", "bearer.{good}"], True, "bad_token"),
    ],
)
async def test_a_subprotocol_that_proves_nobody_opens_nothing(
    edge: SecuredEdge, entity: str, offered: list[str], header: bool, code: str
) -> None:
    good = token("alice", read=[f"job.{entity}.>"])
    session = await edge.showing(good).session(subjects=[f"job.{entity}.>"])
    names = [name.format(good=good) for name in offered]

    with pytest.raises(InvalidStatus) as refused:
        await websockets.connect(
            f"ws://127.0.0.1:{edge.port}/callbacks/sessions/{session}/ws",
            subprotocols=names,  # type: ignore[arg-type]
            additional_headers=bearer(good) if header else None,
            **UNHURRIED,
        )

    answer = refused.value.response
    assert f'"code":"{code}"'.encode() in (answer.body or b"")
    assert good not in str(answer.headers) and good.encode() not in (answer.body or b"")


@pytest.mark.parametrize(
    ("path", "parameters", "cookie_path"),
    [
        ("/callbacks/sessions/sess_1/sse", {"session_id": "sess_1"}, "/callbacks/sessions/sess_1"),
        ("/cameras/a%20b/ws", {"entity": "a b"}, "/cameras/a%20b"),
        ("/octane/main/mjpeg", {"entity": "main"}, "/octane/main"),
    ],
)
def test_a_pass_is_sent_back_for_its_own_stream_only(path: str, parameters: dict[str, str], cookie_path: str) -> None:
    scope = {"type": "http", "scheme": "http", "path": path, "path_params": parameters, "headers": [], "client": None}

    cookie = pass_cookie(scope, Proxies(()), Pass("value", 0.2))

    assert cookie == f"callboard_pass=value; Path={cookie_path}; Max-Age=1; HttpOnly; SameSite=Strict"
    assert pass_cookie({**scope, "scheme": "https"}, Proxies(()), Pass("value", 60.0)).endswith("; Secure")


@settings(max_examples=500)
@given(st.binary(max_size=200))
def test_whatever_the_cookies_are_they_hold_a_pass_or_none(header: bytes) -> None:
    found = pass_of({"type": "http", "headers": [(b"cookie", header)]})

    tried("cookies")
    assert found is None or isinstance(found, str)


@pytest.mark.parametrize(
    ("trusted", "peer", "forwarded", "address"),
    [
        ((), "192.0.2.1", "198.51.100.1", "192.0.2.1"),
        (("10.0.0.0/8",), "192.0.2.1", "198.51.100.1", "192.0.2.1"),
        (("10.0.0.0/8",), "10.1.2.3", "198.51.100.1", "198.51.100.1"),
        (("10.0.0.0/8",), "10.1.2.3", "1.1.1.1, 198.51.100.1", "198.51.100.1"),
        (("10.0.0.0/8",), "10.1.2.3", "1.1.1.1, 198.51.100.1, 10.9.9.9", "198.51.100.1"),
        (("10.0.0.0/8",), "10.1.2.3", "10.7.7.7, 10.9.9.9", "10.7.7.7"),
        (("10.0.0.0/8",), "10.1.2.3", None, "10.1.2.3"),
        (("10.0.0.0/8",), "10.1.2.3", "", "10.1.2.3"),
        (("10.0.0.0/8",), "10.1.2.3", "1.1.1.1, unknown", "10.1.2.3"),
        (("10.0.0.0/8",), "10.1.2.3", "1.1.1.1, <script>, 10.9.9.9", "10.9.9.9"),
        (("10.0.0.0/8",), "10.1.2.3", "198.51.100.1:4711", "198.51.100.1"),
        (("10.0.0.0/8",), "10.1.2.3", "[2001:db8::1]:4711", "2001:db8::1"),
        (("10.0.0.0/8",), "::ffff:10.1.2.3", "198.51.100.1", "198.51.100.1"),
        (("2001:db8::/32",), "2001:db8::5", "198.51.100.1", "198.51.100.1"),
        (("0.0.0.0/0",), "192.0.2.1", ", ".join(["1.2.3.4"] * 5000), "1.2.3.4"),
        (("127.0.0.1",), "", "198.51.100.1", ""),
    ],
)
def test_a_client_s_address_is_believed_of_trusted_proxies_only(
    trusted: tuple[str, ...], peer: str, forwarded: str | None, address: str
) -> None:
    headers = [] if forwarded is None else [(b"x-forwarded-for", forwarded.encode())]
    scope = {"type": "http", "client": (peer, 1) if peer else None, "headers": headers}

    assert client_address(scope, Proxies(trusted)) == address


@given(st.text(max_size=200))
def test_whatever_is_forwarded_gives_an_address(text: str) -> None:
    scope = {"type": "http", "client": ("10.0.0.1", 1), "headers": [(b"x-forwarded-for", text.encode())]}

    found = client_address(scope, Proxies(("10.0.0.0/8",)))

    assert found and httpx.URL(f"http://{f'[{found}]' if ':' in found else found}/").host
