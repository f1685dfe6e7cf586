"""Makes RGBA messages of pictures for viewports: each form of a picture once, in a thread, for all that watch it."""

from __future__ import annotations

import asyncio
import base64
import io
import math
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any
from weakref import WeakValueDictionary

import msgspec
from PIL import Image

from edge.dialects.viewport import image_bytes, image_text
from edge.transports.video.frame import Frame
from router.errors import BadEvent
from router.frame import unpack

# 4K. A larger picture is scaled down to as many pixels: its client decodes base64 in its page, 45 MB here.
MAX_PIXELS = 3840 * 2160
# Of a form of which a picture's message is several times as long: handing over more than 15 MB blocks the event loop for too long.
MOST_PIXELS: Mapping[str, int] = {"buffer": 1 << 20}
# 8192 x 8192: larger than any message of a picture can hold, so what claims more is not decoded at all.
MAX_SOURCE_PIXELS = 1 << 26
# Bytes that one call encodes while it holds the interpreter: the event loop gets its turn in between. A multiple of three,
# so that base64 needs no padding between them.
_STRETCH = 3 * 64 * 1024

Message = str | bytes


class UnreadablePicture(Exception):
    """a picture could not be decoded"""


class PixelPicture:
    """One picture, and the messages that were made of it."""

    __slots__ = ("__weakref__", "_made", "_threads", "payload")

    def __init__(self, payload: bytes, threads: ThreadPoolExecutor) -> None:
        self.payload = payload
        self._threads = threads
        self._made: dict[tuple[str, int | None], asyncio.Future[Message]] = {}

    async def message(self, form: str, width: int | None = None) -> Message:
        """The message of a form, scaled down to a width where that is smaller. Raises UnreadablePicture."""
        made = self._made.get((form, width))
        if made is None:
            made = asyncio.get_running_loop().run_in_executor(
                self._threads, partial(make_message, self.payload, form, width)
            )
            # Its viewers may all have left before it fails.
            made.add_done_callback(lambda done: done.cancelled() or done.exception())
            self._made[form, width] = made
        return await asyncio.shield(made)


@dataclass
class PixelCounts:
    """What this process has sent of one Octane. `last` in ms since the epoch, 0 for never."""

    pictures: int = 0
    unreadable: int = 0
    last: int = 0
    clients: int = 0
    clients_ever: int = 0


class Pixels:
    """The newest picture of each track that somebody watches as pixels."""

    def __init__(self) -> None:
        self._counts: dict[str, PixelCounts] = {}
        # Two: a picture more than that at a time would only keep the actors of this machine from rendering the next.
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="pixels")
        self._newest: WeakValueDictionary[str, PixelPicture] = WeakValueDictionary()

    def of(self, subject: str, frame: Frame) -> PixelPicture:
        """The picture of a frame: the same one for all viewers, also where the source sends it again."""
        known = self._newest.get(subject)
        if known is None or known.payload != frame.payload:
            known = self._newest[subject] = PixelPicture(frame.payload, self._threads)
        return known

    def counts(self, octane: str) -> PixelCounts:
        """The counts of an Octane that is known."""
        return self._counts.setdefault(octane, PixelCounts())

    def close(self) -> None:
        """Ends its threads; what they are at is not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def make_message(payload: bytes, form: str, width: int | None) -> Message:
    """The message `newImage` of one frame. For a thread. Raises UnreadablePicture."""
    try:
        header, body = unpack(payload)
    except BadEvent as fault:
        raise UnreadablePicture(str(fault)) from None
    read = scaled if header.get("format") == "rgba" else decode
    return FORMS[form](header, *read(header, body, width, MOST_PIXELS.get(form, MAX_PIXELS)))


def scaled(
    header: Mapping[str, Any], body: memoryview, width: int | None = None, most: int = MAX_PIXELS
) -> tuple[int, int, bytes]:
    """The width, height and bytes of a picture that comes as RGBA. Raises UnreadablePicture."""
    width_there, height_there = header.get("width"), header.get("height")
    if not isinstance(width_there, int) or not isinstance(height_there, int) or min(width_there, height_there) < 1:
        raise UnreadablePicture(f"{width_there!r} x {height_there!r} is no size")
    size = width_there, height_there
    if math.prod(size) * 4 != len(body):
        raise UnreadablePicture(f"{len(body)} bytes are no picture of {width_there} x {height_there}")
    pixels, shown = bytes(body), shown_size(*size, width, most)
    if shown != size:
        pixels = Image.frombytes("RGBA", size, pixels).resize(shown, Image.Resampling.BOX).tobytes()
    return *shown, pixels


def decode(
    _header: Mapping[str, Any], body: memoryview, width: int | None = None, most: int = MAX_PIXELS
) -> tuple[int, int, bytes]:
    """Decodes a file to its width, height and RGBA bytes without padding. Raises UnreadablePicture."""
    try:
        with Image.open(io.BytesIO(body), formats=("JPEG", "PNG", "WEBP")) as image:
            if image.width * image.height > MAX_SOURCE_PIXELS:
                raise UnreadablePicture(f"a size of {image.width} x {image.height} is too large")
            size = shown_size(image.width, image.height, width, most)
            if size != image.size:
                # A JPEG is then decoded at an eighth, a quarter or half of its size already.
                image.draft("RGB", size)
            whole = image.convert("RGBA")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as fault:
        raise UnreadablePicture(f"the picture cannot be decoded: {fault}") from None
    if whole.size != size:
        whole = whole.resize(size, Image.Resampling.BOX)
    return whole.width, whole.height, whole.tobytes()


def shown_size(width: int, height: int, wanted: int | None = None, most: int = MAX_PIXELS) -> tuple[int, int]:
    """The size that a picture is shown at: no wider than wanted, and not of more pixels than a message may have."""
    share = min(1.0, (wanted or width) / width, (most / (width * height)) ** 0.5)
    # What comes out a billionth below a whole number is that.
    return max(1, int(width * share + 1e-6)), max(1, int(height * share + 1e-6))


def _binary(header: Mapping[str, Any], width: int, height: int, pixels: bytes) -> bytes:
    return image_bytes(header, width, height, pixels)


def _base64(header: Mapping[str, Any], width: int, height: int, pixels: bytes) -> str:
    before, behind = image_text(header, width, height, "base64")
    stretches = (base64.b64encode(pixels[at : at + _STRETCH]) for at in range(0, len(pixels), _STRETCH))
    return b"".join((before, b'"', *stretches, b'"', behind)).decode()


def _buffer(header: Mapping[str, Any], width: int, height: int, pixels: bytes) -> str:
    """As Node writes a Buffer: three and a half times as long as its bytes."""
    before, behind = image_text(header, width, height, None)
    stretches = (msgspec.json.encode(list(pixels[at : at + _STRETCH]))[1:-1] for at in range(0, len(pixels), _STRETCH))
    return b"".join((before, b'{"type":"Buffer","data":[', b",".join(stretches), b"]}", behind)).decode()


# How a client may have its pixels.
FORMS: Mapping[str, Callable[[Mapping[str, Any], int, int, bytes], Message]] = {
    "base64": _base64,
    "binary": _binary,
    "buffer": _buffer,
}
