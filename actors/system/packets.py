"""Queues the packets of one stream that need one another, in order: bounded, and emptied where one is lost."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

Packet = tuple[Mapping[str, Any], bytes]

# 4 s at 30 pictures a second: as long as a slow answer of the server takes. And no more memory than that.
MAX_PACKETS = 120
MAX_BYTES = 32 << 20


class PacketQueue:
    """What waits to be sent of one stream. After a loss, nothing is worth sending before the next key."""

    def __init__(self) -> None:
        self._packets: deque[Packet] = deque()
        self._bytes = 0
        self._lost = False

    def put(self, header: Mapping[str, Any], body: bytes) -> int | None:
        """Takes the next packet. Gives the number of packets dropped for it, None where nothing was lost since the last one."""
        dropped = 0
        if len(self._packets) >= MAX_PACKETS or self._bytes + len(body) > MAX_BYTES:
            dropped = self.lose()
        lost, self._lost = self._lost, False
        if lost and not header.get("key"):
            return dropped + 1
        self._packets.append((header, body))
        self._bytes += len(body)
        return dropped if lost else None

    def take(self) -> Packet | None:
        """Gives the oldest packet; None where none waits."""
        if not self._packets:
            return None
        packet = self._packets.popleft()
        self._bytes -= len(packet[1])
        return packet

    def lose(self) -> int:
        """Drops what waits, because a packet before it was lost; says how many."""
        dropped = len(self._packets)
        self._packets.clear()
        self._bytes, self._lost = 0, True
        return dropped
