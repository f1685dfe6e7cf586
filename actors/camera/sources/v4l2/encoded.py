"""Completes what cameras encode themselves, so that every picture can be decoded by itself or from its key."""

from __future__ import annotations

import re

from actors.camera.sources.source import BadPicture

# The tables of Huffman codes of the JPEG standard, K.3: cameras that send Motion JPEG leave them out, and decoders of
# JPEG need them. Each: class and id, how many codes of each length there are, and the symbols.
_LUMA_DC = "000001050101010101010000000000000000010203040506070809 0a0b"
_CHROMA_DC = "010003010101010101010101000000000000010203040506070809 0a0b"
_LUMA_AC = (
    "1000020103030204030505040400 00017d 0102030004110512213141061351610722711432 8191a1082342b1c11552d1f02433627282"
    "090a161718191a25262728292a3435363738393a434445464748494a535455565758595a636465666768696a737475767778797a"
    "838485868788898a92939495969798999aa2a3a4a5a6a7a8a9aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9da"
    "e1e2e3e4e5e6e7e8e9eaf1f2f3f4f5f6f7f8f9fa"
)
_CHROMA_AC = (
    "1100020102040403040705040400 010277 000102031104052131061241510761711322328108144291a1b1c109233352f0156272d1"
    "0a162434e125f11718191a262728292a35363738393a434445464748494a535455565758595a636465666768696a737475767778797a"
    "82838485868788898a92939495969798999aa2a3a4a5a6a7a8a9aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9da"
    "e2e3e4e5e6e7e8e9eaf2f3f4f5f6f7f8f9fa"
)
_TABLES = b"".join(bytes.fromhex(each.replace(" ", "")) for each in (_LUMA_DC, _CHROMA_DC, _LUMA_AC, _CHROMA_AC))
_DHT = b"\xff\xc4" + (len(_TABLES) + 2).to_bytes(2, "big") + _TABLES

_START, _END, _SCAN, _HUFFMAN = 0xD8, 0xD9, 0xDA, 0xC4

# NAL unit types of H.264.
_IDR, _SPS, _PPS = 5, 7, 8
_UNIT = re.compile(rb"\x00\x00\x01")


def whole_jpeg(data: bytes) -> bytes:
    """A JPEG with its Huffman tables and without what a driver leaves behind it; raises BadPicture for what is none."""
    if data[:2] != b"\xff\xd8":
        raise BadPicture("a picture of the camera is no JPEG")
    end = data.rfind(b"\xff\xd9")
    if end < 0:
        raise BadPicture("a picture of the camera ends too early")
    at, tables = 2, False
    while at + 4 <= end and data[at] == 0xFF and data[at + 1] != _SCAN:
        tables = tables or data[at + 1] == _HUFFMAN
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    if at + 4 > end or data[at] != 0xFF:
        raise BadPicture("a picture of the camera is a damaged JPEG")
    return data[: end + 2] if tables else data[:at] + _DHT + data[at : end + 2]


class AccessUnits:
    """Sees to it that SPS and PPS stand before each key of a stream of H.264; a camera may send them once."""

    def __init__(self) -> None:
        self._sets = b""

    def whole(self, data: bytes) -> tuple[bytes, bool]:
        """An access unit in Annex B, and whether it is a key; raises BadPicture for what is none."""
        units = _units(data)
        if not units:
            raise BadPicture("a picture of the camera is no H.264")
        kinds = [kind for kind, _ in units]
        if _SPS in kinds:
            self._sets = b"".join(b"\x00\x00\x00\x01" + unit for kind, unit in units if kind in (_SPS, _PPS))
        key = _IDR in kinds
        return (self._sets + data if key and _SPS not in kinds else data), key and bool(self._sets)


def _units(data: bytes) -> list[tuple[int, bytes]]:
    """The NAL units of Annex B with their types."""
    starts = [found.end() for found in _UNIT.finditer(data)]
    ends = [*(start - 3 for start in starts[1:]), len(data)] if starts else []
    return [
        (data[start] & 0x1F, data[start:end].rstrip(b"\x00") if end < len(data) else data[start:end])
        for start, end in zip(starts, ends, strict=True)
        if start < end
    ]
