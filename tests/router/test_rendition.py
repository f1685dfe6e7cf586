"""The forms of a picture are few, and each has one name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.rendition import (
    BACKGROUNDS,
    DEFAULT,
    MEDIA_TYPES,
    WIDTHS,
    BadRendition,
    Rendition,
    rendition_subject,
)


def all_renditions() -> list[Rendition]:
    found = []
    for format in MEDIA_TYPES:
        for width in (None, *WIDTHS):
            for background in (None, *BACKGROUNDS):
                try:
                    found.append(Rendition(format, width, background))
                except BadRendition:
                    continue
    return found


def test_every_rendition_has_a_token_of_its_own_and_is_found_again_by_it():
    every = all_renditions()

    assert len({each.token for each in every}) == len(every) > 80
    assert [Rendition.of_token(each.token) for each in every] == every


@pytest.mark.parametrize(
    "token",
    ["", "gif", "jpeg", "jpeg-black-512", "jpeg-300-black", "png-512-", "jpeg-black-black", "png-0512", "exr-white"],
)
def test_a_token_that_names_no_rendition_is_refused(token):
    with pytest.raises(BadRendition):
        Rendition.of_token(token)


@given(st.text(max_size=30))
def test_no_text_is_read_as_a_rendition_of_another_name(text):
    try:
        assert Rendition.of_token(text).token == text
    except BadRendition:
        pass


def test_what_is_not_said_is_the_default():
    assert Rendition.asked() == DEFAULT == Rendition("jpeg", None, "black")
    assert Rendition.asked("png") == Rendition("png", None, None)


@pytest.mark.parametrize(("asked", "given_"), [(1, 64), (64, 64), (65, 128), (4000, 4096), (5000, None)])
def test_a_width_becomes_the_next_one_that_there_is(asked, given_):
    assert Rendition.asked(width=asked).width == given_


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ({"format": "gif"}, "format"),
        ({"background": "pink"}, "background"),
        ({"format": "exr", "background": "white"}, "exr"),
    ],
)
def test_what_there_is_not_is_refused_with_the_reason(query, reason):
    with pytest.raises(BadRendition, match=reason):
        Rendition.asked(**query)


def test_the_default_rendition_has_the_subject_of_its_track():
    assert rendition_subject("octane", "main", "beauty", DEFAULT) == "frame.octane.main.beauty"
    other = Rendition("webp", 512, "white")
    assert rendition_subject("octane", "main", "beauty", other) == "frame.octane.main.beauty.webp-512-white"
