"""Writes fragmented MP4 (ISO/IEC 14496-12 and -15) of H.264 pictures: an init segment, and one fragment for each picture.

A fragment needs nothing but its picture, so it is made once and shared by all viewers of a rung, and by every edge alike. The
media time is the capture clock: milliseconds since 1970, in `tfdt`. A client that knows its own clock knows the latency.

Each sample says that it lasts for a second; the next one comes sooner. A muxer that tells the true duration has to wait for
the next picture. One that is too short makes Media Source Extensions drop everything up to the next key: a gap of more than
twice the last duration is a discontinuity there.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

TIMESCALE: Final = 1000
SAMPLE_MS: Final = 1000
MEDIA_TYPE: Final = "video/mp4"

_TRACK = 1
_SPS, _PPS, _DELIMITER = 7, 8, 9
# Profiles whose SPS says the chroma format and the bit depths (ITU-T H.264 §7.3.2.1.1).
_HIGH = frozenset({44, 83, 86, 100, 110, 118, 122, 128, 138, 139, 134, 135, 144, 244})
_KEY_SAMPLE, _OTHER_SAMPLE = 0x02000000, 0x01010000
_UNITY = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
_UNDETERMINED = 0x55C4


class BadAccessUnit(ValueError):
    """a picture of H.264 is not what its header says"""


class Fragment(NamedTuple):
    """One picture as MP4, at a time in milliseconds since 1970. `init` is the init segment where the picture is a key, else None."""

    time: int
    init: bytes | None
    codec: str
    moof: bytes
    mdat: bytes

    @property
    def body(self) -> bytes:
        """The bytes of the fragment."""
        return self.moof + self.mdat

    def at(self, time: int) -> bytes:
        """The bytes of the fragment at another time, in milliseconds."""
        return b"".join((self.moof[:_TIME], struct.pack(">Q", time), self.moof[_TIME + 8 :], self.mdat))


def make_fragment(header: Mapping[str, Any], body: bytes) -> Fragment:
    """Makes the fragment of one access unit in Annex B. Raises BadAccessUnit."""
    units = list(nal_units(body))
    sps = tuple(unit for unit in units if unit[0] & 31 == _SPS)
    pps = tuple(unit for unit in units if unit[0] & 31 == _PPS)
    key = bool(header.get("key"))
    samples = [unit for unit in units if unit[0] & 31 not in (_SPS, _PPS, _DELIMITER)]
    if not samples:
        raise BadAccessUnit("an access unit without a picture")
    init = None
    if key:
        if not sps or not pps or any(len(unit) < 4 for unit in sps):
            raise BadAccessUnit("a key without SPS and PPS")
        init = init_segment(_distinct(sps), _distinct(pps), int(header["width"]), int(header["height"]))
    size = sum(4 + len(unit) for unit in samples)
    data = b"".join(part for unit in samples for part in (len(unit).to_bytes(4, "big"), unit))
    time = round(header["time"])
    codec = str(header.get("codec") or (codec_of(sps[0]) if sps else ""))
    moof = _moof(int(header.get("seq", 0)), time, size, key)
    return Fragment(time, init, codec, moof, _box(b"mdat", data))


def _distinct(units: Sequence[bytes]) -> tuple[bytes, ...]:
    return tuple(dict.fromkeys(units))


def codec_of(sps: bytes) -> str:
    """The codec of a sequence parameter set, as in `avc1.42c01f` (RFC 6381)."""
    return f"avc1.{sps[1:4].hex()}"


def nal_units(body: bytes) -> Iterator[bytes]:
    """The NAL units of an access unit in Annex B, without start codes and trailing zeros."""
    start = body.find(b"\0\0\1")
    while start >= 0:
        end = body.find(b"\0\0\1", start + 3)
        unit = (body[start + 3 :] if end < 0 else body[start + 3 : end]).rstrip(b"\0")
        if unit:
            yield unit
        start = end


# Boxes


def _box(kind: bytes, *parts: bytes) -> bytes:
    size = 8 + sum(map(len, parts))
    return b"".join((struct.pack(">I4s", size, kind), *parts))


def _full(kind: bytes, version: int, flags: int, *parts: bytes) -> bytes:
    return _box(kind, struct.pack(">I", version << 24 | flags), *parts)


def _moof(number: int, time: int, size: int, key: bool) -> bytes:
    sample = struct.pack(">III", SAMPLE_MS, size, _KEY_SAMPLE if key else _OTHER_SAMPLE)
    # 0x301: the sample's data begin at an offset; duration, size and flags follow.
    run = _full(b"trun", 0, 0x701, struct.pack(">II", 1, _MOOF_SIZE + 8), sample)
    times = _full(b"tfdt", 1, 0, struct.pack(">Q", time))
    # 0x020000: offsets begin at the moof.
    track = _box(b"traf", _full(b"tfhd", 0, 0x020000, struct.pack(">I", _TRACK)), times, run)
    return _box(b"moof", _full(b"mfhd", 0, 0, struct.pack(">I", number & 0xFFFFFFFF)), track)


# moof 8, mfhd 16, traf 8, tfhd 16, tfdt 20, trun 32.
_TIME = 8 + 16 + 8 + 16 + 12
_MOOF_SIZE = _TIME + 8 + 32


@lru_cache(maxsize=64)
def init_segment(sps: tuple[bytes, ...], pps: tuple[bytes, ...], width: int, height: int) -> bytes:
    """The init segment of a track of H.264. No duration: a client takes the stream for a live one, and buffers little."""
    movie = _full(
        b"mvhd", 0, 0, struct.pack(">4I", 0, 0, TIMESCALE, 0), struct.pack(">IH10x", 0x10000, 0x100), _UNITY,
        bytes(24), struct.pack(">I", _TRACK + 1),
    )  # fmt: skip
    # Flags: the track is enabled, and in the movie.
    track_header = _full(
        b"tkhd", 0, 3, struct.pack(">5I", 0, 0, _TRACK, 0, 0), struct.pack(">8x4H", 0, 0, 0, 0), _UNITY,
        struct.pack(">II", width << 16, height << 16),
    )  # fmt: skip
    media = _box(
        b"mdia",
        _full(b"mdhd", 0, 0, struct.pack(">4I", 0, 0, TIMESCALE, 0), struct.pack(">HH", _UNDETERMINED, 0)),
        _full(b"hdlr", 0, 0, struct.pack(">I4s12x", 0, b"vide"), b"Callboard\0"),
        _media_information(sps, pps, width, height),
    )
    extends = _box(b"mvex", _full(b"trex", 0, 0, struct.pack(">5I", _TRACK, 1, 0, 0, 0)))
    brands = struct.pack(">4sI", b"iso5", 512) + b"iso5iso6avc1mp41"
    return _box(b"ftyp", brands) + _box(b"moov", movie, _box(b"trak", track_header, media), extends)


def _media_information(sps: tuple[bytes, ...], pps: tuple[bytes, ...], width: int, height: int) -> bytes:
    entry = _box(
        b"avc1",
        struct.pack(">6xH16xHHIIIH32xHh", 1, width, height, 0x480000, 0x480000, 0, 1, 24, -1),
        _box(b"avcC", decoder_configuration(sps, pps)),
    )
    # The samples are in fragments; the tables of the file itself are empty.
    tables = _box(
        b"stbl",
        _full(b"stsd", 0, 0, struct.pack(">I", 1), entry),
        *(_full(kind, 0, 0, bytes(size)) for kind, size in ((b"stts", 4), (b"stsc", 4), (b"stsz", 8), (b"stco", 4))),
    )
    # Flag 1: the data are in this file.
    references = _full(b"dref", 0, 0, struct.pack(">I", 1), _full(b"url ", 0, 1))
    return _box(b"minf", _full(b"vmhd", 0, 1, bytes(8)), _box(b"dinf", references), tables)


def decoder_configuration(sps: tuple[bytes, ...], pps: tuple[bytes, ...]) -> bytes:
    """The AVCDecoderConfigurationRecord (ISO/IEC 14496-15 §5.3.3.1) of parameter sets; lengths in samples have 4 bytes."""
    first = sps[0]
    parts = [bytes((1, first[1], first[2], first[3], 0xFF, 0xE0 | len(sps)))]
    parts += [part for unit in sps for part in (len(unit).to_bytes(2, "big"), unit)]
    parts.append(bytes((len(pps),)))
    parts += [part for unit in pps for part in (len(unit).to_bytes(2, "big"), unit)]
    if first[1] in _HIGH:
        chroma, luma_bits, chroma_bits = _sample_format(first)
        parts.append(bytes((0xFC | chroma, 0xF8 | luma_bits, 0xF8 | chroma_bits, 0)))
    return b"".join(parts)


def _sample_format(sps: bytes) -> tuple[int, int, int]:
    """Of the SPS of a high profile: chroma_format_idc, and the bit depths of luma and chroma, minus 8."""
    # 3: bytes that keep start codes out of the unit. The first 24 bytes hold what is read.
    bits = "".join(f"{byte:08b}" for byte in sps[4:28].replace(b"\0\0\3", b"\0\0"))
    position = 0

    def number() -> int:
        """An unsigned Exp-Golomb code."""
        nonlocal position
        zeros = bits.index("1", position) - position
        value = int(bits[position + zeros : position + 2 * zeros + 1], 2) - 1
        position += 2 * zeros + 1
        return value

    try:
        number()
        chroma = number()
        if chroma == 3:
            position += 1
        return chroma & 3, number() & 7, number() & 7
    except ValueError:
        raise BadAccessUnit("an SPS that ends too early") from None
