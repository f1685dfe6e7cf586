"""Tickets: what a browser puts into an address, once; and the cookie that lets it come back to the same stream."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import httpx
import pytest
import websockets

from edge.auth.tickets import SIGN_IN_SECONDS
from edge.http import stills
from edge.settings import IdentitySettings, LimitSettings
from router.broker import Broker
from router.event import Event
from router.nats.bucket import Bucket
from router.topology import LEASES
from tests.clocks import Clock
from tests.edge.auth.conftest import SECRET, SecuredEdge, SecuredFactory
from tests.edge.conftest import UNHURRIED, store  # noqa: F401
from tests.waiting import PATIENCE


async def _ticket(who: SecuredEdge, **body: Any) -> str:
    answer = await who.http.post("/tickets", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()["ticket"]


async def _opened(edge: SecuredEdge, path: str, **headers: str) -> tuple[int, httpx.Headers]:
    """Opens a stream and leaves it at once."""
    async with edge.http.stream("GET", path, headers=headers) as answer:
        return answer.status_code, answer.headers


async def test_a_ticket_opens_the_stream_it_is_for_once(edge: SecuredEdge, entity: str) -> None:
    alice = edge.as_("alice", read=["job.>"], publish=["job.>"])
    session = await alice.session(subjects=[f"job.{entity}.>"])
    path = f"/callbacks/sessions/{session}"
    await alice.numbers(entity, 2)

    async with edge.socket(session, f"?ticket={await _ticket(alice, session_id=session)}") as socket:
        assert [event["data"]["n"] for event in await socket.events(2)] == [0, 1]
    async with edge.sse(session, f"?ticket={await _ticket(alice, session_id=session)}") as stream:
        assert [event["data"]["n"] for event in await stream.events(2)] == [0, 1]
    ticket = await _ticket(alice, session_id=session)
    assert (await _opened(edge, f"{path}/sse?ticket={ticket}"))[0] == 200
    again = await edge.http.get(f"{path}/sse?ticket={ticket}", headers={"Cookie": ""})
    edge.http.cookies.clear()
    again = await edge.http.get(f"{path}/sse?ticket={ticket}")
    assert (again.status_code, again.json()["code"]) == (401, "bad_ticket")
    assert again.headers["content-type"] == "application/problem+json"


@pytest.mark.slow
async def test_of_all_who_come_with_one_ticket_to_two_edges_at_once_one_is_let_in(secured: SecuredFactory) -> None:
    async with secured() as one, secured() as other:
        alice = one.as_("alice", read=[">"])
        session = await alice.session()
        for _ in range(5):
            path = f"/callbacks/sessions/{session}/sse?ticket={await _ticket(alice, session_id=session)}"

            async def come(edge: SecuredEdge, path: str = path) -> int:
                async with (
                    httpx.AsyncClient(base_url=edge.url, timeout=PATIENCE) as http,
                    http.stream("GET", path) as answer,
                ):
                    return answer.status_code

            statuses = await asyncio.gather(*(come(edge) for edge in (one, other) * 8))

            assert sorted(statuses) == [200] + [401] * 15


async def test_a_ticket_is_good_for_nothing_else(edge: SecuredEdge, name: str) -> None:
    alice, bob = edge.as_(f"a{name}", read=[">"]), edge.as_(f"b{name}", read=[">"])
    hers, other, his = await alice.session(), await alice.session(), await bob.session()
    base = "/callbacks/sessions"

    for path in (
        f"{base}/{other}/sse", f"{base}/{his}/sse", f"{base}/{hers}/events", f"{base}/{hers}", base,
        f"{base}/{hers}/stats", "/cameras/main/mjpeg", f"/cameras/{hers}/mjpeg", "/callbacks/stats", "/runs",
    ):  # fmt: skip
        ticket = await _ticket(alice, session_id=hers)
        refused = await edge.http.get(f"{path}?ticket={ticket}")
        assert refused.status_code == 401, path
        # It was not for that, and so it is not spent.
        assert (await _opened(edge, f"{base}/{hers}/sse?ticket={ticket}"))[0] == 200
        edge.http.cookies.clear()
    only = await _ticket(alice, session_id=hers, transport="websocket")
    assert (await edge.http.get(f"{base}/{hers}/sse?ticket={only}")).status_code == 401
    async with edge.socket(hers, f"?ticket={only}") as socket:
        await socket.control("ready")


async def test_a_ticket_is_good_for_a_short_time(secured: SecuredFactory, clock: Clock) -> None:
    async with secured(identity=IdentitySettings(secret=SECRET, ticket_ttl=300)) as edge:
        alice = edge.as_("alice", ttl=6000, read=[">"])
        session = await alice.session()
        answer = await alice.http.post("/tickets", json={"session_id": session})
        in_time = await _ticket(alice, session_id=session)
        assert (await _opened(edge, f"/callbacks/sessions/{session}/sse?ticket={in_time}"))[0] == 200
        edge.http.cookies.clear()
        clock.advance(300)
        late = await edge.http.get(f"/callbacks/sessions/{session}/sse?ticket={answer.json()['ticket']}")

    assert answer.json()["expires_in"] == 300
    assert answer.headers["cache-control"] == "no-store"
    assert (late.status_code, late.json()["code"]) == (401, "bad_ticket")


@pytest.mark.parametrize(
    "ticket",
    ["", "x", "a" * 43, "a" * 42 + ".", "*" * 43, ">" * 43, "../" * 14 + "a", "é" * 43, "a" * 5000, "%00" * 43],
)
async def test_what_is_no_ticket_is_refused(edge: SecuredEdge, ticket: str) -> None:
    session = await edge.as_("alice", read=[">"]).session()
    answer = await edge.http.get(f"/callbacks/sessions/{session}/sse", params={"ticket": ticket})

    assert (answer.status_code, answer.json()["code"]) == (401, "bad_ticket")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ([], 422), ({}, 422), ({"session_id": 7}, 422), ({"session_id": ""}, 422), ({"session_id": "nope"}, 404),
        ({"camera": "main", "octane": "main"}, 422), ({"camera": "main", "transport": "pigeon"}, 422),
        ({"sign_in": True, "camera": "main"}, 422), ({"sign_in": True, "transport": "sse"}, 422), ({"sign_in": False}, 422),
        ({"camera": ["main"]}, 422), ({"colour": "red"}, 422), ({"camera": "other"}, 403), ({"octane": "main"}, 403),
    ],
)  # fmt: skip
async def test_a_bad_wish_for_a_ticket_is_refused(edge: SecuredEdge, body: Any, status: int) -> None:
    answer = await edge.as_("alice", read=["camera.main.>"]).http.post("/tickets", json=body)

    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


async def test_the_cookie_of_the_first_opening_lets_the_same_address_be_opened_again(
    edge: SecuredEdge, entity: str
) -> None:
    """What a browser's EventSource does after a drop: the same URL with the spent ticket, Last-Event-ID, and cookies."""
    alice = edge.as_("alice", ttl=6600, read=["job.>"], publish=["job.>"])
    session = await alice.session(subjects=[f"job.{entity}.>"])
    path = f"/callbacks/sessions/{session}"
    cursors = await alice.numbers(entity, 3)
    query = f"?ticket={await _ticket(alice, session_id=session)}"

    async with edge.sse(session, query) as stream:
        await stream.events(3)
        cookie = stream.headers["set-cookie"]
    name, _, rest = cookie.partition("=")
    value = rest.partition(";")[0]
    attributes = {part.strip().partition("=")[0].lower() for part in cookie.split(";")[1:]}
    assert {"httponly", "path", "max-age", "samesite"} == attributes and "SameSite=Strict" in cookie
    assert f"Path={path};" in cookie
    assert 6000 <= int(cookie.split("Max-Age=")[1].split(";")[0]) <= 6611
    edge.http.cookies.clear()
    mine = {"Cookie": f"other=1; {name}={value}"}
    async with edge.sse(session, query, headers={**mine, "Last-Event-ID": cursors[1]}) as stream:
        assert [event["data"]["n"] for event in await stream.events(1)] == [2]
    async with websockets.connect(f"ws://127.0.0.1:{edge.port}{path}/ws", additional_headers=mine, **UNHURRIED) as raw:
        assert b"ready" in await raw.recv(decode=False)
    # It opens streams of this session and nothing else.
    other = await alice.session()
    for method, refused in (
        ("GET", f"/callbacks/sessions/{other}/sse"), ("GET", path), ("DELETE", path), ("GET", f"{path}/events"),
        ("POST", "/events"), ("POST", "/tickets"), ("POST", f"{path}/refresh"), ("GET", "/cameras/main/mjpeg"),
    ):  # fmt: skip
        assert (await edge.http.request(method, refused, headers=mine)).status_code == 401, refused
    for broken in ("callboard_pass=", "callboard_pass=x", f"callboard_pass={value}x", 'callboard_pass="\\"', "=;=;;"):
        assert (await edge.http.get(f"{path}/sse", headers={"Cookie": broken})).status_code == 401, broken


