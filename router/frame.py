"""Packs and unpacks a picture of the stream FRAMES: length, JSON header, body. Browsers get the same bytes.

`[uint32 little-endian: header length][UTF-8 JSON header][body]`, the layout of the newest Octane web viewers.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

from router.codec import from_json, to_json
from router.errors import BadEvent
from router.subject import escape

_LENGTH = struct.Struct("<I")
# 64 kB: a header is a handful of numbers; more is a broken frame.
MAX_HEADER = 65536


def frame_subject(domain: str, entity: str, track: str | None = None) -> str:
    """The NATS subject of one picture stream: `frame.<domain>.<entity>[.<track>]`."""
    tokens = (domain, entity) if track is None else (domain, entity, track)
    return "frame." + ".".join(escape(token) for token in tokens)


def pack(header: Mapping[str, Any], body: bytes | memoryview) -> bytes:
    """Packs one frame. The header has seq, time (ms since the epoch), width, height, format, source, simulated."""
    head = to_json(header)
    return b"".join((_LENGTH.pack(len(head)), head, body))


def unpack(frame: bytes) -> tuple[dict[str, Any], memoryview]:
    """Unpacks a frame without copying its body. Raises BadEvent."""
    if len(frame) < 4:
        raise BadEvent("a frame needs a header")
    (length,) = _LENGTH.unpack_from(frame)
    if length > MAX_HEADER or 4 + length > len(frame):
        raise BadEvent("a frame's header is longer than the frame")
    header = from_json(frame[4 : 4 + length])
    if not isinstance(header, dict):
        raise BadEvent("a frame's header must be an object")
    return header, memoryview(frame)[4 + length :]
