"""Readers over real sockets: told that their token ends, closed when it does, renewed in place, and never shown more."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import websockets

from edge.disconnect import EXPIRED, FORBIDDEN
from edge.settings import IdentitySettings, LimitSettings
from tests.clocks import Clock
from tests.edge.auth.conftest import SECRET, SecuredEdge, SecuredFactory, token
from tests.edge.conftest import Socket
from tests.waiting import eventually

# Seconds of the tests' own clock, so large that what passes by itself does not count: a token lasts for TTL, and its end
# is told NOTICE before.
TTL, NOTICE = 6000.0, 3000.0
NEARLY, OVER = TTL - NOTICE + 1000.0, TTL
# For tokens that are made when tests are collected, long before they are shown, and that outlast the others.
LONG = 1e6
SHORT = IdentitySettings(secret=SECRET, leeway=0.0, expiry_notice=NOTICE, max_lifetime=1e7)


@pytest.fixture(params=["lane", "plain"])
async def edge(request: pytest.FixtureRequest, secured: SecuredFactory) -> AsyncIterator[SecuredEdge]:
    """An edge with short notice; sockets are handed over in one half of the tests, and served by ASGI in the other."""
    async with secured(SHORT, lane=request.param == "lane") as running:
        yield running


@contextlib.asynccontextmanager
async def opened(
    edge: SecuredEdge, session: str, query: str = "?controls=all"
) -> AsyncIterator[tuple[Socket, dict[str, Any]]]:
    async with edge.socket(session, query) as socket:
        yield socket, await socket.control("ready")


async def said(socket: Socket, message: dict[str, Any]) -> dict[str, Any]:
    """What a message is answered with."""
    await socket.raw.send(json.dumps(message))
    while (answer := await socket.next()).get("control") not in ("refreshed", "error", "pong"):
        pass
    return answer


async def test_a_socket_is_told_that_its_token_ends_and_then_closed_to_come_back(
    edge: SecuredEdge, clock: Clock, entity: str
) -> None:
    mine = await edge.as_("alice", read=["job.>"]).session(subjects=[f"job.{entity}.>"])
    async with opened(edge.as_("alice", ttl=TTL, read=["job.>"]), mine) as (socket, _):
        clock.advance(NEARLY)
        expiring = await socket.control("expiring")
        clock.advance(OVER)
        bye = await socket.control("bye")
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await socket.next()

    assert expiring["refresh"] is True and 0 < expiring["seconds"] <= 2000
    assert (bye["reason"], bye["code"], bye["reconnect"]) == (EXPIRED.reason, 4003, True) and bye["cursor"]
    assert closed.value.rcvd and closed.value.rcvd.code == 4003


async def test_a_stream_is_told_that_its_token_ends_and_then_ended(
    edge: SecuredEdge, clock: Clock, entity: str
) -> None:
    mine = await edge.as_("alice", read=["job.>"]).session(subjects=[f"job.{entity}.>"])
    async with edge.as_("alice", ttl=TTL, read=["job.>"]).sse(mine) as stream:
        names = [(await stream.next())[0]]
        clock.advance(NEARLY)
        while names[-1] != "bye":
            name, _, body = await stream.next()
            names.append(name)
            if name == "expiring":
                clock.advance(OVER)

    assert names[0] == "ready" and names.index("expiring") < names.index("bye")
    assert body["code"] == 4003


async def test_a_new_token_over_the_socket_keeps_it_open_beyond_the_end_of_the_first(
    edge: SecuredEdge, entity: str, clock: Clock
) -> None:
    mine = await edge.as_("alice", read=["job.>"]).session(subjects=[f"job.{entity}.>"])
    short = edge.as_("alice", ttl=TTL, read=["job.>"])
    async with opened(short, mine) as (socket, _), opened(short, mine) as (not_renewed, _):
        clock.advance(NEARLY)
        await socket.control("expiring")
        renewed = await said(socket, {"control": "refresh", "token": token("alice", LONG, read=["job.>"])})
        clock.advance(OVER)
        await not_renewed.control("bye")
        await edge.as_("alice", publish=["job.>"]).numbers(entity, 3)
        events = await socket.events(3)

    assert renewed["control"] == "refreshed" and renewed["expires_at"].endswith("Z")
    assert [event["data"]["n"] for event in events] == [0, 1, 2]


@pytest.mark.parametrize(
    ("shown", "code"),
    [
        (token("bob", LONG, read=[">"]), "not_granted"),
        (token("alice", LONG, read=["agent.>"]), "not_granted"),
        (token("alice", LONG, read=["job.>"])[:-4] + "AAAA", "bad_token"),
        (None, "bad_token"),
        ({"alg": "none"}, "bad_token"),
        ("x" * 9000, "bad_token"),
    ],
)
async def test_what_is_no_better_token_is_refused_over_the_socket_and_changes_nothing(
    edge: SecuredEdge, entity: str, shown: Any, code: str
) -> None:
    alice = edge.as_("alice", read=["job.>"], publish=["job.>"])
    mine = await alice.session(subjects=[f"job.{entity}.>"])
    async with opened(alice, mine) as (socket, _):
        refused = await said(socket, {"control": "refresh", "token": shown})
        await alice.numbers(entity, 1)
        events = await socket.events(1)

    assert (refused["control"], refused["code"]) == ("error", code)
    assert "callboard" not in refused["detail"] and events[0]["data"]["n"] == 0


async def test_bad_tokens_over_a_socket_are_counted_like_those_of_requests(
    secured: SecuredFactory, entity: str
) -> None:
    limits = LimitSettings(loopback=True, failures_per_address=0.01, failures_per_address_burst=5)
    async with secured(SHORT, limits=limits) as edge:
        mine = await edge.as_("alice", read=["job.>"]).session(subjects=[f"job.{entity}.>"])
        async with opened(edge.as_("alice", read=["job.>"]), mine) as (socket, _):
            codes = [(await said(socket, {"control": "refresh", "token": "a.b.c"}))["code"] for _ in range(8)]

    assert codes[0] == "bad_token" and codes[-1] == "rate_limited"


async def test_the_refresh_route_renews_every_connection_of_the_principal(
    edge: SecuredEdge, entity: str, clock: Clock
) -> None:
    short, other = edge.as_("alice", ttl=TTL, read=["job.>"]), edge.as_("bob", ttl=TTL, read=["job.>"])
    mine, his = await short.session(subjects=[f"job.{entity}.>"]), await other.session(subjects=[f"job.{entity}.>"])
    async with opened(short, mine) as (socket, _), short.sse(mine) as stream, opened(other, his) as (not_renewed, _):
        await stream.next()
        clock.advance(NEARLY)
        await socket.control("expiring")
        answer = await edge.as_("alice", LONG, read=["job.>"]).http.post(f"/callbacks/sessions/{mine}/refresh")
        clock.advance(OVER)
        await not_renewed.control("bye")
        pong = await said(socket, {"control": "ping"})
        await edge.as_("carol", publish=["job.>"]).numbers(entity, 1)
        await stream.events(1)

    assert answer.json()["connections"] == 2 and pong["control"] == "pong"
    assert "bye" not in [name for name, _, _ in stream.controls]


async def test_every_replayed_event_is_held_against_the_token_of_now(edge: SecuredEdge, entity: str) -> None:
    """History that the first token could read is not shown under the second, which cannot."""
    wide, narrow = ["job.>", "agent.>"], ["job.>"]
    alice = edge.as_("alice", read=wide, publish=wide)
    mine = await alice.session()
    await alice.publish(
        *({"subject": f"{domain}.{entity}.output", "data": {"n": n}} for n in range(20) for domain in ("job", "agent"))
    )
    async with opened(edge.as_("alice", read=narrow), mine, "?cursor=earliest") as (socket, _):
        events = await socket.events(20)
        await alice.publish(
            {"subject": f"agent.{entity}.output", "data": {}}, {"subject": f"job.{entity}.done", "data": {}}
        )
        while events[-1]["subject"] != f"job.{entity}.done":
            events += await socket.events(1)
    polled = await edge.as_("alice", read=narrow).poll(mine, "?cursor=earliest&limit=1000")

    assert {event["subject"] for event in events if entity in event["subject"]} == {
        f"job.{entity}.output",
        f"job.{entity}.done",
    }
    assert not any(event["subject"].startswith("agent.") for event in polled["events"])


async def test_a_token_that_grants_less_takes_effect_at_once_and_one_that_grants_more_again(
    edge: SecuredEdge, entity: str
) -> None:
    wide = ["job.>", "agent.>"]
    alice = edge.as_("alice", read=wide, publish=wide)
    mine = await alice.session()

    async def say(number: int) -> None:
        await alice.publish(
            {"subject": f"agent.{entity}.output", "data": {"n": number}},
            {"subject": f"job.{entity}.output", "data": {"n": number}},
        )

    async def until(number: int) -> list[tuple[str, int]]:
        found: list[tuple[str, int]] = []
        while not found or found[-1] != ("job", number):
            (event,) = await socket.events(1)
            found.append((event["subject"].split(".")[0], event["data"]["n"]))
        return found

    async with opened(alice, mine) as (socket, _):
        await say(1)
        before = await until(1)
        await said(socket, {"control": "refresh", "token": token("alice", read=["job.>"])})
        await say(2)
        less = await until(2)
        await said(socket, {"control": "refresh", "token": token("alice", read=wide)})
        await say(3)
        more = await until(3)

    assert before == [("agent", 1), ("job", 1)] and less == [("job", 2)] and more == [("agent", 3), ("job", 3)]


async def test_a_session_that_is_changed_to_what_a_reader_may_not_see_closes_that_reader(
    edge: SecuredEdge, entity: str
) -> None:
    owner = edge.as_("alice", read=["job.>", "agent.>"])
    mine = await owner.session(subjects=[f"job.{entity}.>"])
    async with opened(edge.as_("alice", read=["job.>"]), mine) as (socket, _), opened(owner, mine) as (other, _):
        await owner.http.patch(f"/callbacks/sessions/{mine}", json={"subjects": [f"agent.{entity}.>"]})
        bye = await socket.control("bye")
        pong = await said(other, {"control": "ping"})

    assert (bye["code"], bye["reconnect"]) == (FORBIDDEN.code, False) and pong["control"] == "pong"


async def test_a_connection_releases_its_slot_when_it_ends(secured: SecuredFactory, entity: str) -> None:
    async with secured(SHORT, limits=LimitSettings(connections_per_principal=1)) as edge:
        alice = edge.as_("alice", read=["job.>"])
        mine = await alice.session(subjects=[f"job.{entity}.>"])
        for _ in range(3):
            async with opened(alice, mine):
                answer = await alice.http.get(f"/callbacks/sessions/{mine}/sse")
                assert (answer.status_code, answer.json()["code"]) == (429, "too_many")

            async def free() -> bool:
                async with alice.http.stream("GET", f"/callbacks/sessions/{mine}/sse") as stream:
                    return stream.status_code == 200

            await eventually(free)
            await eventually(lambda: _polls(alice, mine))


async def _polls(edge: SecuredEdge, session: str) -> bool:
    return (await edge.http.get(f"/callbacks/sessions/{session}/events")).status_code == 200


async def test_without_keys_a_token_over_a_socket_is_answered_and_nothing_is_told(
    secured: SecuredFactory, entity: str
) -> None:
    async with secured(IdentitySettings()) as edge:
        mine = await edge.session(subjects=[f"job.{entity}.>"])
        async with opened(edge, mine) as (socket, _):
            answer = await said(socket, {"control": "refresh", "token": token("alice")})

    assert (answer["control"], answer["code"]) == ("error", "bad_token")
