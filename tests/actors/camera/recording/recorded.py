"""A camera that is recorded on a real nats-server, and what its files show."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections.abc import AsyncIterator, Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import msgspec

from actors.camera.actor import Camera
from actors.camera.settings import CameraSettings
from actors.camera.sources.simulated import read_strip
from actors.system.supervisor import run_actor
from router.broker import Broker
from router.codec import to_json
from router.nats.headers import header
from router.recording_entry import Recording
from router.recordings import Recordings
from router.topology import TopologySettings
from tests import parts
from tests.waiting import PATIENCE, eventually, in_time, unhurried

# Small, and wide enough for the strip with the number of the picture.
SMALL = CameraSettings(width=320, height=240, fps=30.0)


class RecordedCamera:
    """One camera actor in this process."""

    def __init__(self, broker: Broker, instance: str) -> None:
        self.broker = broker
        self.instance = instance
        self.recordings = Recordings(broker)

    async def ask(self, command: str, /, **arguments: Any) -> Any:
        """Gives a command. Raises AssertionError with the refusal."""
        reply = await self.broker.connection.ask(
            f"cmd.camera.{self.instance}.{command}",
            to_json(arguments),
            {"Callboard-Principal": "ann"},
            timeout=PATIENCE,
        )
        refused = header(reply.headers, b"Nats-Service-Error")
        assert refused is None, refused
        return msgspec.json.decode(reply.payload)

    async def files(self) -> list[Recording]:
        """What is stored of this camera."""
        return await self.recordings.listing(self.instance)

    async def frames(self, entry: Recording) -> int:
        """How many pictures of a file are stored."""
        last = await self.recordings.last_piece(entry)
        return last.frames if last is not None else 0

    async def download(self, entry: Recording) -> bytes:
        """The bytes of a file."""
        content = await self.recordings.content(entry)
        assert content is not None
        return b"".join([chunk async for chunk in self.recordings.read(content, 0, content.size)])

    async def told(self) -> list[dict[str, Any]]:
        """The events of recordings, in order."""
        page = await self.broker.read(f"camera.{self.instance}.recording", 0)
        return [dict(record.event.data) for record in page.records if record.event is not None]


@contextlib.asynccontextmanager
async def camera_on(
    url: str,
    instance: str,
    settings: CameraSettings = SMALL,
    topology: TopologySettings | None = None,
    make: Callable[[], Camera] | None = None,
) -> AsyncIterator[RecordedCamera]:
    """Runs a camera actor while the block runs, and then stops it in good order."""
    stop = asyncio.Event()
    async with Broker(unhurried(url), "test camera", topology) as broker:
        running = asyncio.ensure_future(
            run_actor(make or (lambda: Camera(settings)), broker, instance=instance, stop=stop)
        )
        camera = RecordedCamera(broker, instance)
        try:
            async with asyncio.timeout(PATIENCE):
                while True:
                    with contextlib.suppress(Exception):
                        await camera.ask("describe")
                        break
                    await asyncio.sleep(0.02)
            yield camera
        finally:
            stop.set()
            await in_time(running)


def pictures(file: bytes) -> list[tuple[int, int, float]]:
    """Of each picture of a file: its burnt-in number, its burnt-in time (ms mod 2³²), and its media time in ms."""
    found = []
    with av.open(BytesIO(file)) as container:
        stream = container.streams.video[0]
        assert stream.time_base is not None
        for frame in container.decode(stream):
            strip = read_strip(frame.to_ndarray(format="rgb24"))
            assert strip is not None and frame.pts is not None
            found.append((*strip, float(frame.pts * stream.time_base * 1000)))
    return found


def probed(file: bytes, folder: Path) -> int:
    """How many pictures ffprobe, which is not ours, decodes of a file without finding fault with it."""
    path = folder / "recording.mp4"
    path.write_bytes(file)
    words = ["-v", "error", "-count_frames", "-show_entries", "stream=nb_read_frames", "-of", "csv=p=0", str(path)]
    said = subprocess.run([parts.program(parts.FFMPEG, "ffprobe"), *words], capture_output=True, text=True, check=False)
    assert said.returncode == 0 and not said.stderr, said.stderr
    return int(said.stdout.strip().split(",")[0])


async def until_stored(camera: RecordedCamera, frames: int) -> Recording:
    """The newest file of a camera, once so many of its pictures are stored."""

    async def there() -> Recording | None:
        files = await camera.files()
        return files[-1] if files and await camera.frames(files[-1]) >= frames else None

    found = await eventually(there)
    assert found is not None
    return found
