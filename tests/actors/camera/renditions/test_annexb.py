from __future__ import annotations

import pytest

from actors.camera.renditions.annexb import codec_of


@pytest.mark.parametrize(
    ("unit", "codec"),
    [
        (b"\x00\x00\x00\x01\x67\x42\xc0\x1e\x00", "avc1.42c01e"),
        (b"\x00\x00\x01\x09\xf0\x00\x00\x01\x27\x64\x00\x28\x00", "avc1.640028"),
        (b"\x00\x00\x01\x41\x9a\x00\x00\x00", ""),
        (b"\x00\x00\x01\x67", ""),
        (b"", ""),
    ],
)
def test_the_codec_is_named_by_the_sps(unit: bytes, codec: str) -> None:
    assert codec_of(unit) == codec
