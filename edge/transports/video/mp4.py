"""Writes fragmented MP4 (ISO/IEC 14496-12 and -15) of H.264 pictures: an init segment, and one fragment for each picture.

A fragment needs nothing but its picture, so it is made once and shared by all viewers of a rung, and by every edge alike. The
media time is the capture clock: milliseconds since 1970, in `tfdt`. A client that knows its own clock knows the latency.

Each sample says that it lasts for a second; the next one comes sooner. A muxer that tells the true duration has to wait for
the next picture. One that is too short makes Media Source Extensions drop everything up to the next key: a gap of more than
twice the last duration is a discontinuity there.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from router.mp4 import BadAccessUnit, Sample, access_unit, codec_of, fragment, init_segment, nal_units

__all__ = ["MEDIA_TYPE", "BadAccessUnit", "Fragment", "codec_of", "init_segment", "make_fragment", "nal_units"]

TIMESCALE: Final = 1000
SAMPLE_MS: Final = 1000
MEDIA_TYPE: Final = "video/mp4"

# Where the time is in a fragment: moof 8, mfhd 16, traf 8, tfhd 16, tfdt 20, trun 32.
_TIME = 8 + 16 + 8 + 16 + 12
_MOOF_SIZE = _TIME + 8 + 32


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
    sample, sps, pps = access_unit(body)
    key = bool(header.get("key"))
    init = None
    if key:
        if not sps or not pps or any(len(unit) < 4 for unit in sps):
            raise BadAccessUnit("a key without SPS and PPS")
        init = init_segment(sps, pps, int(header["width"]), int(header["height"]), TIMESCALE)
    time = round(header["time"])
    codec = str(header.get("codec") or (codec_of(sps[0]) if sps else ""))
    made = fragment(int(header.get("seq", 0)), time, [Sample(SAMPLE_MS, sample, key)])
    return Fragment(time, init, codec, made[:_MOOF_SIZE], made[_MOOF_SIZE:])
