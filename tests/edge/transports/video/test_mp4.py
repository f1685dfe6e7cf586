"""Pictures of H.264 become fragments of MP4 that decoders of others read, each from its own picture alone."""

from __future__ import annotations

import io
import subprocess

import av
import pytest

from edge.transports.video.mp4 import BadAccessUnit, codec_of, init_segment, make_fragment, nal_units
from tests import parts
from tests.edge.transports.video.h264 import access_units, h264_frames

BEGAN = 1_700_000_000_000


@pytest.mark.parametrize("profile", ["baseline", "main", "high"])
def test_a_decoder_of_others_reads_each_picture_at_the_time_of_its_capture(profile: str) -> None:
    fragments = [frame.fragment for frame in h264_frames(25, profile=profile)]
    first = fragments[0].init
    assert first is not None

    with av.open(io.BytesIO(first + b"".join(each.body for each in fragments))) as film:
        stream = film.streams.video[0]
        times = [packet.pts for packet in film.demux(stream) if packet.size]
        assert stream.time_base is not None and stream.time_base.denominator == 1000
    with av.open(io.BytesIO(first + b"".join(each.body for each in fragments))) as film:
        pictures = list(film.decode(video=0))

    assert times == [BEGAN + 33 * number for number in range(25)]
    assert [(picture.width, picture.height) for picture in pictures] == [(160, 120)] * 25
    assert [picture.key_frame for picture in pictures] == [number % 10 == 0 for number in range(25)]


def test_ffprobe_finds_nothing_wrong() -> None:
    ffprobe = parts.program(parts.FFMPEG, "ffprobe")
    fragments = [frame.fragment for frame in h264_frames(12)]
    assert fragments[0].init is not None
    film = fragments[0].init + b"".join(each.body for each in fragments)

    asked = [ffprobe, "-v", "warning", "-count_frames", "-show_entries", "stream=codec_name,profile,nb_read_frames"]
    done = subprocess.run([*asked, "-of", "csv=p=0", "-"], input=film, capture_output=True, check=True, timeout=60)

    assert done.stderr == b""
    assert done.stdout.decode().strip().endswith("12")
    assert b"h264" in done.stdout


def test_a_key_brings_the_init_segment_and_the_others_do_not() -> None:
    fragments = [frame.fragment for frame in h264_frames(11)]

    inits = [each.init for each in fragments]
    assert [number for number, init in enumerate(inits) if init is not None] == [0, 10]
    assert inits[0] is inits[10]
    assert fragments[0].codec.startswith("avc1.42")
    assert fragments[1].moof[:8] == len(fragments[1].moof).to_bytes(4, "big") + b"moof"


def test_parameter_sets_and_delimiters_are_not_repeated_in_the_samples() -> None:
    (body, key), *_ = access_units(1)
    unit = b"\0\0\0\1\x09\xf0" + body

    made = make_fragment({"seq": 1, "time": 5.0, "width": 160, "height": 120, "key": key}, unit)

    kinds = {each[0] & 31 for each in nal_units(body)}
    assert {7, 8, 5} <= kinds
    sample, kept = made.mdat[8:], []
    while sample:
        size = int.from_bytes(sample[:4], "big")
        kept.append(sample[4] & 31)
        sample = sample[4 + size :]
    assert kept == [each[0] & 31 for each in nal_units(unit) if each[0] & 31 not in (7, 8, 9)]


def test_start_codes_of_three_and_four_bytes_divide_units() -> None:
    assert list(nal_units(b"\0\0\0\1\x67abc\0\0\1\x68d\0\0\0\1\x65ef\0")) == [b"\x67abc", b"\x68d", b"\x65ef"]
    assert list(nal_units(b"")) == list(nal_units(b"no start code")) == []


def test_what_is_no_picture_is_refused() -> None:
    header = {"seq": 1, "time": 5, "width": 160, "height": 120, "key": True}
    with pytest.raises(BadAccessUnit, match="without a picture"):
        make_fragment(header, b"\0\0\0\1\x67abc")
    with pytest.raises(BadAccessUnit, match="without SPS and PPS"):
        make_fragment(header, b"\0\0\0\1\x65abc")
    with pytest.raises(BadAccessUnit, match="ends too early"):
        init_segment((b"\x67\x64\x00\x1f",), (b"\x68",), 160, 120, 1000)


def test_the_codec_is_that_of_the_sps() -> None:
    assert codec_of(b"\x67\x64\x00\x1f\xac") == "avc1.64001f"
