"""A server that speaks the wire of a camera's pictures and misbehaves on order: with real H.264 of numbered test cards."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from fractions import Fraction
from io import BytesIO
from typing import Any

import av
import numpy as np
from aiohttp import WSMsgType, web
from av.video.codeccontext import VideoCodecContext
from PIL import Image

from actors.camera.sources.simulated import write_strip
from edge.http.system import CLIENT
from edge.transports.video.frame import Frame
from edge.transports.video.mp4_viewer import Mp4Messages
from router.frame import pack

WIDTH, HEIGHT = 320, 240
# A key every second.
FPS = 15


def card(seq: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A picture that moves a little, and bears its number."""
    pixels = np.full((HEIGHT, WIDTH, 3), 96, dtype=np.uint8)
    pixels[40:80, seq * 4 % (WIDTH - 40) :][:, :40] = (230, 120, 40)
    write_strip(pixels, seq, int(time.time() * 1000))
    return pixels


def encoder() -> VideoCodecContext:
    """x264 as a camera has it: no B-frames, parameter sets before each key."""
    made = av.CodecContext.create("libx264", "w")
    assert isinstance(made, VideoCodecContext)
    made.width, made.height, made.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    made.time_base = Fraction(1, 1000)
    made.framerate = Fraction(FPS)
    made.options = {
        "preset": "ultrafast",
        "tune": "zerolatency",
        "x264-params": f"keyint={FPS}:scenecut=0:repeat-headers=1",
    }
    return made


class Cameraman:
    """One camera, as `/cameras/main`. Fields that a test sets change what is sent from the next picture on."""

    def __init__(self) -> None:
        self.url = ""
        self.life = int(time.time() * 1000)
        self.seq = 0
        # Formats that are not served; the socket then sends JPEG, as a server of before does.
        self.without: set[str] = set()
        # Formats of which no picture comes, and what `ready` says that there is.
        self.withheld: set[str] = set()
        self.rungs = ["jpeg", "h264"]
        # Packets to leave out, bodies to spoil, pictures of before to send once more.
        self.lose = self.spoil = self.repeat = 0
        self.silent = False
        self.open = 0
        self.said: list[dict[str, Any]] = []
        self.formats: list[str] = []

    def restart(self) -> None:
        """Begins a new incarnation, which counts from zero."""
        self.life += 1000
        self.seq = 0

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/cameras/main/ws", self._socket)
        app.router.add_static("/client", CLIENT)
        return app

    async def _socket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        asked = request.query.get("format", "jpeg")
        self.formats.append(asked)
        form = "jpeg" if asked in self.without else asked
        await socket.send_str(
            json.dumps({"control": "ready", "rung": form, "rungs": self.rungs, "window": 2, "status": "streaming"})
        )
        self.open += 1
        showing = asyncio.ensure_future(self._show(socket, form))
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    self.said.append(json.loads(message.data))
        finally:
            self.open -= 1
            showing.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await showing
        return socket

    async def _show(self, socket: web.WebSocketResponse, form: str) -> None:
        h264, life, packet = encoder(), self.life, 0
        messages = Mp4Messages()
        before: list[bytes] = []
        while True:
            await asyncio.sleep(1 / FPS)
            if self.silent or form in self.withheld:
                continue
            if life != self.life:
                h264, life, packet = encoder(), self.life, 0
            seq, self.seq = self.seq, self.seq + 1
            header: dict[str, Any] = {
                "seq": seq, "life": life, "time": time.time() * 1000, "width": WIDTH, "height": HEIGHT, "fps": FPS,
                "fresh": True, "simulated": True, "source": "test", "rung": "h264" if form != "jpeg" else "jpeg",
            }  # fmt: skip
            if form == "jpeg":
                with BytesIO() as file:
                    Image.fromarray(card(seq)).save(file, "JPEG", quality=90)
                    payloads = [pack({**header, "format": "jpeg"}, file.getvalue())]
            else:
                frame = av.VideoFrame.from_ndarray(card(seq), format="rgb24")
                frame.pts = round(header["time"])
                (encoded,) = h264.encode(frame)
                body = bytes(encoded)
                packet += 1
                if self.lose:
                    self.lose -= 1
                    continue
                if self.spoil:
                    self.spoil -= 1
                    body = bytes(4) + b"\x01\x65" + bytes(range(256)) * 8
                    encoded.is_keyframe = True
                whole = {
                    **header,
                    "format": "h264",
                    "key": encoded.is_keyframe,
                    "codec": "avc1.42C00D",
                    "packet": packet,
                }
                payload = pack(whole, body)
                payloads = [payload] if form == "h264" else [bytes(each) for each in messages.of(Frame(payload))]
            for payload in payloads:
                await socket.send_bytes(payload)
            before.append(payloads[-1])
            if self.repeat and len(before) > 5:
                self.repeat -= 1
                await socket.send_bytes(before[-5])
