"""Encodes and parses WebSocket frames (RFC 6455, the server's side), without any I/O."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA

NORMAL, PROTOCOL_ERROR, BAD_TEXT, TOO_BIG, KEEPALIVE = 1000, 1002, 1007, 1009, 1011

# 64 kB: what a client has to say is a control object.
MAX_MESSAGE = 64 * 1024
# What the RFC allows a control frame.
MAX_CONTROL = 125

_FIN, _COMPRESSED, _RESERVED, _OPCODE = 0x80, 0x40, 0x70, 0x0F
_MASKED, _LENGTH = 0x80, 0x7F


class BadFrame(Exception):
    """a client broke the WebSocket protocol"""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def frame(opcode: int, payload: bytes) -> bytes:
    """Makes one whole frame as servers send it: unmasked, so that the same bytes serve every client."""
    size = len(payload)
    if size < 126:
        return bytes((_FIN | opcode, size)) + payload
    if size < 65536:
        return bytes((_FIN | opcode, 126, size >> 8, size & 0xFF)) + payload
    return bytes((_FIN | opcode, 127)) + size.to_bytes(8, "big") + payload


# Shorter messages hardly become shorter; of longer ones compressing takes more than the millisecond that a loop may stand.
DEFLATE_ABOVE, DEFLATE_MOST = 1024, 128 * 1024
# 4 kB: what the narrowest of the usual clients asks for.
DEFLATE_WINDOW = 12
# What every deflated message ends with, and is sent without (RFC 7692, 7.2.1).
_TAIL = b"\x00\x00\xff\xff"


def deflated(opcode: int, payload: bytes) -> bytes:
    """Makes one frame of a message, compressed by itself where that is worth it: so its bytes serve every client, too."""
    if not DEFLATE_ABOVE <= len(payload) <= DEFLATE_MOST:
        return frame(opcode, payload)
    press = zlib.compressobj(level=1, wbits=-DEFLATE_WINDOW)
    pressed = press.compress(payload) + press.flush(zlib.Z_SYNC_FLUSH)
    if len(pressed) >= len(payload):
        return frame(opcode, payload)
    return frame(_COMPRESSED | opcode, pressed.removesuffix(_TAIL))


def _inflated(payload: bytes) -> bytes:
    """A message as it was before it was compressed, up to the longest one that is taken. Raises BadFrame."""
    press = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        whole = press.decompress(payload + _TAIL, MAX_MESSAGE + 1)
    except zlib.error:
        raise BadFrame(BAD_TEXT, "not compressed as agreed") from None
    if len(whole) > MAX_MESSAGE:
        raise BadFrame(TOO_BIG, "a message is too long")
    return whole


def close_frame(code: int, reason: str = "") -> bytes:
    """Makes a close frame; a reason that is too long is cut."""
    text = reason.encode()[: MAX_CONTROL - 2]
    return frame(CLOSE, code.to_bytes(2, "big") + text.decode(errors="ignore").encode())


def close_code(payload: bytes) -> int | None:
    """Reads a close frame's code; None where it has none. Raises BadFrame."""
    if not payload:
        return None
    code = int.from_bytes(payload[:2], "big")
    if len(payload) < 2 or not (code in _CODES or 3000 <= code <= 4999):
        raise BadFrame(PROTOCOL_ERROR, "not a close code")
    _check_text(payload[2:])
    return code


# What the registry allows on the wire: 1004, 1005, 1006 and 1015 are never sent.
_CODES = frozenset({1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014})


