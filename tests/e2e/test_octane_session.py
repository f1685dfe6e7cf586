"""An Octane as a session sees it: state, controls and statistics of the whole running system, in the default dialect, without pixels."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import websockets

from tests.e2e.tree import RunningCallboard
from tests.waiting import PATIENCE, eventually

SUBJECTS = ["octane.main.>"]


async def by_sse(http: httpx.AsyncClient, path: str) -> AsyncIterator[Any]:
    async with http.stream("GET", path) as answer:
        name = "message"
        async for line in answer.aiter_lines():
            if line.startswith("event: "):
                name = line[7:]
            elif line.startswith("data: ") and name == "message":
                yield json.loads(line[6:])
            elif not line:
                name = "message"


async def by_socket(http: httpx.AsyncClient, path: str) -> AsyncIterator[Any]:
    url = str(http.base_url.join(path)).replace("http", "ws", 1)
    async with websockets.connect(url, max_size=64 * 1024, open_timeout=PATIENCE) as socket:
        async for said in socket:
            # A picture would be a binary message.
            assert isinstance(said, str)
            event = json.loads(said)
            if "control" not in event:
                yield event


@pytest.mark.parametrize("way", ["sse", "ws"])
async def test_a_session_of_an_octane_is_told_its_state_controls_and_statistics_and_no_pixels(
    http: httpx.AsyncClient, running_callboard: RunningCallboard, way: str
) -> None:
    method = "sse" if way == "sse" else "websocket"
    made = await http.post("/callbacks/sessions", json={"delivery_method": method, "subjects": SUBJECTS})
    path = f"/callbacks/sessions/{made.json()['session_id']}/{way}?cursor=snapshot"
    told: list[dict[str, Any]] = []

    async def read() -> None:
        events = by_sse(http, path) if way == "sse" else by_socket(http, path)
        while True:
            told.append(await anext(events))

    def of(kind: str) -> list[dict[str, Any]]:
        return [event["data"] for event in told if event["event_type"] == kind]

    async def command(name: str) -> dict[str, Any]:
        answer = await http.post(f"/commands/octane/main/{name}", json={})
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    reading = asyncio.ensure_future(read())
    try:
        # Who joins late is told what is the case.
        await eventually(lambda: of("state") and of("statistics"))
        # Refused while the scene is loaded for the next render.
        paused = await eventually(lambda: command("pause"))
        await eventually(lambda: of("statistics")[-1]["state"] == "paused")
        await eventually(lambda: of("controls") and of("controls")[-1]["render"] == "paused")
        started = await command("start")
        await eventually(lambda: of("statistics")[-1]["state"] != "paused")
        assert not reading.done(), reading.exception()
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        await http.delete(path.removesuffix("?cursor=snapshot").rsplit("/", 1)[0])

    state = of("state")[-1]
    assert (state["status"], state["simulated"]) == ("connected", True)
    assert paused["render"] == "paused" and started["render"] in ("rendering", "waiting", "finished")
    assert of("statistics")[-1]["width"] > 0 and "max_samples" in of("statistics")[-1]
    # The shape of the callback guide, whatever the event is of.
    for event in told:
        assert {"id", "event_type", "subject", "source", "timestamp", "data", "cursor"} <= set(event)
        assert event["subject"] == f"octane.main.{event['event_type']}"
        assert len(json.dumps(event)) < 16 * 1024 and not {"buffer", "render_images", "pixels"} & set(event["data"])


async def test_the_same_octane_is_healthy_and_its_viewport_has_pixels(
    http: httpx.AsyncClient, running_callboard: RunningCallboard
) -> None:
    health = (await http.get("/api/health")).json()
    async with (
        asyncio.timeout(PATIENCE),
        websockets.connect(
            f"ws://127.0.0.1:{running_callboard.port}/api/callbacks", max_size=None, open_timeout=PATIENCE
        ) as socket,
    ):
        await socket.send('{"type":"subscribe","pixels":"binary"}')
        while isinstance(picture := await socket.recv(), str):
            pass

    length = int.from_bytes(picture[:4], "little")
    header = json.loads(picture[4 : 4 + length])
    assert (health["status"], health["simulated"]) == ("ok", True)
    assert len(picture) - 4 - length == header["pixelSize"] == header["width"] * header["height"] * 4
