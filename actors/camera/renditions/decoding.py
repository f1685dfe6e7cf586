"""Decodes the H.264 packets of a source in their order, for the rungs that need its pixels."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any

from actors.camera.freshness import is_repeat
from actors.camera.sources.source import BAD_PICTURE, FramePicture, Packet, Picture

# 1 s at 30 packets a second: a decoder that is further behind goes on at the next key.
MAX_WAITING = 30


class PacketDecoding:
    """Decodes one stream while somebody wants its pictures. It begins at a key."""

    def __init__(
        self,
        threads: Executor,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        show: Callable[[Picture | FramePicture, int], None],
        failed: Callable[[Exception], None],
        dropped: Callable[[int], None],
        still: Callable[[], None],
    ) -> None:
        """`show` takes each picture with the number of its packet; `still` is called for one that shows what was there."""
        # Loads FFmpeg.
        from actors.camera.sources.decode import PacketDecoder

        self._decoder = PacketDecoder("h264")
        self._threads = threads
        self._spawn = spawn
        self._show = show
        self._failed = failed
        self._dropped = dropped
        self._still = still
        self._last: Picture | FramePicture | None = None
        self._packets: deque[tuple[Packet, int]] = deque()
        self._busy = False
        self._begun = False
        self._ended = False

    def offer(self, packet: Packet, seq: int) -> None:
        """Takes the next packet, without waiting."""
        if len(self._packets) >= MAX_WAITING:
            self._dropped(len(self._packets))
            self._packets.clear()
            self._begun = False
        if not self._begun and not packet.key:
            return
        self._begun = True
        self._packets.append((packet, seq))
        if not self._busy:
            self._busy = True
            self._spawn(self._decode())

    def end(self) -> None:
        """Shows nothing any more."""
        self._ended = True
        self._packets.clear()

    async def _decode(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._packets:
                packet, seq = self._packets.popleft()
                try:
                    pictures = await loop.run_in_executor(self._threads, self._decoded, packet)
                except BAD_PICTURE as fault:
                    # The decoder waits for the next key, too.
                    self._packets.clear()
                    self._begun = False
                    self._failed(fault)
                    continue
                for picture, new in pictures:
                    if self._ended:
                        break
                    if new:
                        self._show(picture, seq)
                    else:
                        self._still()
        finally:
            self._busy = False

    def _decoded(self, packet: Packet) -> list[tuple[Picture | FramePicture, bool]]:
        """The pictures of a packet, and whether each is a new one."""
        found = []
        for picture in self._decoder.decode(packet):
            before, self._last = self._last, picture
            found.append((picture, before is None or not is_repeat(picture, before)))
        return found
