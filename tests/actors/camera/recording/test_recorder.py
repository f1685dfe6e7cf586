"""A camera records on a real nats-server: complete, at the capture clock's times, over restarts, within its quota."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest

from actors.camera.recording.shelf import RecordingShelf
from router.event import Event
from router.recording_entry import Recording
from router.topology import MIB, TopologySettings
from tests.actors.camera.recording.recorded import camera_on, pictures, until_stored
from tests.servers import serving_small
from tests.waiting import PATIENCE, eventually


async def test_a_recording_holds_every_picture_at_the_time_of_the_capture_clock(nats_server: str, entity: str) -> None:
    async with camera_on(nats_server, entity) as camera:
        answer = await camera.ask("start_recording", seconds=60, label="a test")
        assert answer["already"] is False and answer["recording"]["by"] == "ann"
        assert (await camera.ask("describe"))["recording"]["label"] == "a test"
        await until_stored(camera, 20)
        stopped = await camera.ask("stop_recording")
        assert stopped["stopped"] is True and stopped["recording"]["frames"] >= 20
        assert (await camera.ask("describe"))["recording"] is None

        (entry,) = await camera.files()
        assert (entry.status, entry.label, entry.started_by) == ("finished", "a test", "ann")
        assert (entry.width, entry.height, entry.lost, entry.simulated) == (320, 240, 0, True)
        file = await camera.download(entry)
        shown = pictures(file)
        assert len(shown) == entry.frames == stopped["recording"]["frames"] and len(file) == entry.bytes
        assert _rise([number for number, _, _ in shown])
        for _, burnt, at in shown:
            assert abs((int(entry.began + at + 0.01) - burnt) % 2**32) <= 1, (entry.began, at, burnt)
        assert entry.ended is not None
        told = await eventually(lambda: _two(camera))
        assert [each["what"] for each in told] == ["started", "stopped"]
        assert told[1]["frames"] == entry.frames and told[1]["recording"] == entry.id


async def _two(camera):  # type: ignore[no-untyped-def]
    told = await camera.told()
    return told if len(told) >= 2 else None


async def test_commands_are_idempotent_and_checked(nats_server: str, entity: str) -> None:
    async with camera_on(nats_server, entity) as camera:
        assert await camera.ask("stop_recording") == {"recording": None, "stopped": False}
        first = await camera.ask("start_recording", seconds=5)
        again = await camera.ask("start_recording", seconds=3600)
        shorter = await camera.ask("start_recording", seconds=2)

        assert again["already"] is True and again["recording"]["session"] == first["recording"]["session"]
        assert shorter["recording"]["until"] == again["recording"]["until"]
        until = datetime.fromisoformat(again["recording"]["until"]).timestamp()
        assert until == pytest.approx(time.time() + 3600, abs=30)
        for wrong in ({"seconds": 0}, {"seconds": "long"}, {"label": "x" * 201}, {"label": "a\nb"}, {"speed": 2}):
            with pytest.raises(AssertionError):
                await camera.ask("start_recording", **wrong)
        for wrong in ({}, {"every": 0}, {"every": 1e9}, {"every": 2, "seconds": -1}):
            with pytest.raises(AssertionError):
                await camera.ask("keep_stills", **wrong)
        await camera.ask("stop_recording")


async def test_a_recording_ends_by_itself_when_its_time_is_over(nats_server: str, entity: str) -> None:
    async with camera_on(nats_server, entity) as camera:
        await camera.ask("start_recording", seconds=1)

        async def finished():  # type: ignore[no-untyped-def]
            files = await camera.files()
            return files[0] if files and not files[0].is_open else None

        entry = await eventually(finished)
        assert entry.status == "finished" and entry.ended is not None and entry.until is not None
        assert entry.ended <= entry.until + 1 and entry.frames == len(pictures(await camera.download(entry)))
        assert (await camera.ask("describe"))["recording"] is None


async def test_a_restarted_camera_closes_its_file_and_goes_on_in_another_one(nats_server: str, entity: str) -> None:
    async with camera_on(nats_server, entity) as camera:
        await camera.ask("start_recording", seconds=600, label="long")
        await until_stored(camera, 5)

    async with camera_on(nats_server, entity) as camera:

        async def both():  # type: ignore[no-untyped-def]
            files = await camera.files()
            return files if len(files) == 2 and await camera.frames(files[1]) >= 5 else None

        before, after = await eventually(both)
        assert (before.status, after.status) == ("interrupted", "recording")
        assert before.session == after.session and after.label == "long" and after.until == before.until
        assert (await camera.ask("describe"))["recording"]["session"] == before.session
        await camera.ask("stop_recording")
        for entry in await camera.files():
            shown = pictures(await camera.download(entry))
            assert len(shown) == entry.frames
            numbers = [number for number, _, _ in shown]
            assert _rise(numbers)


async def test_pictures_are_recorded_while_the_files_of_the_process_before_are_being_closed(
    nats_server: str, entity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with camera_on(nats_server, entity) as camera:
        await camera.ask("start_recording", seconds=600)
        await until_stored(camera, 5)

    close, closes = RecordingShelf.close_interrupted, asyncio.Event()

    async def close_later(shelf: RecordingShelf, entry: Recording) -> bool:
        await closes.wait()
        return await close(shelf, entry)

    monkeypatch.setattr(RecordingShelf, "close_interrupted", close_later)
    async with camera_on(nats_server, entity) as camera:

        async def goes_on():  # type: ignore[no-untyped-def]
            files = await camera.files()
            return len(files) == 2 and all(each.is_open for each in files) and await camera.frames(files[1]) > 0

        await eventually(goes_on)
        closes.set()

        async def closed():  # type: ignore[no-untyped-def]
            return (await camera.files())[0].status == "interrupted"

        await eventually(closed)
        await camera.ask("stop_recording")


async def test_a_full_store_ends_a_recording_refuses_the_next_and_takes_events_all_the_same(tmp_path: Path) -> None:
    with serving_small(tmp_path, 1024 * 1024) as server:
        topology = TopologySettings(recordings_max_bytes=MIB // 4)
        async with camera_on(server.url, "main", topology=topology) as camera:
            await camera.ask("start_recording")

            async def failed():  # type: ignore[no-untyped-def]
                files = await camera.files()
                return files[0] if files and files[0].status == "failed" else None

            entry = await eventually(failed, within=2 * PATIENCE)
            assert entry.reason == "quota" and entry.frames > 0
            file = await camera.download(entry)
            assert len(pictures(file)) == entry.frames and len(file) == entry.bytes
            assert (await camera.ask("describe"))["recording"] is None
            for command in ({"start_recording": {}}, {"keep_stills": {"every": 1}}):
                ((name, arguments),) = command.items()
                with pytest.raises(AssertionError, match=r"MiB are free: delete some, or raise"):
                    await camera.ask(name, **arguments)
            told = await eventually(lambda: _two(camera))
            assert (told[-1]["what"], told[-1]["reason"]) == ("failed", "quota")
            await camera.broker.publish(Event.new("job.1.output", {"n": 1}, source="test"))
            # Where something is deleted there is room again.
            await camera.recordings.delete(entry)
            assert (await camera.ask("start_recording", seconds=1))["already"] is False


def _rise(numbers: list[int]) -> bool:
    """Whether no picture comes twice or late; on a busy machine the encoder leaves some out."""
    return all(before < after for before, after in pairwise(numbers))
