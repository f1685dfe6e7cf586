"""Limits: so much for each address and each principal, in bounded memory, with a word on when to come again."""

from __future__ import annotations

import asyncio
import contextlib
import time

import httpx
import pytest
import websockets
from hypothesis import given
from hypothesis import strategies as st

from edge.auth.grants import Grants
from edge.auth.limits import Count, Limits, Rate
from edge.auth.principal import EVERYBODY, Principal
from edge.auth.proxies import Proxies
from edge.errors import Problem
from edge.settings import LimitSettings
from tests.clocks import Clock, set_clock
from tests.edge.auth.conftest import SecuredEdge, SecuredFactory, bearer, token
from tests.edge.conftest import EdgeFactory, edge_factory  # noqa: F401
from tests.waiting import PATIENCE, eventually

ALICE = Principal("- alice", Grants(read=(">",)))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of the limits, which stands still."""
    return set_clock(monkeypatch, "edge.auth.limits", standing=True)


def test_a_bucket_gives_its_burst_at_once_and_then_its_rate(clock: Clock) -> None:
    rate = Rate(10.0, 5.0, 100)

    assert [rate.take("a") for _ in range(5)] == [0.0] * 5
    assert rate.take("a") == pytest.approx(0.1)
    assert rate.take("b") == 0.0


def test_what_is_refused_takes_nothing_and_who_waits_as_long_as_told_gets_it(clock: Clock) -> None:
    rate = Rate(100.0, 10.0, 100)
    assert rate.take("a", 10) == 0.0
    waits = [rate.take("a", 4) for _ in range(50)]
    clock.advance(waits[-1] / 2)
    later = rate.take("a", 4)
    clock.advance(later + 1e-6)

    assert waits == pytest.approx([0.04] * 50) and later == pytest.approx(0.02)
    assert rate.take("a", 4) == 0.0


def test_more_than_a_burst_is_had_of_a_full_bucket_and_leaves_a_debt(clock: Clock) -> None:
    rate = Rate(10.0, 10.0, 100)

    assert rate.take("a", 100) == 0.0
    assert rate.take("a") == pytest.approx(9.1)


def test_no_rate_is_no_limit_and_costs_no_memory() -> None:
    rate = Rate(0.0, 1.0, 100)

    assert [rate.take("a", 1e9) for _ in range(3)] == [0.0] * 3 and len(rate) == 0


@given(st.lists(st.sampled_from([f"10.0.0.{n}" for n in range(200)]), max_size=500))
def test_no_more_is_remembered_than_was_said(keys: list[str]) -> None:
    rate = Rate(1.0, 2.0, 50)
    for key in keys:
        rate.take(key)

    assert len(rate) <= 50


def test_a_count_holds_no_key_that_has_none() -> None:
    count = Count(2)
    count.enter("a")
    count.enter("a")

    assert count.full("a") and not count.full("b")
    count.leave("a")
    count.leave("a")
    count.leave("a")
    assert len(count) == 0 and not count.full("a")


def test_who_has_an_ipv6_address_has_its_whole_network() -> None:
    limits = Limits(LimitSettings())

    assert limits.key("2001:db8:1:2::1") == limits.key("2001:db8:1:2:ffff::9") == "2001:db8:1:2::"
    assert limits.key("2001:db8:1:3::1") != limits.key("2001:db8:1:2::1")
    assert limits.key("::ffff:192.0.2.1") == limits.key("192.0.2.1") == "192.0.2.1"
    assert [limits.key(own) for own in ("127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "")] == [None] * 5
    assert Limits(LimitSettings(loopback=True)).key("::1") == "::1"


def test_a_seat_is_given_back_once() -> None:
    limits = Limits(LimitSettings(connections_per_principal=2))
    slots = [limits.open("192.0.2.1", ALICE) for _ in range(2)]
    with pytest.raises(Problem) as refused:
        limits.open("192.0.2.2", ALICE)
    assert (refused.value.code, refused.value.status, refused.value.headers["Retry-After"]) == ("too_many", 429, "10")

    slots[0].release()
    slots[0].release()
    limits.open("192.0.2.1", ALICE)
    with pytest.raises(Problem):
        limits.open("192.0.2.1", ALICE)
    assert len(limits.connections_of_address) == 1


def test_the_defaults_disturb_nobody_on_this_machine() -> None:
    limits = Limits(LimitSettings())
    for _ in range(20_000):
        limits.open("127.0.0.1", EVERYBODY)
        limits.publish("127.0.0.1", EVERYBODY, 1000)
        limits.create("127.0.0.1", EVERYBODY, 10**6)

    assert len(limits.connections_of_address) == len(limits.connections_of_principal) == 0


async def _statuses(*asked: object) -> list[int]:
    return sorted([answer.status_code for answer in await asyncio.gather(*asked)])  # type: ignore[call-overload]


async def test_publishing_is_limited_per_principal_and_says_when_to_come_again(
    secured: SecuredFactory, entity: str, clock: Clock
) -> None:
    async with secured(limits=LimitSettings(publish_per_principal=10, publish_per_principal_burst=20)) as edge:
        alice, bob = (edge.as_(name, publish=["job.>"]) for name in ("alice", "bob"))
        events = [{"subject": f"job.{entity}.output"}] * 10
        answers = [await alice.http.post("/events", json=events) for _ in range(3)]
        refused = answers[-1]

        assert [answer.status_code for answer in answers] == [201, 201, 429]
        assert refused.json()["code"] == "rate_limited" and refused.headers["retry-after"] == "1"
        assert (await bob.http.post("/events", json=events)).status_code == 201
        clock.advance(1.001)
        assert [(await alice.http.post("/events", json=events)).status_code for _ in range(2)] == [201, 429]


async def test_sessions_are_limited_in_number_and_in_haste(secured: SecuredFactory, name: str) -> None:
    limits = LimitSettings(sessions_per_principal=3, creations_per_principal=0.001, creations_per_principal_burst=4)
    async with secured(limits=limits) as edge:
        alice = edge.as_(name, read=[">"])
        sessions = [await alice.session() for _ in range(3)]
        full = await alice.http.post("/callbacks/sessions", json={})
        await alice.http.delete(f"/callbacks/sessions/{sessions[0]}")
        again = await alice.http.post("/callbacks/sessions", json={})
        await alice.http.delete(f"/callbacks/sessions/{sessions[1]}")
        hasty = await alice.http.post("/callbacks/sessions", json={})

        assert (full.status_code, full.json()["code"]) == (429, "too_many")
        assert again.status_code == 201
        assert (hasty.status_code, hasty.json()["code"]) == (429, "rate_limited")
        assert int(hasty.headers["retry-after"]) > 100


async def test_streams_are_limited_per_address_before_they_are_accepted(edge_factory: EdgeFactory) -> None:  # noqa: F811
    """Also without keys, for who comes from elsewhere; here the machine itself counts as elsewhere."""
    limits = LimitSettings(loopback=True, handshakes_per_address=0.001, handshakes_per_address_burst=3)
    async with edge_factory(limits=limits) as edge:
        session = await edge.session()
        for _ in range(2):
            async with edge.socket(session) as socket:
                await socket.control("ready")
        async with edge.sse(session):
            pass
        refused = await edge.http.get(f"/callbacks/sessions/{session}/sse")
        with pytest.raises(websockets.InvalidStatus) as handshake:
            async with edge.socket(session):
                pass
        polled = await edge.http.get(f"/callbacks/sessions/{session}/events")

    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
    assert handshake.value.response.status_code == 429
    assert int(handshake.value.response.headers["retry-after"]) > 100
    assert polled.status_code == 200


async def test_open_connections_are_counted_and_given_back(secured: SecuredFactory, entity: str) -> None:
    async with secured(lane=False, limits=LimitSettings(connections_per_principal=2)) as edge:
        alice, bob = edge.as_("alice", read=[">"]), edge.as_("bob", read=[">"])
        session = await alice.session()
        address = f"ws://127.0.0.1:{edge.port}/cameras/{entity}/ws"
        async with alice.socket(session), websockets.connect(address, additional_headers=bearer(alice.token)):
            for path in (f"/callbacks/sessions/{session}/sse", f"/callbacks/sessions/{session}/events"):
                refused = await alice.http.get(path)
                assert (refused.status_code, refused.json()["code"]) == (429, "too_many")
            assert (await bob.http.get(f"/callbacks/sessions/{await bob.session()}/events")).status_code == 200
        await eventually(lambda: _polls(alice, session))


async def _polls(who: SecuredEdge, session: str) -> bool:
    return (await who.http.get(f"/callbacks/sessions/{session}/events")).status_code == 200


async def test_who_offers_too_many_bad_tokens_is_not_listened_to_for_a_while(secured: SecuredFactory) -> None:
    limits = LimitSettings(loopback=True, failures_per_address=0.01, failures_per_address_burst=5)
    async with secured(limits=limits, trusted_proxies=("127.0.0.1",)) as edge:
        there, here = {"X-Forwarded-For": "192.0.2.1"}, {"X-Forwarded-For": "192.0.2.2"}
        bad, good = bearer(token()[:-4] + "AAAA"), bearer(token())
        codes = [
            (await edge.http.get("/callbacks/sessions", headers={**bad, **there})).json()["code"] for _ in range(8)
        ]
        locked = await edge.http.get("/callbacks/sessions", headers={**good, **there})
        session = await edge.as_("alice", read=[">"]).session()
        guessed = await edge.http.get(f"/callbacks/sessions/{session}/sse", params={"ticket": "a" * 43}, headers=there)

        assert codes == ["bad_token"] * 5 + ["rate_limited"] * 3
        assert (locked.status_code, guessed.status_code) == (429, 429)
        assert int(locked.headers["retry-after"]) > 10
        assert (await edge.http.get("/callbacks/sessions", headers={**good, **here})).status_code == 200


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
def test_of_where_somebody_comes_from_only_trusted_proxies_are_believed(
    trusted: tuple[str, ...], peer: str, forwarded: str | None, address: str
) -> None:
    headers = [] if forwarded is None else [(b"x-forwarded-for", forwarded.encode())]
    scope = {"type": "http", "client": (peer, 1) if peer else None, "headers": headers}

    assert Proxies(trusted).address(scope) == address


@given(st.text(max_size=200))
def test_whatever_is_forwarded_gives_an_address(text: str) -> None:
    scope = {"type": "http", "client": ("10.0.0.1", 1), "headers": [(b"x-forwarded-for", text.encode())]}

    found = Proxies(("10.0.0.0/8",)).address(scope)

    assert found and httpx.URL(f"http://{f'[{found}]' if ':' in found else found}/").host


def test_a_network_that_is_none_is_refused_at_the_start() -> None:
    from edge.settings import EdgeSettings

    with pytest.raises(ValueError, match="trusted_proxies"):
        EdgeSettings(trusted_proxies=("10.0.0.0/8", "the proxy"))


async def test_a_head_that_does_not_end_is_cut_off_and_others_are_served_meanwhile(edge_factory: EdgeFactory) -> None:  # noqa: F811
    async with edge_factory(limits=LimitSettings(head_seconds=2.0)) as edge:
        for said in (b"", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: "):
            reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
            writer.write(said)
            assert (await edge.http.get("/livez")).status_code == 200
            answer = await asyncio.wait_for(reader.read(), PATIENCE)
            writer.close()
            assert answer == b"" if not said else b"408 Request Timeout" in answer and b'"request_timeout"' in answer


async def test_a_head_that_dribbles_gets_no_more_time_than_one_that_stops(edge_factory: EdgeFactory) -> None:  # noqa: F811
    async with asyncio.timeout(PATIENCE), edge_factory(limits=LimitSettings(head_seconds=0.4)) as edge:
        reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
        begun = time.monotonic()
        ended = asyncio.ensure_future(_all_of(reader))
        with contextlib.suppress(ConnectionError):
            while not ended.done():
                writer.write(b"X" if time.monotonic() > begun + 0.05 else b"GET /livez HTTP/1.1\r\nX-A: ")
                await asyncio.wait({ended}, timeout=0.02)
        writer.close()

        heard = await ended
        # Who still writes into what is closed may be answered by a reset, which takes unread bytes with it.
        assert b"408" in heard or not heard


async def _all_of(reader: asyncio.StreamReader) -> bytes:
    heard = b""
    with contextlib.suppress(ConnectionError):
        while some := await reader.read(65536):
            heard += some
    return heard


async def test_the_head_of_the_next_request_on_a_connection_is_held_to_it_too(edge_factory: EdgeFactory) -> None:  # noqa: F811
    async with edge_factory(limits=LimitSettings(head_seconds=2.0)) as edge:
        reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
        writer.write(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        first = await reader.readuntil(b'{"status":"ok"}')
        writer.write(b"GET /livez HTTP/1.1\r\nHost: loc")
        rest = await asyncio.wait_for(reader.read(), PATIENCE)
        writer.close()

        assert b"200 OK" in first and b"408" in rest


async def test_a_body_that_dribbles_is_cut_off(edge_factory: EdgeFactory) -> None:  # noqa: F811
    head = b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{"
    async with edge_factory(limits=LimitSettings(body_seconds=2.0)) as edge:
        for path in (b"/events", b"/callbacks/sessions", b"/livez", b"/nowhere"):
            reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
            writer.write(head % path)
            answer = await asyncio.wait_for(reader.read(), PATIENCE)
            writer.close()
            if path in (b"/events", b"/callbacks/sessions"):
                assert b"408" in answer and b'"code":"request_timeout"' in answer, path


@pytest.mark.parametrize("lane", [True, False])
async def test_a_head_that_is_too_large_is_refused_without_being_held(
    edge_factory: EdgeFactory,  # noqa: F811
    lane: bool,
) -> None:
    async with edge_factory(lane=lane, limits=LimitSettings(head_bytes=8192)) as edge:
        for said in (
            b"GET /livez?" + b"x" * 9000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
            b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-A: " + b"a" * 9000 + b"\r\n\r\n",
            b"GET /livez HTTP/1.1\r\nHost: localhost\r\n" + b"X-A: b\r\n" * 2000 + b"\r\n",
            b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-A: " + b"a" * 2_000_000,
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
            writer.write(said)
            try:
                answer = await asyncio.wait_for(reader.read(), PATIENCE)
            except ConnectionResetError:
                assert len(said) > 1_000_000  # cut off while it still sent
            else:
                assert b"431" in answer and b'"code":"head_too_large"' in answer, said[:40]
            writer.close()
        large = {"X-A": "a" * 7000}
        assert (await edge.http.get("/livez", headers=large)).status_code == 200


async def test_a_long_stream_is_not_cut_off_by_the_deadlines_of_its_request(edge_factory: EdgeFactory) -> None:  # noqa: F811
    limits = LimitSettings(head_seconds=2.0, body_seconds=2.0)
    async with edge_factory(limits=limits) as edge:
        session = await edge.session(subjects=None)
        async with edge.socket(session) as socket, edge.sse(session) as stream:
            begun = time.monotonic()
            await eventually(lambda: time.monotonic() > begun + 3.0)
            await edge.http.post(f"/callbacks/sessions/{session}/test", json={})
            assert len(await socket.events(1)) == len(await stream.events(1)) == 1


async def test_bodies_nested_too_deep_are_refused(edge_factory: EdgeFactory) -> None:  # noqa: F811
    async with edge_factory() as edge:
        for path in ("/callbacks/sessions", "/tickets"):
            for depth in (65, 500, 100_000):
                body = b'{"name":' + b"[" * depth + b"]" * depth + b"}"
                answer = await edge.http.post(path, content=body)
                assert answer.status_code in (400, 422) and answer.json()["code"] in ("bad_body", "bad_json"), depth