async def test_a_websocket_s_handshake_gives_the_cookie_too(edge: SecuredEdge) -> None:
    alice = edge.as_("alice", read=[">"])
    session = await alice.session()
    async with edge.socket(session, f"?ticket={await _ticket(alice, session_id=session)}") as socket:
        assert socket.raw.response is not None
        assert "callboard_pass=" in socket.raw.response.headers["set-cookie"]


async def test_the_cookie_ends_with_the_token_and_a_refresh_renews_it(secured: SecuredFactory, clock: Clock) -> None:
    async with secured(identity=IdentitySettings(secret=SECRET, leeway=0)) as edge:
        alice = edge.as_("alice", ttl=600, read=[">"])
        session = await alice.session()
        path = f"/callbacks/sessions/{session}"
        _, headers = await _opened(edge, f"{path}/sse?ticket={await _ticket(alice, session_id=session)}")
        old = headers["set-cookie"].partition(";")[0]
        later = edge.as_("alice", ttl=6000, read=[">"])
        renewed = await later.http.post(f"{path}/refresh", headers={"Cookie": old})
        stranger = await edge.as_("root", operate=True).http.post(f"{path}/refresh", headers={"Cookie": old})
        edge.http.cookies.clear()
        assert (await _opened(edge, f"{path}/sse", Cookie=old))[0] == 200
        clock.advance(600)
        assert (await _opened(edge, f"{path}/sse", Cookie=old))[0] == 401
        new = renewed.headers["set-cookie"].partition(";")[0]

        assert (await _opened(edge, f"{path}/sse", Cookie=new))[0] == 200
        assert "set-cookie" not in stranger.headers


