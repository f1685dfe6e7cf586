"""The V4L2 source where there is no device; what it does with one is tested in the virtual machine."""

from __future__ import annotations

import pytest

from actors.camera.sources.address import SourceAddress
from actors.camera.sources.source import SourceUnavailable
from actors.camera.sources.v4l2.source import V4l2Source


@pytest.mark.parametrize("path", ["/dev/video-of-nobody", "/dev/null"])
def test_a_source_without_a_device_says_so_and_can_be_closed(path: str) -> None:
    source = V4l2Source(SourceAddress.parse(f"v4l2:{path}?size=640x480&format=mjpeg&fps=30"))

    with pytest.raises(SourceUnavailable):
        source.open()

    source.close()
    source.close()