class FrameParser:
    """What a client sends, as whole messages. It keeps only what is not whole yet, at most one message."""

    __slots__ = ("_allowed", "_buffer", "_kind", "_parts", "_pressed", "_size")

    def __init__(self, inflates: bool = False) -> None:
        """`inflates` says that messages may be compressed, each by itself (RFC 7692 without context takeover)."""
        self._allowed = _COMPRESSED if inflates else 0
        self._buffer = b""
        # The message whose fragments are being gathered: its opcode (0 for none), whether it is compressed, its parts, and
        # how long they are.
        self._kind = 0
        self._pressed = False
        self._parts: list[bytes] = []
        self._size = 0

    @property
    def idle(self) -> bool:
        """Whether nothing is kept: then the next bytes may as well go to a new parser."""
        return not self._buffer and not self._kind

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Takes bytes and yields (opcode, payload) of each whole message and control frame.

        Raises BadFrame where the client broke the protocol, after what came before that.
        """
        data = self._buffer + data if self._buffer else data
        at, end = 0, len(data)
        try:
            while end - at >= 2:
                opcode, begin, size = self._head(data, at, end)
                if begin == 0 or begin + size > end:
                    break
                payload = _unmask(data[begin - 4 : begin], data[begin : begin + size])
                final, pressed = data[at] & _FIN, bool(data[at] & _COMPRESSED)
                at = begin + size
                if opcode >= CLOSE:
                    yield opcode, payload
                elif (message := self._gather(opcode, payload, bool(final), pressed)) is not None:
                    yield message
        finally:
            self._buffer = data[at:]

    def _head(self, data: bytes, at: int, end: int) -> tuple[int, int, int]:
        """Reads a frame's head: its opcode, where its payload begins (0: not all there yet), and its length."""
        first, second = data[at], data[at + 1]
        opcode, size = first & _OPCODE, second & _LENGTH
        if first & _RESERVED & ~(self._allowed if opcode in (TEXT, BINARY) else 0):
            raise BadFrame(PROTOCOL_ERROR, "reserved bits are set")
        if not second & _MASKED:
            raise BadFrame(PROTOCOL_ERROR, "a client must mask its frames")
        if opcode in (CLOSE, PING, PONG):
            if not first & _FIN:
                raise BadFrame(PROTOCOL_ERROR, "a control frame is never fragmented")
            if size > MAX_CONTROL:
                raise BadFrame(PROTOCOL_ERROR, "a control frame is too long")
        elif opcode in (TEXT, BINARY):
            if self._kind:
                raise BadFrame(PROTOCOL_ERROR, "a message began inside another")
        elif opcode != CONTINUATION:
            raise BadFrame(PROTOCOL_ERROR, "not a known opcode")
        elif not self._kind:
            raise BadFrame(PROTOCOL_ERROR, "nothing to continue")
        wide = 2 if size == 126 else 8 if size == 127 else 0
        begin = at + 2 + wide + 4
        if begin > end:
            return opcode, 0, 0
        if wide:
            size = int.from_bytes(data[at + 2 : at + 2 + wide], "big")
            if size < (126 if wide == 2 else 65536) or size >> 63:
                raise BadFrame(PROTOCOL_ERROR, "not the shortest form of a length")
        if opcode < CLOSE and self._size + size > MAX_MESSAGE:
            raise BadFrame(TOO_BIG, "a message is too long")
        return opcode, begin, size

    def _gather(self, opcode: int, payload: bytes, final: bool, pressed: bool) -> tuple[int, bytes] | None:
        """Adds a fragment to its message; returns the message where it is whole now."""
        if opcode != CONTINUATION:
            if final:
                return opcode, _checked(opcode, payload, pressed)
            self._kind, self._pressed = opcode, pressed
        # An empty fragment is allowed, and adds nothing to keep.
        if payload:
            self._parts.append(payload)
            self._size += len(payload)
        if not final:
            return None
        kind, whole = self._kind, b"".join(self._parts)
        self._kind = self._size = 0
        self._parts = []
        return kind, _checked(kind, whole, self._pressed)


def _checked(opcode: int, payload: bytes, pressed: bool) -> bytes:
    if pressed:
        payload = _inflated(payload)
    if opcode == TEXT:
        _check_text(payload)
    return payload


def _check_text(payload: bytes) -> None:
    try:
        payload.decode()
    except UnicodeDecodeError:
        raise BadFrame(BAD_TEXT, "not UTF-8") from None


def _unmask(mask: bytes, payload: bytes) -> bytes:
    size = len(payload)
    if not size:
        return payload
    # Two long integers: a byte at a time would take a hundred times as long.
    pattern = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(pattern, "big")).to_bytes(size, "big")
