"""One picture as it came from NATS, and its forms for HTTP, each made once for all viewers."""

from __future__ import annotations

from typing import Any

from edge.transports.video.mp4 import Fragment, make_fragment
from router.frame import pack, unpack

BOUNDARY = b"callboard-frame"
# What stands before the first part; each part brings the one for the next.
OPENING = b"--" + BOUNDARY + b"\r\n"


class Frame:
    """One picture as it came; its other forms are made once and shared."""

    __slots__ = ("_fragment", "_messages", "_part", "payload")

    def __init__(self, payload: bytes) -> None:
        self.payload = payload
        self._part: bytes | None = None
        self._fragment: Fragment | None = None
        self._messages: tuple[bytes | None, bytes] | None = None

    @property
    def header(self) -> dict[str, Any]:
        """What is said of the picture."""
        return unpack(self.payload)[0]

    @property
    def body(self) -> memoryview:
        """The bytes of the picture's file."""
        return unpack(self.payload)[1]

    @property
    def part(self) -> bytes:
        """The picture as one part of multipart/x-mixed-replace, with the boundary behind it.

        A browser shows a part when it sees where it ends, and the next picture may never come.
        """
        if self._part is None:
            header, body = unpack(self.payload)
            self._part = b"".join(
                (
                    b"Content-Type: image/jpeg\r\nContent-Length: ", str(len(body)).encode(),
                    b"\r\nX-Timestamp: ", str(header.get("time", "")).encode(),
                    b"\r\nX-Simulated: ", b"true" if header.get("simulated") else b"false", b"\r\n\r\n", body, b"\r\n", OPENING,
                )
            )  # fmt: skip
        return self._part

    @property
    def fragment(self) -> Fragment:
        """A picture of H.264 as fragmented MP4. Raises BadAccessUnit."""
        if self._fragment is None:
            header, body = unpack(self.payload)
            self._fragment = make_fragment(header, bytes(body))
        return self._fragment

    @property
    def mp4_messages(self) -> tuple[bytes | None, bytes]:
        """A picture of H.264 as messages of a WebSocket: the init segment where it is a key, and the fragment.

        Raises BadAccessUnit.
        """
        if self._messages is None:
            made = self.fragment
            header = {**self.header, "format": "mp4", "codec": made.codec}
            init = None if made.init is None else pack({**header, "kind": "init"}, made.init)
            self._messages = (init, pack({**header, "kind": "fragment"}, made.body))
        return self._messages
