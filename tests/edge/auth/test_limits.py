"""Limits: so much for each address and each principal, in bounded memory, with a word on when to come again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
import websockets
from hypothesis import given
from hypothesis import strategies as st

from edge.auth.grants import Grants
from edge.auth.limits import Count, Limits, Rate
from edge.auth.principal import EVERYBODY, Principal
from edge.errors import Problem
from edge.settings import LimitSettings
from router.broker import Broker
from router.event import Event
from tests.clocks import Clock, set_clock
from tests.edge.auth.conftest import SecuredEdge, SecuredFactory, bearer, token
from tests.edge.conftest import UNHURRIED, EdgeFactory, edge_factory, store  # noqa: F401
from tests.waiting import eventually

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


def test_a_slot_is_released_once() -> None:
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


def test_a_refusal_of_an_address_says_what_to_set_behind_a_proxy_and_one_of_a_principal_does_not() -> None:
    limits = Limits(
        LimitSettings(
            handshakes_per_address=0.001,
            handshakes_per_address_burst=2,
            connections_per_address=1,
            failures_per_address=0.001,
            failures_per_address_burst=1,
            publish_per_address=0.001,
            publish_per_address_burst=1,
            creations_per_address=0.001,
            creations_per_address_burst=1,
            publish_per_principal=0.001,
            publish_per_principal_burst=1,
            connections_per_principal=1,
        )
    )
    where = "192.0.2.1"
    nobody = Principal(None)
    limits.open(where, nobody)
    limits.failed(where)
    limits.publish(where, nobody, 1)
    limits.create(where, nobody, 0)
    limits.open("192.0.2.2", ALICE)
    limits.publish("192.0.2.2", ALICE, 1)

    def refusal(attempt: Callable[[], object]) -> str:
        with pytest.raises(Problem) as refused:
            attempt()
        assert refused.value.status == 429
        return refused.value.detail

    of_address = [
        refusal(lambda: limits.open(where, nobody)),
        refusal(lambda: limits.open(where, nobody)),
        refusal(lambda: limits.check_failures(where)),
        refusal(lambda: limits.publish(where, nobody, 1)),
        refusal(lambda: limits.create(where, nobody, 0)),
    ]
    of_principal = [
        refusal(lambda: limits.open("192.0.2.3", ALICE)),
        refusal(lambda: limits.publish("192.0.2.3", ALICE, 1)),
    ]

    assert all("from this address" in text and "CALLBOARD_EDGE_TRUSTED_PROXIES" in text for text in of_address)
    assert not any("address" in text or "PROXIES" in text for text in of_principal)


def test_there_is_room_where_a_connection_would_be_opened_and_asking_takes_nothing() -> None:
    limits = Limits(
        LimitSettings(handshakes_per_address_burst=2, handshakes_per_address=0.001, connections_per_principal=2)
    )
    for _ in range(10):
        assert limits.has_room("192.0.2.1", ALICE)
    slots = [limits.open("192.0.2.1", ALICE) for _ in range(2)]

    assert not limits.has_room("192.0.2.1", EVERYBODY), "its handshakes are used up"
    assert not limits.has_room("192.0.2.2", ALICE), "she has all that she may have"
    slots[0].release()
    assert limits.has_room("192.0.2.2", ALICE) and limits.has_room("127.0.0.1", EVERYBODY)
    full = Limits(LimitSettings(connections_per_address=1))
    full.open("192.0.2.1", EVERYBODY)
    assert not full.has_room("192.0.2.1", EVERYBODY)


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


async def test_open_connections_are_counted_and_given_back(
    secured: SecuredFactory,
    store: Broker,  # noqa: F811
    entity: str,
) -> None:
    async with secured(lane=False, limits=LimitSettings(connections_per_principal=2)) as edge:
        alice, bob = edge.as_("alice", read=[">"]), edge.as_("bob", read=[">"])
        session = await alice.session()
        await store.publish(Event.new(f"camera.{entity}.state", {"status": "idle"}))
        address = f"ws://127.0.0.1:{edge.port}/cameras/{entity}/ws"
        async with (
            alice.socket(session),
            websockets.connect(address, additional_headers=bearer(alice.token), **UNHURRIED),
        ):
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


async def test_bodies_nested_too_deep_are_refused(edge_factory: EdgeFactory) -> None:  # noqa: F811
    async with edge_factory() as edge:
        for path in ("/callbacks/sessions", "/tickets"):
            for depth in (65, 500, 100_000):
                body = b'{"name":' + b"[" * depth + b"]" * depth + b"}"
                answer = await edge.http.post(path, content=body)
                assert answer.status_code in (400, 422) and answer.json()["code"] in ("bad_body", "bad_json"), depth
