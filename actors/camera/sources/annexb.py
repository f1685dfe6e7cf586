"""Writes H.264 as players take it: Annex B, one access unit a picture, with SPS and PPS before each key."""

from __future__ import annotations

import re
from collections.abc import Iterator

from actors.camera.sources.source import BadPicture

_SLICE, _PARTITION, _IDR, _SPS, _PPS, _DELIMITER = 1, 2, 5, 7, 8, 9
_START = b"\x00\x00\x00\x01"
_BOUNDARY = re.compile(b"\x00\x00\x01")


class AccessUnits:
    """Reads the access units of one stream, in Annex B or as MP4 keeps them, whichever the stream's head says."""

    def __init__(self, head: bytes) -> None:
        """`head` is what FFmpeg calls extradata: an avcC record, or SPS and PPS in Annex B; may be empty."""
        self._length_size: int | None = None
        self._parameters: dict[int, bytes] = {}
        if head[:1] == b"\x01" and len(head) > 6:
            self._length_size = (head[4] & 3) + 1
            for unit in _of_record(head):
                self._note(unit)
        else:
            for unit in units(head):
                self._note(unit)

    def read(self, data: bytes) -> tuple[bytes, bool] | None:
        """Gives an access unit in Annex B, and whether it is a key; None where it holds no picture. Raises BadPicture."""
        parts = list(units(data) if self._length_size is None else _of_lengths(data, self._length_size))
        kinds = {part[0] & 31 for part in parts}
        for part in parts:
            self._note(part)
        if not kinds & {_SLICE, _PARTITION, _IDR}:
            return None
        key = _IDR in kinds
        if key:
            if not {_SPS, _PPS} <= self._parameters.keys():
                key = False  # nobody could decode it
            else:
                rest = [part for part in parts if part[0] & 31 not in (_SPS, _PPS)]
                at = 1 if rest[0][0] & 31 == _DELIMITER else 0
                parts = [*rest[:at], self._parameters[_SPS], self._parameters[_PPS], *rest[at:]]
        return b"".join(_START + part for part in parts), key

    def _note(self, unit: bytes) -> None:
        if (kind := unit[0] & 31) in (_SPS, _PPS):
            self._parameters[kind] = unit


def units(data: bytes) -> Iterator[bytes]:
    """Splits Annex B into its NAL units, without start codes."""
    marks = [found.start() for found in _BOUNDARY.finditer(data)]
    for mark, following in zip(marks, [*marks[1:], len(data)], strict=False):
        # The zero before a start code of four bytes, and any padding, belong to no unit.
        if unit := data[mark + 3 : following].rstrip(b"\x00"):
            yield unit


def _of_lengths(data: bytes, size: int) -> Iterator[bytes]:
    at = 0
    while at + size <= len(data):
        length = int.from_bytes(data[at : at + size])
        at += size
        if length > len(data) - at:
            raise BadPicture("a packet of H.264 is cut short")
        if length:
            yield data[at : at + length]
        at += length


def _of_record(head: bytes) -> Iterator[bytes]:
    """The parameter sets of an avcC record; what is cut short is left out."""
    at, counts = 6, head[5] & 31
    for turn in range(2):
        for _ in range(counts):
            length = int.from_bytes(head[at : at + 2])
            if length and at + 2 + length <= len(head):
                yield head[at + 2 : at + 2 + length]
            at += 2 + length
        if turn == 0:
            counts, at = (head[at] if at < len(head) else 0), at + 1
