from __future__ import annotations

import av
import pytest

from actors.camera.renditions.errors import readable
from actors.camera.sources.source import BadPicture


def test_an_error_of_ffmpeg_is_a_bad_picture() -> None:
    with pytest.raises(BadPicture), readable():
        av.CodecContext.create("h264", "r").decode(av.Packet(b"\x00\x00\x01\x65\xff"))


def test_a_mistake_in_the_program_is_none() -> None:
    with pytest.raises(TypeError), readable():
        raise TypeError
