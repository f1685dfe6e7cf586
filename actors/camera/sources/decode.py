"""Makes pictures of what FFmpeg decoded, and decodes packets for who needs their pixels."""

from __future__ import annotations

from typing import Any

import av
import numpy as np

from actors.camera.sources.source import BadPicture, FramePicture, Packet, Picture

_CODECS = {"h264": "h264", "jpeg": "mjpeg"}


def picture_of(frame: Any, time: float, fresh: bool = True) -> Picture | FramePicture:
    """Makes the picture of an av.VideoFrame, turned as the film says it is to be shown; `time` is ms since the epoch."""
    # Counterclockwise, as NumPy turns.
    turns = round(frame.rotation / 90) % 4
    if not turns:
        return FramePicture(frame, time, fresh)
    pixels = np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8)
    return Picture(np.ascontiguousarray(np.rot90(pixels, turns)), time, fresh=fresh)


class PacketDecoder:
    """Decodes the packets of one source. Of H.264 it takes up at a key. Not for use from several threads at once."""

    def __init__(self, codec: str) -> None:
        self._codec = codec
        self.reset()

    def reset(self) -> None:
        """Forgets what came, and waits for the next key."""
        self._context: Any = av.CodecContext.create(_CODECS[self._codec], "r")
        self._context.thread_count = 1
        # No packet of ours depends on a later one, so no picture has to wait for one.
        self._context.flags |= av.codec.context.Flags.low_delay
        self._begun = False

    def decode(self, packet: Packet) -> list[Picture | FramePicture]:
        """The pictures of a packet, at most one as a rule; raises BadPicture."""
        if not packet.key and not self._begun:
            return []
        try:
            frames = self._context.decode(av.Packet(packet.data))
        except (av.FFmpegError, OSError, ValueError) as fault:
            self.reset()
            raise BadPicture("a packet of the source cannot be decoded") from fault
        if any(frame.is_corrupt for frame in frames):
            self.reset()  # what follows is built on it
            raise BadPicture("a packet of the source is damaged")
        self._begun = True
        return [picture_of(frame, packet.time) for frame in frames]
