from __future__ import annotations

import pytest

from actors.camera.sources import multipart
from actors.camera.sources.multipart import MultipartSplitter
from actors.camera.sources.source import SourceUnavailable

STREAM = (
    b"preamble\r\n--cut\r\nContent-Type: image/jpeg\r\ncontent-length: 3\r\n\r\none\r\n"
    b"--cut\r\nContent-Length: 9\r\n\r\ntwo--cut!\r\n--cut\n\nthree\r\n--cut--\r\n"
)


@pytest.mark.parametrize("step", [1, 2, 7, 1000])
@pytest.mark.parametrize("boundary", ["cut", "--cut", '"cut"'])
def test_parts_are_given_whole_however_they_come(step: int, boundary: str) -> None:
    splitter = MultipartSplitter(boundary)

    parts = [part for at in range(0, len(STREAM), step) for part in splitter.feed(STREAM[at : at + step])]

    assert [part.rstrip() for part in parts] == [b"one", b"two--cut!", b"three"]


def test_what_has_no_boundary_takes_no_memory() -> None:
    splitter = MultipartSplitter("cut")

    for _ in range(100):
        assert splitter.feed(b"x" * 10_000) == []

    assert len(splitter._buffer) < 100


def test_a_head_that_does_not_end_and_a_part_too_large_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SourceUnavailable, match="heads that do not end"):
        MultipartSplitter("cut").feed(b"--cut\r\n" + b"x" * (multipart.MAX_HEAD + 1))
    with pytest.raises(SourceUnavailable, match="larger than"):
        MultipartSplitter("cut").feed(b"--cut\r\nContent-Length: 999999999\r\n\r\n")

    monkeypatch.setattr(multipart, "MAX_PART", 1000)
    with pytest.raises(SourceUnavailable, match="larger than"):
        MultipartSplitter("cut").feed(b"--cut\r\n\r\n" + b"x" * 2000)
