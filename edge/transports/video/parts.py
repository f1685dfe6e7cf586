"""Gathers the parts of a live picture that is larger than one message of NATS."""

from __future__ import annotations

from typing import Any

from router.errors import BadEvent
from router.frame import MAX_BODY, pack_chunks, unpack

# 96 MiB in messages of 6 kB; a server takes at least ten times as much in one.
MOST_PARTS = 16384


class LiveParts:
    """The parts of one picture, as they come in order before the frame that names them; the next picture replaces them."""

    def __init__(self) -> None:
        self._picture: object = None
        self._parts: list[memoryview] = []
        self._size = 0

    def add(self, payload: bytes) -> None:
        """Takes one part. One that does not follow the one before it makes the picture incomplete, and ends it."""
        try:
            header, body = unpack(payload)
        except BadEvent:
            self.clear()
            return
        picture, number = header.get("picture"), header.get("part")
        if number == 1:
            self.clear()
            self._picture = picture
        elif picture != self._picture or number != len(self._parts) + 1:
            self.clear()
            return
        self._size += len(body)
        if self._size > MAX_BODY or len(self._parts) >= MOST_PARTS:
            self.clear()
            return
        self._parts.append(body)

    def take(self, header: dict[str, Any]) -> bytes | None:
        """The picture that a frame without a body names, as one frame; None where not all of its parts have come."""
        about = dict(header)
        picture, count, size = about.pop("picture", None), about.pop("parts"), about.pop("size", None)
        parts, whole = self._parts, (self._picture, len(self._parts), self._size) == (picture, count, size)
        self.clear()
        return pack_chunks(about, parts) if parts and whole else None

    def clear(self) -> None:
        """Forgets what has come."""
        self._picture, self._parts, self._size = None, [], 0
