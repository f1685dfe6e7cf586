"""Reads the head of a JPEG that came from a source, and completes one that leaves its Huffman tables out, as cameras do."""

from __future__ import annotations

from actors.camera.sources.source import BadPicture

_SOI, _EOI = b"\xff\xd8", b"\xff\xd9"
_SOS, _DHT = 0xDA, 0xC4
# Start of frame of all kinds but DHT, JPG and DAC, which lie among them.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# Browsers show baseline and progressive ones.
_SHOWN = frozenset((0xC0, 0xC1, 0xC2))
# 134 megapixels: what a decoder would need 200 MB for. No JPEG has less than a bit for each block of 8 x 8; one that says so
# would make every viewer allocate a picture that is not there.
_MAX_PIXELS = 1 << 27
_PIXELS_A_BYTE = 1024

# The tables of ITU-T T.81, annex K.3: how many codes of each length, and what they stand for.
_TABLES = (
    (0x00, "00010501010101010100000000000000", "000102030405060708090a0b"),
    (0x01, "00030101010101010101010000000000", "000102030405060708090a0b"),
    (
        0x10,
        "0002010303020403050504040000017d",
        "01020300041105122131410613516107227114328191a1082342b1c11552d1f02433627282090a161718191a25262728292a3435363738393a"
        "434445464748494a535455565758595a636465666768696a737475767778797a838485868788898a92939495969798999aa2a3a4a5a6a7a8a9"
        "aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9dae1e2e3e4e5e6e7e8e9eaf1f2f3f4f5f6f7f8f9fa",
    ),
    (
        0x11,
        "00020102040403040705040400010277",
        "000102031104052131061241510761711322328108144291a1b1c109233352f0156272d10a162434e125f11718191a262728292a3536373839"
        "3a434445464748494a535455565758595a636465666768696a737475767778797a82838485868788898a92939495969798999aa2a3a4a5a6a7"
        "a8a9aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9dae2e3e4e5e6e7e8e9eaf2f3f4f5f6f7f8f9fa",
    ),
)


def _segment() -> bytes:
    tables = b"".join(bytes([kind]) + bytes.fromhex(counts + values) for kind, counts, values in _TABLES)
    return b"\xff\xc4" + (len(tables) + 2).to_bytes(2) + tables


HUFFMAN_TABLES = _segment()


def complete_jpeg(data: bytes) -> tuple[bytes, int, int]:
    """Gives a JPEG that any viewer can decode, with its width and height; raises BadPicture where it is none."""
    if not data.startswith(_SOI):
        raise BadPicture("a picture is no JPEG")
    if (end := data.rfind(_EOI)) < 0:
        raise BadPicture("a picture is cut short")
    at, size, tables = 2, None, False
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            raise BadPicture("a picture is damaged")
        kind = data[at + 1]
        if kind == 0xFF:  # padding
            at += 1
            continue
        if kind == _SOS:
            break
        if kind in _FRAMES:
            if kind not in _SHOWN or data[at + 4] != 8:
                raise BadPicture("a picture is a JPEG of a rare kind")
            size = int.from_bytes(data[at + 7 : at + 9]), int.from_bytes(data[at + 5 : at + 7])
        tables = tables or kind == _DHT
        at += 2 + int.from_bytes(data[at + 2 : at + 4])
    else:
        raise BadPicture("a picture is cut short")
    if size is None or not all(size):
        raise BadPicture("a picture is a JPEG of no size")
    if size[0] * size[1] > min(_MAX_PIXELS, len(data) * _PIXELS_A_BYTE):
        raise BadPicture(f"a picture says that it has {size[0]}x{size[1]} pixels, and cannot")
    whole = data if end + 2 == len(data) else data[: end + 2]
    return (whole if tables else _SOI + HUFFMAN_TABLES + whole[2:]), *size
