from __future__ import annotations

import pytest

from actors.camera.sources.annexb import AccessUnits, units
from actors.camera.sources.source import BadPicture

START = b"\x00\x00\x00\x01"
SPS, PPS, IDR, SLICE, DELIMITER = b"\x67sps", b"\x68pps", b"\x65key", b"\x41one", b"\x09\x10"
RECORD = b"\x01\x64\x00\x0b\xff\xe1\x00\x04" + SPS + b"\x01\x00\x04" + PPS


def annexb(*parts: bytes) -> bytes:
    return b"".join(START + part for part in parts)


def lengths(*parts: bytes) -> bytes:
    return b"".join(len(part).to_bytes(4) + part for part in parts)


def test_start_codes_of_three_and_four_bytes_are_found() -> None:
    assert list(units(b"\x00\x00\x01" + SPS + START + PPS + b"\x00\x00\x00\x00\x01" + IDR)) == [SPS, PPS, IDR]
    assert list(units(b"no start code")) == list(units(b"")) == []


def test_what_mp4_keeps_is_written_as_annex_b_with_the_parameters_before_each_key() -> None:
    reader = AccessUnits(RECORD)

    assert reader.read(lengths(IDR)) == (annexb(SPS, PPS, IDR), True)
    assert reader.read(lengths(SLICE)) == (annexb(SLICE), False)
    assert reader.read(lengths(DELIMITER, IDR)) == (annexb(DELIMITER, SPS, PPS, IDR), True)


def test_parameters_in_the_stream_are_kept_and_written_once() -> None:
    reader = AccessUnits(b"")

    assert reader.read(annexb(IDR)) == (annexb(IDR), False)  # nobody could decode it
    assert reader.read(annexb(SPS, PPS)) is None
    assert reader.read(annexb(IDR)) == (annexb(SPS, PPS, IDR), True)
    newer = b"\x67new"
    assert reader.read(annexb(newer, PPS, IDR)) == (annexb(newer, PPS, IDR), True)


@pytest.mark.parametrize("data", [b"\x00\x00\x00\x09" + IDR, b"\xff\xff\xff\xff"])
def test_a_packet_that_is_cut_short_is_a_bad_picture(data: bytes) -> None:
    with pytest.raises(BadPicture):
        AccessUnits(RECORD).read(data)


@pytest.mark.parametrize("size", range(len(RECORD)))
def test_a_record_that_is_cut_short_is_no_crash(size: int) -> None:
    AccessUnits(RECORD[:size])
