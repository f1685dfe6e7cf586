"""Boxes of MP4: what an access unit consists of, and what is no access unit."""

from __future__ import annotations

import struct

import pytest

from router.mp4 import BadAccessUnit, IndexEntry, Sample, access_unit, codec_of, fragment, index

SPS, PPS, KEY = b"\x67\x64\x00\x1f", b"\x68\xee", b"\x65key"


def test_parameter_sets_stand_beside_the_sample_each_once() -> None:
    unit = access_unit(b"\0\0\0\1\x09\x10" + b"".join(b"\0\0\1" + each for each in (SPS, SPS, PPS, KEY)))

    assert (unit.sps, unit.pps) == ((SPS,), (PPS,)) and codec_of(SPS) == "avc1.64001f"
    assert unit.sample == struct.pack(">I", len(KEY)) + KEY


@pytest.mark.parametrize("body", [b"", b"no start code", b"\0\0\1" + SPS])
def test_without_a_picture_it_is_no_access_unit(body: bytes) -> None:
    with pytest.raises(BadAccessUnit):
        access_unit(body)


def test_a_fragment_s_data_begin_where_it_says() -> None:
    made = fragment(7, 90_000, [Sample(3000, b"first", True), Sample(3000, b"second", False)])

    (size, kind) = struct.unpack_from(">I4s", made)
    offset = struct.unpack_from(">i", made, made.index(b"trun") + 12)[0]
    assert kind == b"moof" and made[size + 4 : size + 8] == b"mdat"
    assert made[offset : offset + 11] == b"firstsecond" and offset == size + 8


def test_an_index_has_an_entry_for_each_fragment() -> None:
    made = index(90_000, [IndexEntry(1000, 90_000, True), IndexEntry(500, 45_000, False)])

    assert struct.unpack(">I4s", made[:8]) == (len(made), b"sidx")
    assert struct.unpack(">IIIIII", made[-24:]) == (1000, 90_000, 0x90000000, 500, 45_000, 0)
