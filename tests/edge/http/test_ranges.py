"""Range and If-Range: what is a range, what is none, and what cannot be given."""

from __future__ import annotations

import pytest

from edge.http.ranges import ByteRange, Unsatisfiable, has_tag, range_of


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=10-19", (10, 20)),
        ("bytes=10-", (10, 100)),
        ("bytes=10-5000", (10, 100)),
        ("bytes=-7", (93, 100)),
        ("bytes=-5000", (0, 100)),
        ("Bytes = 1 - 2", (1, 3)),
    ],
)
def test_one_range_is_understood(said: str, meant: tuple[int, int]) -> None:
    assert range_of({"range": said}, 100, "tag") == ByteRange(*meant)


@pytest.mark.parametrize(
    "said",
    ["", "bytes=", "bytes=-", "bytes=5-4", "bytes=0-1,5-6", "bytes=x-y", "items=0-1", "bytes=" + "9" * 5000 + "-"],
)
def test_what_is_no_single_range_gets_the_whole(said: str) -> None:
    assert range_of({"range": said}, 100, "tag") is None


@pytest.mark.parametrize("said", ["bytes=100-", "bytes=100-200", "bytes=-0"])
def test_a_range_behind_the_end_cannot_be_given(said: str) -> None:
    with pytest.raises(Unsatisfiable):
        range_of({"range": said}, 100, "tag")


def test_a_range_is_given_only_of_the_bytes_that_the_client_has() -> None:
    assert range_of({"range": "bytes=5-", "if-range": '"tag"'}, 100, "tag") == ByteRange(5, 100)
    for other in ('"other"', 'W/"tag"', "tag", "Fri, 27 Nov 2026 07:45:12 GMT"):
        assert range_of({"range": "bytes=5-", "if-range": other}, 100, "tag") is None


def test_if_none_match_names_one_of_several_tags_or_any() -> None:
    assert has_tag({"if-none-match": '"other", W/"tag"'}, "tag") and has_tag({"if-none-match": "*"}, "tag")
    assert not has_tag({"if-none-match": '"other"'}, "tag") and not has_tag({}, "tag")
