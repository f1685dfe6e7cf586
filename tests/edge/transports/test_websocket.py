"""A WebSocket's client says where it begins, is answered, and is told what was wrong."""

from __future__ import annotations

import json

import pytest
import websockets

from tests.edge.conftest import RunningEdge


async def test_an_unknown_session_is_said_in_band_on_a_socket(edge: RunningEdge) -> None:
    async with edge.socket("sess_" + "0" * 24) as socket:
        said = await socket.next()
        await socket.raw.wait_closed()

    assert said["code"] == "session_not_found"
    # As an error of the callback guide, for clients that know nothing else.
    assert (said["event_type"], said["data"]["error_type"]) == ("error", "session_not_found") and said["timestamp"]
    assert socket.raw.close_code == 4505


async def test_a_client_s_ping_is_answered_and_nonsense_is_named(edge: RunningEdge, entity: str) -> None:
    # Of its own subjects: what other tests leave to be told would come in between.
    session = await edge.session(subjects=[f"job.{entity}.>"])
    async with edge.socket(session) as socket:
        await socket.control("ready")
        for said, code in (("x", "bad_json"), ("[]", "unknown_control"), ('{"control":"dance"}', "unknown_control")):
            await socket.raw.send(said)
            assert (await socket.control("error"))["code"] == code
        await socket.raw.send('{"control":"ping","id":7}')
        assert (await socket.control("pong"))["id"] == 7


async def test_a_websocket_may_say_in_its_first_message_where_it_begins(either: RunningEdge, entity: str) -> None:
    session = await either.session(subjects=[f"job.{entity}.>"])
    cursors = await either.publish(*({"subject": f"job.{entity}.said", "data": {"n": n}} for n in range(4)))
    async with either.socket(session, "?start=message") as socket:
        await socket.raw.send('{"control":"ping","id":1}')
        assert (await socket.next())["control"] == "pong"
        await socket.raw.send(json.dumps({"control": "resume", "cursor": cursors[1]}))
        ready = await socket.next()
        assert (ready["control"], ready["recovered"], ready["cursor"]) == ("ready", True, cursors[1])
        assert [event["data"]["n"] for event in await socket.events(2)] == [2, 3]
    async with either.socket(session, "?start=message") as socket:
        await socket.raw.send('{"control":"resume","last":1}')
        assert [event["data"]["n"] for event in await socket.events(1)] == [3]


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ('{"control":"resume","cursor":"nonsense"}', "bad_cursor"),
        ('{"control":"resume","last":"many"}', "bad_cursor"),
        ('{"control":"dance"}', "resume_expected"),
        ("{", "resume_expected"),
    ],
)
async def test_a_first_message_that_is_no_place_is_told_so_and_ends_it(
    either: RunningEdge, said: str, code: str
) -> None:
    session = await either.session()
    async with either.socket(session, "?start=message") as socket:
        await socket.raw.send(said)
        assert (await socket.next())["code"] == code
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await socket.raw.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4506
