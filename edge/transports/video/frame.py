"""One picture as it came from NATS, and its forms for viewers, each made once for all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edge.transports import frames
from edge.transports.video.mp4 import Fragment, make_fragment
from router.errors import BadEvent
from router.frame import pack, unpack
from router.rungs import CODECS, INDEPENDENT

BOUNDARY = b"callboard-frame"
# What stands before the first part; each part brings the one for the next.
OPENING = b"--" + BOUNDARY + b"\r\n"

# (life, seq): pictures are ordered by it, over a restart of their actor too.
Order = tuple[int, int]


class Frame:
    """One picture as it came; what is made of it is made once and shared."""

    __slots__ = (
        "_captured", "_chunk", "_forms", "_fragment", "_fresh", "_header", "_key", "_message", "_messages", "_order", "_part",
        "_single", "_start", "payload",
    )  # fmt: skip

    def __init__(self, payload: bytes) -> None:
        self.payload = payload
        self._header: dict[str, Any] | None = None
        self._start = 0
        self._order: Order | None = None
        self._fresh = self._key = self._single = True
        self._captured = 0.0
        self._part: bytes | None = None
        self._chunk: bytes | None = None
        self._message: bytes | None = None
        self._fragment: Fragment | None = None
        self._forms: dict[str, bytes] = {}
        self._messages: tuple[bytes | None, bytes] | None = None

    @property
    def header(self) -> dict[str, Any]:
        """What is said of the picture; not to be changed. Raises BadEvent."""
        if self._header is None:
            self._header, body = unpack(self.payload)
            self._start = len(self.payload) - len(body)
            life, seq = self._header.get("life"), self._header.get("seq")
            self._order = (life, seq) if isinstance(life, int) and isinstance(seq, int) else None
            self._fresh = self._header.get("fresh") is not False
            self._key = self._header.get("key") is not False
            format, captured = self._header.get("format"), self._header.get("time")
            self._single = format in INDEPENDENT or format not in CODECS
            self._captured = float(captured) if isinstance(captured, (int, float)) else 0.0
        return self._header

    @property
    def body(self) -> memoryview:
        """The bytes of the picture's file, or of its access unit. Raises BadEvent."""
        if self._header is None:
            _ = self.header
        return memoryview(self.payload)[self._start :]

    @property
    def order(self) -> Order | None:
        """Where it stands among the pictures of its source; None where its header does not say (an Octane's)."""
        if self._header is None:
            _ = self.header
        return self._order

    @property
    def fresh(self) -> bool:
        """Whether it was not sent before: a source repeats its last picture to show that it lives."""
        if self._header is None:
            _ = self.header
        return self._fresh

    @property
    def key(self) -> bool:
        """Whether it can be decoded without the pictures before it."""
        if self._header is None:
            _ = self.header
        return self._key

    @property
    def single(self) -> bool:
        """Whether no picture of its stream builds on another."""
        if self._header is None:
            _ = self.header
        return self._single

    @property
    def captured(self) -> float:
        """When it was captured, in ms since the epoch; 0 where its header does not say."""
        if self._header is None:
            _ = self.header
        return self._captured

    @property
    def message(self) -> bytes:
        """The picture as one WebSocket frame."""
        if self._message is None:
            self._message = frames.frame(frames.BINARY, self.payload)
        return self._message

    @property
    def part(self) -> bytes:
        """The picture as one part of multipart/x-mixed-replace, with the boundary behind it.

        A browser shows a part when it sees where it ends, and the next picture may never come.
        """
        if self._part is None:
            header, body = self.header, self.body
            self._part = b"".join(
                (
                    b"Content-Type: image/jpeg\r\nContent-Length: ", str(len(body)).encode(),
                    b"\r\nX-Timestamp: ", str(header.get("time", "")).encode(),
                    b"\r\nX-Simulated: ", b"true" if header.get("simulated") else b"false",
                    self._part_headers(), b"\r\n\r\n", body, b"\r\n", OPENING,
                )
            )  # fmt: skip
        return self._part

    @property
    def chunk(self) -> bytes:
        """The part, as one chunk of an HTTP/1.1 body."""
        if self._chunk is None:
            self._chunk = chunk(self.part)
        return self._chunk

    def _part_headers(self) -> bytes:
        """What else the headers of a part say, where the picture's header does."""
        header, order, lines = self.header, self.order, [""]
        if order is not None:
            lines.append(f"X-Frame: {order[0]}.{order[1]}")
        if not self.fresh:
            lines.append("X-Fresh: false")
        if isinstance(rung := header.get("rung"), str) and rung.isprintable():
            lines.append(f"X-Rung: {rung}")
        return "\r\n".join(lines).encode("ascii", "replace")

    @property
    def fragment(self) -> Fragment:
        """A picture of H.264 as fragmented MP4. Raises BadAccessUnit."""
        if self._fragment is None:
            self._fragment = make_fragment(self.header, bytes(self.body))
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

    def kept(self, name: str, make: Callable[[], bytes]) -> bytes:
        """A form of the picture that a surface has of its own, made once under a name."""
        if name not in self._forms:
            self._forms[name] = make()
        return self._forms[name]


def chunk(part: bytes) -> bytes:
    """One chunk of an HTTP/1.1 body."""
    return b"%x\r\n%b\r\n" % (len(part), part)


def read_frame(payload: bytes) -> Frame | None:
    """A frame of what came from NATS; None where that is none."""
    frame = Frame(payload)
    try:
        _ = frame.header
    except BadEvent:
        return None
    return frame
