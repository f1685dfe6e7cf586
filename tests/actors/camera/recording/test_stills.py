"""Stills at an interval, kept on a real nats-server."""

from __future__ import annotations

import itertools

from tests.actors.camera.recording.recorded import SMALL, camera_on
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
