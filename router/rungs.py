"""Names the rungs of a camera's ladder: the codec and height in which its pictures can be had.

A rung is made while somebody holds a lease for it, once for all viewers. Its name is a token of the lease's key
(`view.camera.<id>.<holder>.<rung>`) and of the subject of its pictures, so both sides of NATS know it. `jpeg` is the rung
of those who name none: its subject and its lease have no token.

A picture that the source gives encoded already is the rung of its codec at full height, unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from router.errors import RouterError
from router.frame import frame_subject

# `png` is for stills: it takes a good part of a second at full size.
CODECS: Final = ("jpeg", "h264", "png")
STREAMED: Final = ("jpeg", "h264")
# Heights below that of the source; a source that is no higher gives its full size instead.
HEIGHTS: Final = (240, 480, 720)
# Codecs of which each picture can be decoded by itself.
INDEPENDENT: Final = frozenset({"jpeg", "png"})


class BadRung(RouterError, ValueError):
    """there is no such rung"""


@dataclass(frozen=True, slots=True)
class Rung:
    """One rung: a codec, and the height in pixels, None for that of the source."""

    codec: str = "jpeg"
    height: int | None = None

    def __post_init__(self) -> None:
        if self.codec not in CODECS:
            raise BadRung(f"format must be one of {', '.join(CODECS)}")
        if self.height is not None and (self.height not in HEIGHTS or self.codec == "png"):
            raise BadRung(f"{self.codec} has no rung of height {self.height}")

    @property
    def token(self) -> str:
        """The rung's name, as in `h264-480`."""
        return self.codec if self.height is None else f"{self.codec}-{self.height}"

    @property
    def independent(self) -> bool:
        """Whether each of its pictures can be decoded by itself, so that any may be left out."""
        return self.codec in INDEPENDENT

    @property
    def what(self) -> tuple[str, ...]:
        """What a viewer's lease names beside the camera."""
        return () if self == JPEG else (self.token,)

    @classmethod
    def of_token(cls, token: str) -> Rung:
        """Reads a name. Raises BadRung."""
        return _rung_named(token)

    @classmethod
    def of_what(cls, what: tuple[str, ...]) -> Rung:
        """Reads what a viewer's lease names. Raises BadRung."""
        return JPEG if not what else cls.of_token(what[0])


# An actor reads the names of the rungs that are watched with each picture.
@lru_cache(maxsize=64)
def _rung_named(token: str) -> Rung:
    codec, _, height = token.partition("-")
    rung = Rung(codec, int(height) if height.isascii() and height.isdigit() and len(height) < 6 else None)
    if rung.token != token:
        raise BadRung(f"there is no rung {token[:40]!r}")
    return rung


JPEG: Final = Rung()


def rungs_of(codec: str) -> list[Rung]:
    """All rungs of a codec that is streamed, the highest first."""
    return [Rung(codec, height) for height in (None, *reversed(HEIGHTS))]


def rung_subject(entity: str, rung: Rung) -> str:
    """The NATS subject of the pictures of one rung of a camera."""
    return frame_subject("camera", entity, None if rung == JPEG else rung.token)