async def test_behind_a_trusted_proxy_that_speaks_tls_the_cookie_is_for_tls_only(secured: SecuredFactory) -> None:
    async with secured(trusted_proxies=("127.0.0.0/8",)) as trusting, secured() as edge:
        for one, secure in ((trusting, True), (edge, False)):
            alice = one.as_("alice", read=[">"])
            session = await alice.session()
            ticket = await _ticket(alice, session_id=session)
            path = f"/callbacks/sessions/{session}/sse?ticket={ticket}"
            _, headers = await _opened(one, path, **{"X-Forwarded-Proto": "https"})
            assert ("; Secure" in headers["set-cookie"]) is secure


async def test_pictures_have_tickets_of_their_own(
    edge: SecuredEdge,
    store: Broker,  # noqa: F811
    entity: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stills, "STILL_SECONDS", 0.1)
    await store.publish(Event.new(f"camera.{entity}.state", {"status": "streaming"}))
    alice = edge.as_("alice", read=[f"camera.{entity}.>"])
    for way in ("mjpeg", "ws"):
        ticket = await _ticket(alice, camera=entity)
        if way == "mjpeg":
            assert (await _opened(edge, f"/cameras/{entity}/mjpeg?ticket={ticket}"))[0] == 200
        else:
            async with websockets.connect(
                f"ws://127.0.0.1:{edge.port}/cameras/{entity}/ws?ticket={ticket}", **UNHURRIED
            ):
                pass
        edge.http.cookies.clear()
        assert (await edge.http.get(f"/cameras/{entity}/snapshot?ticket={ticket}")).status_code == 401
    snapshot = await edge.http.get(f"/cameras/{entity}/snapshot?ticket={await _ticket(alice, camera=entity)}")
    assert snapshot.json()["code"] == "no_capture"


