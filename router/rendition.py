"""Names the forms in which one picture can be had: file format, width and background.

The names travel in NATS subjects and in the leases of viewers, so both sides of NATS know them. There are few, because
each one that somebody watches is encoded for every picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from router.errors import RouterError
from router.frame import frame_subject

# File format → its media type. `rgba` is no file: four bytes a pixel, row by row without padding.
MEDIA_TYPES: Final = {
    "jpeg": "image/jpeg",
    "png": "image/png",
    "png16": "image/png",
    "webp": "image/webp",
    "exr": "image/x-exr",
    "rgba": "application/octet-stream",
}
# Formats quick enough for a stream; the others take a good part of a second for each picture.
STREAMED: Final = ("jpeg", "png", "webp", "rgba")
# Powers of two, so that viewers of different windows share an encoding; wider than the last is the picture as it is.
WIDTHS: Final = (64, 128, 256, 512, 1024, 2048, 4096)
BACKGROUNDS: Final = ("black", "white", "checker")
# The formats that keep what is behind the picture open; a JPEG has no alpha.
_TRANSPARENT: Final = ("png", "png16", "webp", "exr", "rgba")


class BadRendition(RouterError, ValueError):
    """there is no such form of a picture"""


@dataclass(frozen=True, slots=True)
class Rendition:
    """One form of a picture. Without a width it is as wide as the picture; without a background it keeps its alpha."""

    format: str = "jpeg"
    width: int | None = None
    background: str | None = "black"

    def __post_init__(self) -> None:
        if self.format not in MEDIA_TYPES:
            raise BadRendition(f"format must be one of {', '.join(MEDIA_TYPES)}")
        if self.width is not None and self.width not in WIDTHS:
            raise BadRendition(f"width must be one of {', '.join(map(str, WIDTHS))}")
        if self.background is None and self.format not in _TRANSPARENT:
            raise BadRendition(f"{self.format} needs a background")
        if self.background is not None and self.background not in BACKGROUNDS:
            raise BadRendition(f"background must be one of {', '.join(BACKGROUNDS)}")
        if self.format == "exr" and self.background is not None:
            raise BadRendition("exr keeps the alpha of the picture, so it has no background")

    @classmethod
    def asked(cls, format: str = "jpeg", width: int | None = None, background: str | None = None) -> Rendition:
        """What a viewer asks for; a width becomes the next one that there is. Raises BadRendition."""
        if background is None and format not in _TRANSPARENT:
            background = "black"
        rung = None if width is None else next((each for each in WIDTHS if each >= width), None)
        return cls(format, rung, background)

    @property
    def token(self) -> str:
        """The rendition as one token of a subject, as in `webp-512-white`."""
        parts = (self.format, self.width and str(self.width), self.background)
        return "-".join(part for part in parts if part)

    @classmethod
    def of_token(cls, token: str) -> Rendition:
        """Reads a token. Raises BadRendition."""
        format, *rest = token.split("-")
        width = int(rest.pop(0)) if rest and rest[0].isascii() and rest[0].isdigit() and len(rest[0]) < 6 else None
        if len(rest) > 1:
            raise BadRendition
        rendition = cls(format, width, rest[0] if rest else None)
        if rendition.token != token:
            raise BadRendition
        return rendition

    @property
    def media_type(self) -> str:
        """The media type of its file format."""
        return MEDIA_TYPES[self.format]


DEFAULT: Final = Rendition()


def rendition_subject(domain: str, entity: str, track: str | None, rendition: Rendition) -> str:
    """The NATS subject of one rendition of a track; that of the default one has no token of its own."""
    subject = frame_subject(domain, entity, track)
    return subject if rendition == DEFAULT else f"{subject}.{rendition.token}"
