from __future__ import annotations

import pytest

from actors.camera.settings import CameraSettings
from actors.camera.sources.address import SourceAddress
from actors.camera.sources.open import open_source
from actors.camera.sources.source import SourceUnavailable


def test_an_address_names_its_source() -> None:
    settings = CameraSettings()

    assert open_source(SourceAddress.parse("simulated"), settings).simulated
    assert not open_source(SourceAddress.parse("film.mp4"), settings).simulated


def test_the_size_of_the_card_is_that_of_the_address_or_of_the_settings() -> None:
    settings = CameraSettings(width=400, height=300)

    for text, size in (("sim:card", (400, 300)), ("sim:card?size=320x240", (320, 240))):
        source = open_source(SourceAddress.parse(text), settings)
        source.open()
        picture = source.grab(0)
        assert (picture.width, picture.height) == size


def test_a_kind_that_cannot_be_opened_here_is_told() -> None:
    with pytest.raises(SourceUnavailable, match="of the kind morse cannot be opened here"):
        open_source(SourceAddress("morse", "lamp"), CameraSettings())
