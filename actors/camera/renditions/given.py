"""Passes the H.264 of a source through: which packets a rung may have, and what their headers say."""

from __future__ import annotations

from actors.camera.renditions.annexb import codec_of
from actors.camera.renditions.encoders import Encoded
from actors.camera.sources.source import Packet
from router.rungs import Rung


class GivenStream:
    """The rungs that are a source's own packets. Each begins with a key, and after a loss again."""

    def __init__(self) -> None:
        self._begun: set[Rung] = set()
        self._rungs: set[Rung] = set()
        self._codec = ""

    def keep_to(self, rungs: set[Rung]) -> None:
        """Names the rungs that are watched of those that the source gives; one that is new waits for a key."""
        self._rungs = rungs
        self._begun &= rungs

    def has(self, rung: Rung) -> bool:
        """Whether the source gives this rung itself."""
        return rung in self._rungs

    def encoded(self, rung: Rung, packet: Packet) -> Encoded | None:
        """The packet as the rung has it; None where a key must come first."""
        if packet.key:
            self._codec = codec_of(packet.data) or self._codec
            self._begun.add(rung)
        if rung not in self._begun:
            return None
        return Encoded(packet.data, packet.width, packet.height, packet.key, self._codec, given=True)

    def lose(self, rung: Rung) -> None:
        """Notes that packets were lost: the rung goes on at the next key."""
        self._begun.discard(rung)
