from __future__ import annotations

import pytest

from router.rungs import CODECS, HEIGHTS, JPEG, BadRung, Rung, rung_subject, rungs_of


def test_each_rung_is_read_back_from_its_name():
    rungs = [Rung(codec, height) for codec in CODECS if codec != "png" for height in (None, *HEIGHTS)]

    for rung in [*rungs, Rung("png")]:
        assert Rung.of_token(rung.token) == rung
        assert Rung.of_what(rung.what) == rung


def test_the_rung_of_those_who_name_none_has_no_token_in_subject_and_lease():
    assert rung_subject("door", JPEG) == "frame.camera.door"
    assert JPEG.what == ()
    assert rung_subject("a.b", Rung("h264", 480)) == "frame.camera.a=2Eb.h264-480"


@pytest.mark.parametrize("token", ["", "jpg", "jpeg-", "jpeg-481", "jpeg-0480", "h264-480-1", "png-480", "jpeg-４８０"])
def test_what_names_no_rung_is_refused(token: str):
    with pytest.raises(BadRung):
        Rung.of_token(token)


def test_the_rungs_of_a_codec_begin_with_the_full_height():
    assert [each.token for each in rungs_of("h264")] == ["h264", "h264-720", "h264-480", "h264-240"]
