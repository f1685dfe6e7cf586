"""A long recording, and one whose picture changes its size, is several files that follow each other without a gap."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from actors.camera.actor import Camera
from actors.camera.settings import CameraSettings
from actors.camera.sources.address import SourceAddress, SourceSettings
from actors.camera.sources.simulated import SimulatedSource
from actors.camera.sources.source import CameraSource, Picture
from router.recording_entry import Recording
from tests.actors.camera.packets import EncodedCard, PacketSource
from tests.actors.camera.recording.recorded import RecordedCamera, camera_on, pictures, probed, until_stored
from tests.waiting import PATIENCE, eventually

pytestmark = pytest.mark.slow

# A file ends with the first key that its encoder makes behind 1.5 s.
SHORT = CameraSettings(width=320, height=240, fps=15.0, record_file_seconds=2.0)


async def files_of(camera: RecordedCamera, count: int) -> list[Recording]:
    """The files, once there are so many, the last with pictures."""

    async def there() -> list[Recording] | None:
        files = await camera.files()
        return files if len(files) >= count and await camera.frames(files[-1]) >= 5 else None

    found = await eventually(there, within=2 * PATIENCE)
    assert found is not None
    return found


async def told_of(camera: RecordedCamera, what: str, count: int) -> list[str]:
    async def there() -> list[str] | None:
        told = [each["recording"] for each in await camera.told() if each["what"] == what]
        return told if len(told) >= count else None

    found = await eventually(there)
    assert found is not None
    return found


async def checked(camera: RecordedCamera, folder: Path) -> list[list[int]]:
    """The burnt-in numbers of each file; fails where one does not play as its entry says."""
    numbers = []
    for entry in await camera.files():
        file = await camera.download(entry)
        shown = pictures(file)
        assert len(shown) == entry.frames == probed(file, folder) and entry.lost == 0
        numbers.append([number for number, _, _ in shown])
    return numbers


async def test_a_file_follows_the_other_without_a_picture_lost_or_doubled(
    nats_server: str, entity: str, tmp_path: Path
) -> None:
    async with camera_on(nats_server, entity, SHORT) as camera:
        await camera.ask("start_recording", seconds=600)
        await files_of(camera, 4)
        await camera.ask("stop_recording")
        dropped = (await camera.ask("describe"))["statistics"]["dropped"]

        files = await camera.files()
        numbers = await checked(camera, tmp_path)
        assert [each.status for each in files] == ["finished"] * len(files)
        assert len({each.session for each in files}) == 1 and files[0].id == files[0].session
        for one, two in pairwise(files):
            assert one.ended == pytest.approx(two.began, abs=0.1) and two.began - one.began <= 2000
        every = [number for file in numbers for number in file]
        assert all(one < two for one, two in pairwise(every))
        # Only what a busy machine did not capture or encode is missing, and not where a file ends.
        assert every[-1] - every[0] + 1 - len(every) <= dropped
        assert await told_of(camera, "file_finished", len(files) - 1) == [each.id for each in files[:-1]]
        assert await told_of(camera, "stopped", 1) == [files[-1].id]


async def test_h264_that_a_source_gives_is_cut_at_its_own_keys(nats_server: str, entity: str, tmp_path: Path) -> None:
    # It has a key every 2 s, and none can be asked of it; the second one would come after the file's time.
    card = EncodedCard(320, 240, keys=10**9)
    settings = CameraSettings(source="http://camera/", fps=10.0, record_file_seconds=3.0)

    def make() -> Camera:
        return Camera(settings, lambda address, given: PacketSource(card))

    async with camera_on(nats_server, entity, make=make) as camera:
        await camera.ask("start_recording")
        await files_of(camera, 3)
        await camera.ask("stop_recording")

        numbers = await checked(camera, tmp_path)
        every = [number for file in numbers for number in file]
        assert every == list(range(every[0], every[-1] + 1))


class Growing:
    """The test card, which from some picture on is larger."""

    kind = "simulated"
    simulated = True

    def __init__(self, address: SourceAddress, settings: SourceSettings) -> None:
        self._small, self._large = SimulatedSource(320, 240), SimulatedSource(640, 480)

    def open(self) -> None:
        self._small.open()
        self._large.open()

    def grab(self, seq: int) -> Picture | None:
        return (self._small if seq < 30 else self._large).grab(seq)

    def close(self) -> None: ...


async def test_a_source_that_changes_its_size_is_recorded_in_a_new_file(
    nats_server: str, entity: str, tmp_path: Path
) -> None:
    def source(address: SourceAddress, settings: SourceSettings) -> CameraSource:
        return Growing(address, settings)

    async with camera_on(nats_server, entity, make=lambda: Camera(CameraSettings(fps=15.0), source)) as camera:
        await camera.ask("start_recording")
        await files_of(camera, 2)
        await camera.ask("stop_recording")

        small, large = await camera.files()
        assert (small.width, small.height, large.width, large.height) == (320, 240, 640, 480)
        first, second = await checked(camera, tmp_path)
        assert first[-1] < 30 <= second[0] and second[0] - first[-1] <= 15
        assert small.ended is not None and large.began - small.ended <= 1000
        assert await told_of(camera, "file_finished", 1) == [small.id]


async def test_a_region_of_interest_begins_a_new_file(nats_server: str, entity: str, tmp_path: Path) -> None:
    settings = CameraSettings(width=640, height=480, fps=15.0)
    async with camera_on(nats_server, entity, settings) as camera:
        await camera.ask("start_recording")
        await until_stored(camera, 10)
        await camera.ask("set_region", left=0, top=0, width=320, height=240)
        await files_of(camera, 2)
        await camera.ask("stop_recording")

        whole, part = await camera.files()
        assert (whole.width, whole.height, part.width, part.height) == (640, 480, 320, 240)
        assert whole.ended is not None and part.began - whole.ended <= 1000
        first, second = await checked(camera, tmp_path)
        assert 0 < second[0] - first[-1] <= 15


async def test_two_cameras_record_side_by_side(nats_server: str, entity: str, tmp_path: Path) -> None:
    async with (
        camera_on(nats_server, f"{entity}-a", SHORT) as one,
        camera_on(nats_server, f"{entity}-b", SHORT) as two,
    ):
        for camera in (one, two):
            await camera.ask("start_recording")
        for camera in (one, two):
            await files_of(camera, 2)
            await camera.ask("stop_recording")

        for camera in (one, two):
            assert {each.camera for each in await camera.files()} == {camera.instance}
            numbers = [number for file in await checked(camera, tmp_path) for number in file]
            assert all(before < after for before, after in pairwise(numbers))
