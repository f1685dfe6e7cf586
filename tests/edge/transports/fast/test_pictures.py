"""A picture socket that was taken over speaks WebSocket: it answers pings and closes, and refuses what is none."""

from __future__ import annotations

import pytest
import websockets

from router.broker import Broker
from tests.edge.conftest import RunningEdge
from tests.edge.transports.video.pictures import PictureSource, watching
from tests.waiting import in_time


async def test_pings_are_answered_and_a_close_is(edge: RunningEdge, store: Broker, entity: str) -> None:
    await PictureSource(store, entity).known()
    async with watching(edge, entity) as viewer:
        await viewer.control("ready")
        await in_time(await viewer.socket.ping(b"one"))
        await viewer.socket.send('{"control":"ping","id":3}')
        assert (await viewer.control("pong"))["id"] == 3
        await viewer.socket.close(4000, "enough")

    assert viewer.socket.close_code == 4000


@pytest.mark.parametrize(
    ("message", "code"),
    [("no json", "bad_json"), ("[]", "bad_json"), ('{"control":"dance"}', "unknown_control"),
     ('{"control":"shown","seq":"one"}', "bad_shown"), ('{"control":"prefer","fps":0}', "bad_prefer")],
)  # fmt: skip
async def test_what_is_not_understood_is_answered_and_the_pictures_go_on(
    either: RunningEdge, store: Broker, entity: str, message: str, code: str
) -> None:
    source = await PictureSource(store, entity, 100).known()
    async with watching(either, entity) as viewer:
        await viewer.control("ready")
        await viewer.socket.send(message)
        assert (await viewer.control("error"))["code"] == code
        await source.send()
        assert (await viewer.next())["seq"] == 0


async def test_a_broken_frame_ends_the_connection(edge: RunningEdge, store: Broker, entity: str) -> None:
    await PictureSource(store, entity).known()
    async with watching(edge, entity) as viewer:
        await viewer.control("ready")
        viewer.socket.transport.write(b"\xff\xff")
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await viewer.next()

    assert closed.value.rcvd is not None and closed.value.rcvd.code == 1002
