"""Pictures of an Octane, and clients of its viewport, for tests."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import websockets
from PIL import Image

from router.frame import pack
from router.rendition import Rendition, rendition_subject
from tests.edge.conftest import UNHURRIED, RunningEdge
from tests.waiting import PATIENCE


def jpeg(colour: tuple[int, int, int] = (200, 100, 50), size: tuple[int, int] = (16, 8)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, "JPEG", quality=95, subsampling=0)
    return out.getvalue()


def picture(number: int = 1, **more: Any) -> bytes:
    header = {
        "seq": number, "time": 1.5e12, "width": 16, "height": 8, "format": "jpeg", "source": "test", "simulated": True,
        "track": "beauty", "samples": number, "max_samples": 500, "render_time": 2.5, "change_level": 3,
    }  # fmt: skip
    return pack({**header, **more}, jpeg((number % 256, 100, 50)))


def raw_picture(number: int = 1, width: int = 16, height: int = 8, **more: Any) -> bytes:
    """A picture as the actor sends it to viewports."""
    header = {
        "seq": number, "time": 1.6e12, "width": width, "height": height, "format": "rgba", "source": "test", "track": "beauty",
        "samples": number, "max_samples": 500, "render_time": 2.5, "change_level": 3,
    }  # fmt: skip
    return pack({**header, **more}, bytes((number % 256, 100, 50, 255)) * width * height)


def raw_subject(octane: str, width: int | None = None) -> str:
    return rendition_subject("octane", octane, "beauty", Rendition.asked("rgba", width))


class ViewportClient:
    """One connection of such a client."""

    def __init__(self, raw: websockets.ClientConnection) -> None:
        self.raw = raw

    async def send(self, **said: Any) -> None:
        await self.raw.send(json.dumps(said))

    async def next(self) -> Any:
        """The next message: what its JSON says, and of a binary one its header and bytes."""
        async with asyncio.timeout(PATIENCE):
            said = await self.raw.recv()
        if isinstance(said, str):
            return json.loads(said)
        (length,) = struct.unpack_from("<I", said)
        return json.loads(said[4 : 4 + length]) | {"pixels": said[4 + length :]}

    async def until(self, kind: str) -> Any:
        while (said := await self.next())["type"] != kind:
            pass
        return said

    async def until_sent(self, kind: str, send: Callable[[], Awaitable[None]]) -> Any:
        """The next message of a kind that follows what `send` sends; it sends again until then, since pictures may be lost."""
        following = asyncio.create_task(self.until(kind))
        try:
            while not following.done():
                await send()
                await asyncio.wait({following}, timeout=0.5)
            return await following
        finally:
            following.cancel()

    async def picture(self) -> dict[str, Any]:
        """The image of the next text message `newImage`."""
        said = await self.until("newImage")
        (image,) = said["data"]["render_images"]["data"]
        return dict(image)


@contextlib.asynccontextmanager
async def viewport(edge: RunningEdge, query: str = "", **options: Any) -> AsyncIterator[ViewportClient]:
    address = f"ws://127.0.0.1:{edge.port}/api/callbacks{query}"
    async with websockets.connect(address, max_size=None, **{**UNHURRIED, **options}) as raw:
        yield ViewportClient(raw)
