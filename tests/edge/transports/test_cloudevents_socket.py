"""A WebSocket of the subprotocol `cloudevents.json`: nothing but CloudEvents in both directions, read by the SDK of CloudEvents."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.edge.auth.conftest import SecuredFactory, name, secured
from tests.edge.conftest import RunningEdge, Socket

SUBPROTOCOL = "cloudevents.json"


async def read(socket: Socket) -> Any:
    """The next message, as the SDK understands it."""
    formats = pytest.importorskip("cloudevents.core.formats.json", reason="the dev extra has the SDK of CloudEvents")
    said = await socket.next()
    return formats.JSONFormat().read(None, json.dumps(said))


async def say(socket: Socket, kind: str, **data: Any) -> None:
    """Sends a CloudEvent of ours."""
    said = {"specversion": "1.0", "id": "1", "source": "/test", "type": kind, "data": data}
    await socket.raw.send(json.dumps(said))


async def test_every_message_is_a_cloudevent_notices_too(either: RunningEdge, entity: str) -> None:
    session = await either.session(subjects=[f"job.{entity}.>"])

    async with either.socket(session, subprotocols=[SUBPROTOCOL]) as socket:
        ready = await read(socket)
        (cursor,) = await either.publish({"subject": f"job.{entity}.output", "data": {"n": 1}, "key": "k"})
        event = await read(socket)

    assert socket.raw.subprotocol == SUBPROTOCOL
    assert (ready.get_type(), ready.get_data()["session_id"]) == ("callboard.ready", session)
    assert (event.get_type(), event.get_subject(), event.get_data()) == ("output", f"job.{entity}.output", {"n": 1})
    assert (event.get_extension("callboardcursor"), event.get_extension("partitionkey")) == (cursor, "k")


async def test_a_gap_and_an_answer_are_cloudevents_and_a_cursor_is_that_of_every_transport(
    either: RunningEdge, entity: str
) -> None:
    session = await either.session(subjects=[f"job.{entity}.>"])
    cursors = await either.numbers(entity, 3)

    async with either.socket(session, f"?cursor={cursors[0]}", subprotocols=[SUBPROTOCOL]) as socket:
        assert (await read(socket)).get_data()["recovered"] is True
        assert [(await read(socket)).get_data()["n"] for _ in range(2)] == [1, 2]
        await say(socket, "callboard.ping", id=7)
        pong = await read(socket)
        await say(socket, "com.example.order")
        unknown = await read(socket)
        await socket.raw.send('{"control":"ping"}')
        refused = await read(socket)
    foreign = "1-00000000-000000000007"
    async with either.socket(session, f"?cursor={foreign}", subprotocols=[SUBPROTOCOL]) as socket:
        await read(socket)
        gap = await read(socket)

    assert (pong.get_type(), pong.get_data()["id"], pong.get_data()["cursor"]) == ("callboard.pong", 7, cursors[2])
    assert [said.get_data()["code"] for said in (unknown, refused)] == ["unknown_control", "bad_json"]
    assert (gap.get_type(), gap.get_data()["reset"]) == ("callboard.gap", True)


async def test_a_first_message_and_a_refusal_are_cloudevents(either: RunningEdge, entity: str) -> None:
    session = await either.session(subjects=[f"job.{entity}.>"])
    await either.numbers(entity, 2)

    async with either.socket(session, "?start=message", subprotocols=[SUBPROTOCOL]) as socket:
        await say(socket, "callboard.ping", id=1)
        assert (await read(socket)).get_type() == "callboard.pong"
        await say(socket, "callboard.resume", last=1)
        assert (await read(socket)).get_type() == "callboard.ready"
        assert (await read(socket)).get_data() == {"n": 1}
    async with either.socket("sess_" + "0" * 24, subprotocols=[SUBPROTOCOL]) as socket:
        refused = await read(socket)
        await socket.raw.wait_closed()

    assert (refused.get_type(), refused.get_data()["code"]) == ("callboard.error", "session_not_found")
    assert socket.raw.close_code == 4505


async def test_the_first_subprotocol_that_is_known_is_selected(edge: RunningEdge, entity: str) -> None:
    session = await edge.session(subjects=[f"job.{entity}.>"])
    offers = (["mqtt", SUBPROTOCOL, "callboard.v1"], ["callboard.v1", SUBPROTOCOL], ["cloudevents.avro"])

    selected, first = [], []
    for offered in offers:
        async with edge.socket(session, subprotocols=offered) as socket:
            selected.append(socket.raw.subprotocol)
            first.append(await socket.next())

    assert selected == [SUBPROTOCOL, "callboard.v1", None]
    assert ["specversion" in said for said in first] == [True, False, False]
    assert first[1]["control"] == first[2]["control"] == "ready"


async def test_a_token_may_travel_beside_it(secured: SecuredFactory, name: str) -> None:
    async with secured() as edge:
        mine = edge.as_(name, read=[f"job.{name}.>"])
        session = await mine.session(subjects=[f"job.{name}.>"])
        async with edge.socket(session, subprotocols=[SUBPROTOCOL, f"bearer.{mine.token}"]) as socket:
            ready = await read(socket)

    assert (socket.raw.subprotocol, ready.get_type()) == (SUBPROTOCOL, "callboard.ready")


__all__ = ["name", "secured"]
