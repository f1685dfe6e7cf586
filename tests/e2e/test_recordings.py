"""A recording across SIGKILLs of the camera's process, of nats-server and of an edge: it opens, plays, and lacks at most a second."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.actors.camera.recording.recorded import pictures
from tests.e2e.tree import RunningCallboard, running_tree
from tests.waiting import PATIENCE, eventually

pytestmark = pytest.mark.slow


async def _files(http: httpx.AsyncClient) -> list[dict[str, Any]]:
    try:
        answer = await http.get("/recordings")
    except httpx.HTTPError:
        return []
    return answer.json().get("recordings", [])


async def _recorded(http: httpx.AsyncClient, files: int, frames: int) -> list[dict[str, Any]]:
    """The list, once there are so many files and the last has so many pictures."""

    async def there() -> list[dict[str, Any]] | None:
        found = await _files(http)
        return found if len(found) >= files and found[-1]["frames"] >= frames else None

    found = await eventually(there, within=2 * PATIENCE)
    assert found is not None
    return found


async def _killed(callboard: RunningCallboard, child: str) -> None:
    """Kills a process of the tree, and waits until another one has its place."""
    before = callboard.children()[child]
    os.kill(before, signal.SIGKILL)
    await eventually(lambda: callboard.children().get(child, before) != before)


def _probed(file: bytes, frames: int, folder: Path) -> None:
    """Lets ffprobe, which is not ours, decode a file to its end without an error."""
    path = folder / "recording.mp4"
    path.write_bytes(file)
    if shutil.which("ffprobe") is None:
        assert os.environ.get("CI") != "true", "ffprobe is missing"
        return
    words = ["ffprobe", "-v", "error", "-count_frames", "-show_entries", "stream=nb_read_frames", "-of", "csv=p=0"]
    said = subprocess.run([*words, str(path)], capture_output=True, text=True, check=False)
    assert (said.returncode, said.stdout.strip(), said.stderr) == (0, str(frames), "")


async def test_recordings_survive_sigkill_of_any_process(tmp_path: Path) -> None:
    with running_tree(tmp_path, CAMERA_WIDTH="320", CAMERA_HEIGHT="240") as callboard:
        async with httpx.AsyncClient(base_url=callboard.url, timeout=PATIENCE, trust_env=False) as http:
            began = await http.post("/commands/camera/main/start_recording", json={"seconds": 600})
            assert began.status_code == 200, began.text
            await _recorded(http, 1, 60)
            await _killed(callboard, "camera")
            await _recorded(http, 2, 40)
            before = (await _files(http))[-1]["frames"]
            await _killed(callboard, "nats-server")
            await _recorded(http, 2, before + 120)
            stopped = await eventually(lambda: _stopped(http), within=2 * PATIENCE)
            assert stopped["stopped"] is True

            first, second = files = await _files(http)
            assert (first["status"], second["status"]) == ("interrupted", "finished") and second["lost"] == 0
            for each in files:
                file = (await http.get(each["url"])).content
                shown = pictures(file)
                _probed(file, each["frames"], tmp_path)
                assert len(shown) == each["frames"]
                numbers = [number for number, _, _ in shown]
                # Nothing comes twice; the encoder of a busy machine may leave out a picture, nats-server's death none.
                assert numbers == sorted(set(numbers))
                assert numbers[-1] - numbers[0] + 1 - len(numbers) <= 30
                times = [at - shown[0][2] for _, _, at in shown]
                burnt = [(time - shown[0][1]) % 2**32 for _, time, _ in shown]
                assert max(abs(at - said) for at, said in zip(times, burnt, strict=True)) <= 1.0


async def _stopped(http: httpx.AsyncClient) -> dict[str, Any] | None:
    try:
        answer = await http.post("/commands/camera/main/stop_recording", json={})
    except httpx.HTTPError:
        return None
    return answer.json() if answer.status_code == 200 else None


async def test_a_download_goes_on_after_the_death_of_the_edge(tmp_path: Path) -> None:
    with running_tree(tmp_path, CAMERA_WIDTH="320", CAMERA_HEIGHT="240") as callboard:
        async with httpx.AsyncClient(base_url=callboard.url, timeout=PATIENCE, trust_env=False) as http:
            await http.post("/commands/camera/main/start_recording", json={"seconds": 3})

            async def finished() -> dict[str, Any] | None:
                found = await _files(http)
                return found[0] if found and found[0]["status"] == "finished" else None

            entry = await eventually(finished, within=2 * PATIENCE)
            assert entry is not None
            url = entry["url"]
            first = b""
            async with http.stream("GET", url) as answer:
                etag = answer.headers["etag"]
                async for chunk in answer.aiter_bytes(1000):
                    first += chunk
                    if len(first) >= 5000:
                        break
                await _killed(callboard, "edge")

            async def rest() -> httpx.Response | None:
                try:
                    found = await http.get(url, headers={"Range": f"bytes={len(first)}-", "If-Range": etag})
                except httpx.HTTPError:
                    await asyncio.sleep(0.05)
                    return None
                return found if found.status_code == 206 else None

            resumed = await eventually(rest, within=2 * PATIENCE)
            assert resumed is not None
            file = first + resumed.content
            assert len(file) == entry["bytes"] and len(pictures(file)) == entry["frames"]


async def test_a_camera_that_records_always_goes_on_in_a_new_file_after_a_sigkill(tmp_path: Path) -> None:
    settings = {"CAMERA_WIDTH": "320", "CAMERA_HEIGHT": "240", "CAMERA_RECORD": "always"}
    with running_tree(tmp_path, "--only", "edge,camera", "--no-demo", **settings) as callboard:
        async with httpx.AsyncClient(base_url=callboard.url, timeout=PATIENCE, trust_env=False) as http:
            await _recorded(http, 1, 30)
            await _killed(callboard, "camera")
            first, second = await _recorded(http, 2, 30)

            assert (first["status"], second["status"]) == ("interrupted", "recording")
            assert first["session"] == second["session"] and first["continuous"] and first["overwritable"]
            file = (await http.get(first["url"])).content
            assert len(pictures(file)) == first["frames"]
            _probed(file, first["frames"], tmp_path)
