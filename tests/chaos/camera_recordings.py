"""What the recordings of a camera hold: opened by ffprobe, decoded, and read picture by picture."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp
import av

from actors.camera.sources.simulated import read_strip
from tests import parts
from tests.chaos.camera_viewers import LOST, Seen
from tests.waiting import eventually

# A viewer that sees nothing for so long sees a fault; nothing is taken for lost while there is nothing to see.
PAUSE = 0.5


class CameraRecordings:
    """The recordings of one camera, over the edge's HTTP."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self._http, self._url = http, url

    async def command(self, name: str) -> dict[str, Any]:
        """Gives the camera a command, until it was taken."""

        async def given() -> dict[str, Any] | None:
            try:
                async with self._http.post(f"{self._url}/commands/camera/main/{name}", json={}) as answer:
                    body: dict[str, Any] = await answer.json()
                    return body if answer.status == 200 else None
            except LOST:
                return None

        answer: dict[str, Any] = await eventually(given)
        return answer

    async def numbers(self, folder: Path) -> list[list[int]]:
        """Downloads all files, checks that they open and play, and gives the burnt-in numbers of each, in order."""
        async with self._http.get(f"{self._url}/recordings?camera=main&kind=video&limit=1000") as answer:
            listed = (await answer.json())["recordings"]
        numbers = []
        for each in listed:
            assert each["status"] in ("finished", "interrupted"), each
            if not each["frames"]:
                continue
            path = folder / f"{each['id']}.mp4"
            async with self._http.get(f"{self._url}{each['url']}") as answer:
                path.write_bytes(await answer.read())
            numbers.append(numbers_of(path))
        return numbers


def numbers_of(path: Path) -> list[int]:
    """The burnt-in numbers of a file's pictures; fails where ffprobe finds fault with it."""
    probed = subprocess.run(
        [parts.program(parts.FFMPEG, "ffprobe"), "-v", "error", "-count_frames", "-show_streams", path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert probed.returncode == 0 and not probed.stderr, (path.name, probed.stderr)
    with av.open(str(path)) as container:
        strips = [read_strip(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    assert strips.count(None) <= len(strips) // 50, f"{path.name}: {strips.count(None)} of {len(strips)} are damaged"
    return [strip[0] for strip in strips if strip is not None]


def longest_loss(shown: Sequence[Seen], recorded: set[int]) -> tuple[float, float]:
    """How many seconds of what a viewer saw between two faults are missing from the recordings at a stretch.

    And when the last of those pictures was shown, by the monotonic clock.
    """
    longest, begun, before = (0.0, 0.0), 0, None
    for seen in shown:
        if seen.number is None:
            continue
        if before is None or before.number in recorded or seen.at - before.at > PAUSE:
            begun = seen.taken
        if seen.number not in recorded:
            longest = max(longest, ((seen.taken - begun) % (1 << 32) / 1000, seen.at))
        before = seen
    return longest
