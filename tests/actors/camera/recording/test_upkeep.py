"""What shall always be recorded begins by itself, overwrites its own oldest files, and says why it cannot go on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from actors.camera.settings import CameraSettings
from router.nats.embedded import EmbeddedServer, EmbeddedSettings, free_port
from router.recording_entry import FINISHED, Recording, new_recording_id
from router.topology import MIB, TopologySettings
from tests.actors.camera.recording.recorded import RecordedCamera, camera_on, pictures, until_stored
from tests.actors.camera.recording.test_shelf import filled
from tests.servers import Server, serving_small
from tests.waiting import PATIENCE, eventually

pytestmark = pytest.mark.slow


def always(**more: Any) -> CameraSettings:
    return CameraSettings(width=320, height=240, fps=15.0, record="always", **more)


async def told(camera: RecordedCamera, what: str) -> list[dict[str, Any]] | None:
    return [each for each in await camera.told() if each["what"] == what] or None


async def test_it_begins_with_the_actor_and_goes_on_with_the_next_one_until_the_setting_is_taken_away(
    nats_server: str, entity: str
) -> None:
    async with camera_on(nats_server, entity, always()) as camera:
        await until_stored(camera, 5)
        assert (await camera.ask("describe"))["recording"]["continuous"] is True
    async with camera_on(nats_server, entity, always()) as camera:

        async def second() -> list[Recording] | None:
            files = await camera.files()
            return files if len(files) == 2 and await camera.frames(files[1]) >= 5 else None

        files = await eventually(second)
        assert files is not None and files[0].status == "interrupted" and files[1].session == files[0].session
        assert all(each.continuous and each.overwritable for each in files)
    async with camera_on(nats_server, entity) as camera:

        async def closed() -> bool:
            return all(not each.is_open for each in await camera.files())

        await eventually(closed)
        assert (await camera.ask("describe"))["recording"] is None and len(await camera.files()) == 2


async def test_one_that_somebody_asks_for_is_kept_and_the_continuous_one_follows_it(
    nats_server: str, entity: str
) -> None:
    async with camera_on(nats_server, entity, always()) as camera:
        await until_stored(camera, 5)
        asked = await camera.ask("start_recording", label="evidence")
        assert asked["already"] is False
        await until_stored(camera, 5)
        await camera.ask("stop_recording")

        async def third() -> list[Recording] | None:
            files = await camera.files()
            return files if len(files) == 3 and await camera.frames(files[2]) else None

        files = await eventually(third)
        assert files is not None
        assert [(each.label, each.overwritable) for each in files] == [
            ("always", True), ("evidence", False), ("always", True),
        ]  # fmt: skip
        assert files[0].ended is not None and files[1].began - files[0].ended <= 1000


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Server]:
    with serving_small(tmp_path, 256 * 1024) as server:
        yield server


async def test_a_full_store_loses_the_oldest_continuous_files_and_recording_goes_on(small: Server) -> None:
    topology = TopologySettings(recordings_max_bytes=2 * MIB)
    settings = always(record_file_seconds=2.0, quality=95)
    async with camera_on(small.url, "main", settings, topology) as camera:
        id = new_recording_id()
        kept = Recording(id=id, camera="main", session=id, began=1.8e12, status=FINISHED)
        await filled(camera.recordings, kept, 0.5)

        gone = await eventually(lambda: told(camera, "deleted"), within=4 * PATIENCE)

        assert gone is not None and gone[0]["reason"] == "overwritten" and gone[0]["continuous"] is True
        ids = {each.id for each in await camera.files()}
        assert gone[0]["recording"] not in ids and kept.id in ids
        assert await told(camera, "failed") is None
        described = await camera.ask("describe")
        assert described["recording"] is not None and described["recording_fault"] is None
        playing = [each for each in await camera.files() if each.id != kept.id][-2]
        assert len(pictures(await camera.download(playing))) == playing.frames > 0
        # One that is asked for finds room, too.
        assert (await camera.ask("start_recording", seconds=5))["already"] is False


async def test_where_nothing_may_be_overwritten_it_says_why_it_waits_and_goes_on_once_there_is_room(
    small: Server,
) -> None:
    topology = TopologySettings(recordings_max_bytes=2 * MIB)
    async with camera_on(small.url, "other", topology=topology) as other:
        id = new_recording_id()
        full = Recording(id=id, camera="other", session=id, began=1.8e12, status=FINISHED, continuous=True)
        await filled(other.recordings, full, 1.8)
    async with camera_on(small.url, "main", always(record_when_full="stop"), topology) as camera:
        refused = await eventually(lambda: told(camera, "refused"))

        assert refused is not None and len(refused) == 1 and "MiB are free: delete some" in refused[0]["reason"]
        assert "delete some" in (await camera.ask("describe"))["recording_fault"]
        await camera.recordings.delete(full)
        entry = await until_stored(camera, 3)
        assert entry.continuous and not entry.overwritable
        assert (await camera.ask("describe"))["recording_fault"] is None


async def test_a_server_without_storage_for_recordings_runs_a_camera_that_refuses_to_record(tmp_path: Path) -> None:
    server = EmbeddedServer(EmbeddedSettings(tmp_path, free_port(), max_file="4GB"))
    await server.start()
    try:
        async with camera_on(server.url, "main", always()) as camera:
            for command, arguments in (("start_recording", {}), ("keep_stills", {"every": 1})):
                with pytest.raises(AssertionError, match="lower CALLBOARD_RECORDINGS_MAX_BYTES"):
                    await camera.ask(command, **arguments)

            described = await camera.ask("describe")
            assert described["recording"] is None and "give JetStream more storage" in described["recording_fault"]
    finally:
        await server.stop()
