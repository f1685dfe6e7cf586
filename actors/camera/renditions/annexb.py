"""Reads what a player must know of H.264 in Annex B."""

from __future__ import annotations

_SPS = 7
# 4 kB: the SPS stands before the slices of a picture.
_HEAD = 4096


def codec_of(data: bytes) -> str:
    """The codec of an access unit as browsers name it, such as `avc1.64001f`, by its SPS; empty where it holds none."""
    head = bytes(data[:_HEAD])
    start = head.find(b"\x00\x00\x01")
    while 0 <= start < len(head) - 6:
        if head[start + 3] & 31 == _SPS:
            return f"avc1.{head[start + 4 : start + 7].hex()}"
        start = head.find(b"\x00\x00\x01", start + 3)
    return ""