async def test_what_lies_in_the_bucket_is_of_no_use_to_who_reads_it(
    edge: SecuredEdge,
    store: Broker,  # noqa: F811
) -> None:
    alice = edge.as_("alice", read=[">"])
    session = await alice.session()
    ticket = await _ticket(alice, session_id=session)
    bucket = Bucket(store.connection, "LEASES")
    entries = await bucket.entries("ticket.*")

    assert not any(ticket in entry.key or ticket.encode() in (entry.value or b"") for entry in entries)
    for entry in entries:
        answer = await edge.http.get(f"/callbacks/sessions/{session}/sse?ticket={entry.key.removeprefix('ticket.')}")
        assert answer.status_code == 401


async def test_neither_ticket_nor_token_is_ever_logged(
    secured: SecuredFactory, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for logger in ("uvicorn", "uvicorn.error", "uvicorn.access", "websockets"):
        caplog.set_level(logging.DEBUG, logger)
    secrets: list[str] = []
    for lane in (True, False):
        async with secured(lane=lane) as edge:
            alice = edge.as_("alice", read=[">"])
            session = await alice.session()
            ticket, other = [await _ticket(alice, session_id=session) for _ in range(2)]
            async with edge.socket(session, f"?ticket={ticket}") as socket:
                await socket.control("ready")
            await _opened(edge, f"/callbacks/sessions/{session}/sse?ticket={other}")
            await edge.http.get(f"/callbacks/stats?token={alice.token}")
            await edge.http.get("/callbacks/stats", headers={"Authorization": f"Bearer {alice.token}x"})
            secrets += [ticket, other, alice.token]
    ours = [
        record for record in caplog.records if not record.name.startswith(("httpx", "httpcore", "websockets.client"))
    ]
    said = "\n".join(f"{record.name} {record.getMessage()} {vars(record)}" for record in ours)

    assert "uvicorn.error" in said
    for secret in secrets:
        assert secret not in said


async def test_a_sign_in_ticket_gives_its_token_once_and_is_no_use_to_who_reads_the_bucket(
    edge: SecuredEdge,
    store: Broker,  # noqa: F811
) -> None:
    alice = edge.as_("alice", read=["job.>"])

    ticket = await _ticket(alice, sign_in=True)
    held = [entry.value for entry in await Bucket(store.connection, LEASES).entries("signin.>")]
    first, second = await asyncio.gather(
        *(edge.http.post("/tickets/redeem", json={"ticket": ticket}) for _ in range(2))
    )

    won, lost = sorted((first, second), key=lambda answer: answer.status_code)
    assert (won.status_code, won.json()) == (200, {"token": alice.token}), won.text
    assert won.headers["cache-control"] == "no-store"
    assert (lost.status_code, lost.json()["code"]) == (401, "bad_ticket")
    assert held and not any(secret.encode() in value for value in held for secret in (alice.token, ticket))


async def test_a_sign_in_ticket_ends_and_opens_no_stream(secured: SecuredFactory, clock: Clock) -> None:
    async with secured() as edge:
        alice = edge.as_("alice", read=["job.>"])
        session = await alice.session()
        ticket, late = await _ticket(alice, sign_in=True), await _ticket(alice, sign_in=True)

        opened = await edge.http.get(f"/callbacks/sessions/{session}/sse?ticket={ticket}")
        stream = await _ticket(alice, session_id=session)
        exchanged = await edge.http.post("/tickets/redeem", json={"ticket": stream})
        clock.advance(SIGN_IN_SECONDS + 1)
        ended = await edge.http.post("/tickets/redeem", json={"ticket": late})

    assert [answer.json()["code"] for answer in (opened, exchanged, ended)] == ["bad_ticket"] * 3


async def test_who_guesses_sign_in_tickets_is_refused_for_a_while(secured: SecuredFactory) -> None:
    limits = LimitSettings(loopback=True, failures_per_address=0.01, failures_per_address_burst=3)
    async with secured(limits=limits) as edge:
        found = [(await edge.http.post("/tickets/redeem", json={"ticket": f"{n:043}"})).status_code for n in range(5)]

    assert found == [401, 401, 401, 429, 429]
