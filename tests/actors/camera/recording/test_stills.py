"""Stills at an interval, kept on a real nats-server."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from actors.camera.actor import Camera
from actors.camera.settings import CameraSettings
from actors.camera.sources.source import Packet
from router.cluster.leases import Leases, view_key
from tests.actors.camera.packets import PacketSource, jpeg
from tests.actors.camera.recording.recorded import SMALL, camera_on
from tests.servers import serving_small
from tests.waiting import eventually


async def test_stills_are_kept_at_an_interval_and_stay_readable(nats_server: str, entity: str) -> None:
    async with camera_on(nats_server, entity, SMALL) as camera:
        answer = await camera.ask("keep_stills", every=0.5, seconds=30)
        assert (await camera.ask("describe"))["stills"]["every"] == 0.5

        async def three():  # type: ignore[no-untyped-def]
            (entry,) = await camera.files()
            return await camera.frames(entry) >= 3

        await eventually(three)
        stopped = await camera.ask("stop_stills")
        assert stopped["stopped"] is True and (await camera.ask("stop_stills"))["stopped"] is False

        (entry,) = await camera.files()
        assert entry.kind == "stills" and entry.status == "finished" and entry.id == answer["stills"]["id"]
        kept = [await camera.recordings.still(entry, n) for n in range(1, entry.frames + 1)]
        assert entry.frames >= 3 and all(each is not None and each.body[:2] == b"\xff\xd8" for each in kept)
        times = [each.piece.time for each in kept if each is not None]
        assert all(300 < later - earlier < 5000 for earlier, later in itertools.pairwise(times)), times


@pytest.mark.slow
@pytest.mark.parametrize("watched", [False, True])
async def test_stills_of_a_scene_that_stands_still_are_kept(nats_server: str, entity: str, watched: bool) -> None:
    body = jpeg(320, 240)
    captured: list[float] = []

    def grab(seq: int) -> Packet:
        captured.append(time.time() * 1000)
        return Packet("jpeg", body, captured[0], 320, 240)

    def make() -> Camera:
        return Camera(CameraSettings(source="http://camera/", fps=10.0), lambda address, settings: PacketSource(grab))

    async with camera_on(nats_server, entity, make=make) as camera, contextlib.AsyncExitStack() as viewers:
        if watched:
            holding = Leases(camera.broker.connection).hold(view_key("camera", entity, "s1"), 5)
            viewers.callback(asyncio.ensure_future(holding).cancel)
            await eventually(lambda: len(captured) > 5)
        await camera.ask("keep_stills", every=0.5)

        async def three():  # type: ignore[no-untyped-def]
            (entry,) = await camera.files()
            return await camera.frames(entry) >= 3

        await eventually(three)
        await camera.ask("stop_stills")

        (entry,) = await camera.files()
        kept = [await camera.recordings.still(entry, n) for n in range(1, entry.frames + 1)]
        times = [each.piece.time for each in kept if each is not None]
        assert entry.lost == 0 and {each.body for each in kept if each is not None} == {body}
        # Each says when the camera showed it, not since when the scene stands still.
        assert all(later - earlier > 300 for earlier, later in itertools.pairwise(times)), times


@pytest.mark.slow
async def test_a_still_that_is_larger_than_a_message_is_kept(tmp_path: Path) -> None:
    chance = np.random.default_rng(1)
    bodies = []
    for _ in range(2):
        with BytesIO() as file:
            noise = chance.integers(0, 255, (480, 640, 3), dtype=np.uint8)
            Image.fromarray(noise).save(file, "JPEG", quality=95)
            bodies.append(file.getvalue())

    def make() -> Camera:
        def grab(seq: int) -> Packet:
            return Packet("jpeg", bodies[seq % 2], time.time() * 1000, 640, 480)

        return Camera(CameraSettings(source="http://camera/", fps=5.0), lambda address, settings: PacketSource(grab))

    with serving_small(tmp_path, 128 * 1024) as server:
        async with camera_on(server.url, "main", make=make) as camera:
            await camera.ask("keep_stills", every=0.5)

            async def two():  # type: ignore[no-untyped-def]
                (entry,) = await camera.files()
                return await camera.frames(entry) >= 2

            await eventually(two)
            await camera.ask("stop_stills")

            (entry,) = await camera.files()
            assert entry.lost == 0 and min(map(len, bodies)) > 128 * 1024
            for n in range(1, entry.frames + 1):
                kept = await camera.recordings.still(entry, n)
                assert kept is not None and kept.body in bodies
