"""Reads the Range and If-Range of a request (RFC 9110 §14): one range of bytes, or the whole."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

# One range; of several the client gets the whole, as it may.
_RANGE = re.compile(r"bytes\s*=\s*(\d*)\s*-\s*(\d*)\s*", re.IGNORECASE)
# No file has as many digits of bytes.
_MAX_DIGITS = 18


class ByteRange(NamedTuple):
    """The bytes from `start` up to, and without, `stop`."""

    start: int
    stop: int


class Unsatisfiable(ValueError):
    """the range begins behind the end of the file"""


def range_of(headers: Mapping[str, str], size: int, etag: str) -> ByteRange | None:
    """The range that a request asks for; None for the whole. Raises Unsatisfiable.

    A header that is no range of bytes is ignored, and so is one whose If-Range names other bytes than these; a date there
    always does, since a file has no date to the second.
    """
    found = _RANGE.fullmatch(headers.get("range", "").strip())
    if found is None or max(map(len, found.groups())) > _MAX_DIGITS:
        return None
    if (given := headers.get("if-range")) is not None and given.strip() != f'"{etag}"':
        return None
    first, last = found.groups()
    if not first:
        if not last:
            return None
        if int(last) == 0 or size == 0:
            raise Unsatisfiable
        return ByteRange(max(0, size - int(last)), size)
    if last and int(last) < int(first):
        return None
    if int(first) >= size:
        raise Unsatisfiable
    return ByteRange(int(first), min(int(last) + 1, size) if last else size)


def has_tag(headers: Mapping[str, str], etag: str) -> bool:
    """Whether If-None-Match names these bytes."""
    given = headers.get("if-none-match")
    if given is None:
        return False
    return "*" in (tags := {tag.strip().removeprefix("W/") for tag in given.split(",")}) or f'"{etag}"' in tags
