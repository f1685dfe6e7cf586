"""Packs and unpacks a picture of the stream FRAMES: length, JSON header, body. Browsers get the same bytes.

`[uint32 little-endian: header length][UTF-8 JSON header][body]`, the layout of the newest Octane web viewers.

A picture larger than one message of NATS is sent in parts: each is a frame on a subject of its own, `<subject>.part.<n>`,
and a frame without a body on the picture's subject, sent last, says how many there are. Who listens to `<subject>.part.*`,
too, has them all by then.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from router.codec import from_json, to_json
from router.errors import BadEvent
from router.subject import escape

_LENGTH = struct.Struct("<I")
# 96 MiB: a picture of 3840 x 2160 in floats, compressed; both sides of NATS hold all of it.
MAX_BODY = 96 << 20
# Bytes of a message that are kept free for the header of a part.
_PART_HEADER = 256
# 64 kB: a header is a handful of numbers; more is a broken frame.
MAX_HEADER = 65536


def frame_subject(domain: str, entity: str, track: str | None = None) -> str:
    """The NATS subject of one picture stream: `frame.<domain>.<entity>[.<track>]`."""
    tokens = (domain, entity) if track is None else (domain, entity, track)
    return "frame." + ".".join(escape(token) for token in tokens)


def pack(header: Mapping[str, Any], body: bytes | memoryview) -> bytes:
    """Packs one frame. The header has seq, time (ms since the epoch), width, height, format, source, simulated."""
    return pack_chunks(header, (body,))


def pack_chunks(header: Mapping[str, Any], chunks: Iterable[bytes | memoryview]) -> bytes:
    """Packs one frame whose body is in pieces, without copying any of it twice."""
    head = to_json(header)
    return b"".join((_LENGTH.pack(len(head)), head, *chunks))


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


def in_parts(subject: str, header: Mapping[str, Any], body: bytes, most: int) -> list[tuple[str, bytes]]:
    """The messages of one picture, subject and frame, where a message has at most that many bytes; none where it is too large."""
    whole = pack(header, body)
    if len(whole) <= most:
        return [(subject, whole)]
    room = most - _PART_HEADER
    if room < 1 or len(body) > MAX_BODY:
        return []
    # A name of its own, so that parts of two pictures are never put together.
    picture = uuid.uuid4().hex
    chunks = [body[start : start + room] for start in range(0, len(body), room)]
    parts = [
        (part_subject(subject, number), pack({"picture": picture, "part": number}, chunk))
        for number, chunk in enumerate(chunks, 1)
    ]
    listing = pack({**header, "picture": picture, "parts": len(chunks), "size": len(body)}, b"")
    return [*parts, (subject, listing)] if len(listing) <= most else []


def part_subject(subject: str, number: int) -> str:
    """The NATS subject of one part of a picture, counted from 1."""
    return f"{subject}.part.{number}"


def parts_pattern(subject: str) -> str:
    """What to subscribe to for all parts of a subject's pictures."""
    return f"{subject}.part.*"
