"""Writes the boxes of fragmented MP4 (ISO/IEC 14496-12 and -15) of H.264: init segments, fragments of samples, the index of a file.

Times are in units of a time scale that the caller chooses.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

TRACK: Final = 1
SPS, PPS, DELIMITER = 7, 8, 9
# Profiles whose SPS says the chroma format and the bit depths (ITU-T H.264 §7.3.2.1.1).
_HIGH = frozenset({44, 83, 86, 100, 110, 118, 122, 128, 138, 139, 134, 135, 144, 244})
KEY_SAMPLE, OTHER_SAMPLE = 0x02000000, 0x01010000
_UNITY = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
_UNDETERMINED = 0x55C4


class BadAccessUnit(ValueError):
    """a picture of H.264 is not what its header says"""


class AnnexBPicture(NamedTuple):
    """One picture of H.264 as MP4 wants it: the sample with lengths before its NAL units, and the parameter sets beside it."""

    sample: bytes
    sps: tuple[bytes, ...]
    pps: tuple[bytes, ...]


class Sample(NamedTuple):
    """One picture of a fragment; `duration` until the next, in units of the time scale."""

    duration: int
    data: bytes
    key: bool


class IndexEntry(NamedTuple):
    """One fragment in the index of a file: its bytes, how long until the next begins, and whether it begins with a key."""

    size: int
    duration: int
    key: bool


def access_unit(body: bytes) -> AnnexBPicture:
    """Reads one access unit in Annex B. Raises BadAccessUnit where it has no picture."""
    units = list(nal_units(body))
    sps = tuple(dict.fromkeys(unit for unit in units if unit[0] & 31 == SPS))
    pps = tuple(dict.fromkeys(unit for unit in units if unit[0] & 31 == PPS))
    samples = [unit for unit in units if unit[0] & 31 not in (SPS, PPS, DELIMITER)]
    if not samples:
        raise BadAccessUnit("an access unit without a picture")
    data = b"".join(part for unit in samples for part in (len(unit).to_bytes(4, "big"), unit))
    return AnnexBPicture(data, sps, pps)


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


def box(kind: bytes, *parts: bytes) -> bytes:
    """A box of a kind with its content."""
    size = 8 + sum(map(len, parts))
    return b"".join((struct.pack(">I4s", size, kind), *parts))


def full(kind: bytes, version: int, flags: int, *parts: bytes) -> bytes:
    """A box with a version and flags."""
    return box(kind, struct.pack(">I", version << 24 | flags), *parts)


def fragment(number: int, time: int, samples: Sequence[Sample]) -> bytes:
    """A fragment of the samples, of which the first is shown at `time`."""
    table = b"".join(
        struct.pack(">III", each.duration, len(each.data), KEY_SAMPLE if each.key else OTHER_SAMPLE) for each in samples
    )
    # moof 8, mfhd 16, traf 8, tfhd 16, tfdt 20, trun 20 and 12 for each sample; the data begin behind the head of mdat.
    offset = 88 + len(table) + 8
    # 0x701: the offset of the data; of each sample duration, size and flags.
    run = full(b"trun", 0, 0x701, struct.pack(">II", len(samples), offset), table)
    times = full(b"tfdt", 1, 0, struct.pack(">Q", time))
    # 0x020000: offsets begin at the moof.
    track = box(b"traf", full(b"tfhd", 0, 0x020000, struct.pack(">I", TRACK)), times, run)
    head = box(b"moof", full(b"mfhd", 0, 0, struct.pack(">I", number & 0xFFFFFFFF)), track)
    return head + box(b"mdat", *(each.data for each in samples))


def index(timescale: int, entries: Sequence[IndexEntry]) -> bytes:
    """The index of the fragments that follow it (sidx), by which a player knows the duration and finds any moment."""
    table = b"".join(struct.pack(">III", each.size, each.duration, 0x90000000 if each.key else 0) for each in entries)
    head = struct.pack(">IIQQHH", TRACK, timescale, 0, 0, 0, len(entries))
    return full(b"sidx", 1, 0, head, table)


@lru_cache(maxsize=64)
def init_segment(sps: tuple[bytes, ...], pps: tuple[bytes, ...], width: int, height: int, timescale: int) -> bytes:
    """The init segment of a track of H.264. No duration: a client takes the stream for a live one, and buffers little."""
    movie = full(
        b"mvhd", 0, 0, struct.pack(">4I", 0, 0, timescale, 0), struct.pack(">IH10x", 0x10000, 0x100), _UNITY,
        bytes(24), struct.pack(">I", TRACK + 1),
    )  # fmt: skip
    # Flags: the track is enabled, and in the movie.
    track_header = full(
        b"tkhd", 0, 3, struct.pack(">5I", 0, 0, TRACK, 0, 0), struct.pack(">8x4H", 0, 0, 0, 0), _UNITY,
        struct.pack(">II", width << 16, height << 16),
    )  # fmt: skip
    media = box(
        b"mdia",
        full(b"mdhd", 0, 0, struct.pack(">4I", 0, 0, timescale, 0), struct.pack(">HH", _UNDETERMINED, 0)),
        full(b"hdlr", 0, 0, struct.pack(">I4s12x", 0, b"vide"), b"Callboard\0"),
        _media_information(sps, pps, width, height),
    )
    extends = box(b"mvex", full(b"trex", 0, 0, struct.pack(">5I", TRACK, 1, 0, 0, 0)))
    brands = struct.pack(">4sI", b"iso5", 512) + b"iso5iso6avc1mp41"
    return box(b"ftyp", brands) + box(b"moov", movie, box(b"trak", track_header, media), extends)


def _media_information(sps: tuple[bytes, ...], pps: tuple[bytes, ...], width: int, height: int) -> bytes:
    entry = box(
        b"avc1",
        struct.pack(">6xH16xHHIIIH32xHh", 1, width, height, 0x480000, 0x480000, 0, 1, 24, -1),
        box(b"avcC", decoder_configuration(sps, pps)),
    )
    # The samples are in fragments; the tables of the file itself are empty.
    tables = box(
        b"stbl",
        full(b"stsd", 0, 0, struct.pack(">I", 1), entry),
        *(full(kind, 0, 0, bytes(size)) for kind, size in ((b"stts", 4), (b"stsc", 4), (b"stsz", 8), (b"stco", 4))),
    )
    # Flag 1: the data are in this file.
    references = full(b"dref", 0, 0, struct.pack(">I", 1), full(b"url ", 0, 1))
    return box(b"minf", full(b"vmhd", 0, 1, bytes(8)), box(b"dinf", references), tables)


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
