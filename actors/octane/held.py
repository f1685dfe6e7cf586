"""Holds the newest picture of a track: what tells it from the one before, and the renditions that were made of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from actors.octane.formats import EncodedRendition, Ladder
from actors.octane.observations import RenderProgress
from actors.octane.pixels import decode
from protos import octane_types_pb2 as wire
from router.rendition import Rendition


@dataclass(frozen=True, slots=True)
class PictureStamp:
    """What tells one picture of a track from another."""

    change_level: int
    samples: float
    region_samples: float
    pending: bool
    size: tuple[int, int]

    def newer_than(self, shown: PictureStamp | None) -> bool:
        """Says whether this picture should take the place of the one shown.

        After a camera move pictures of the scene before it may still come: their change level is lower.
        """
        return shown is None or (self != shown and self.change_level >= shown.change_level)


def stamp_of(image: wire.ApiRenderImage) -> PictureStamp | None:
    """The stamp of a picture; None where the server leaves its numbers out, and then each one is new."""
    samples = image.tonemappedSamplesPerPixel or image.calculatedSamplesPerPixel
    if not samples and not image.regionSamplesPerPixel:
        return None
    return PictureStamp(
        change_level=image.changeLevel.value,
        samples=samples,
        region_samples=image.regionSamplesPerPixel,
        pending=image.hasPendingUpdates,
        size=(image.size.x, image.size.y),
    )


def progress_of(image: wire.ApiRenderImage) -> RenderProgress:
    """How far the render was when the picture was made."""
    samples = image.tonemappedSamplesPerPixel or image.calculatedSamplesPerPixel
    return RenderProgress(image.changeLevel.value, 0, samples, image.regionSamplesPerPixel)


class HeldPicture:
    """The newest picture of a track."""

    def __init__(self, track: str, image: wire.ApiRenderImage, number: int, *, simulated: bool, quality: int) -> None:
        self.track = track
        self.progress = progress_of(image)
        # Renditions that were sent, or that this picture cannot have.
        self.settled: set[Rendition] = set()
        # What was sent of each, to be sent again; the bytes are the ladder's own.
        self.sent: dict[Rendition, tuple[dict[str, Any], bytes]] = {}
        self.sent_at = float("-inf")
        # Whether it was told what became of the picture.
        self.told = False
        self._quality = quality
        self._image: wire.ApiRenderImage | None = image
        self._ladder: Ladder | None = None
        self._about = {
            "seq": number,
            "time": time.time() * 1000,
            "source": "simulated" if simulated else "octane",
            "simulated": simulated,
            "track": track,
            "samples": round(self.progress.samples),
            "max_samples": round(image.maxSamplesPerPixel),
            "render_time": round(image.renderTime, 3),
            "change_level": image.changeLevel.value,
        }

    @property
    def readable(self) -> bool:
        """Says whether it could be decoded; known once a rendition was tried."""
        return self._ladder is not None

    @property
    def short(self) -> bool:
        """Says whether rows are missing; known once a rendition was made."""
        return self._ladder is not None and self._ladder.picture.short

    def make(self, rendition: Rendition) -> EncodedRendition:
        """Makes a rendition, or gives it again. Raises Unreadable. Takes milliseconds to a second: for a thread."""
        if self._ladder is None:
            assert self._image is not None
            self._ladder = Ladder(decode(self._image), self._quality)
            # The decoded picture has bytes of its own.
            self._image = None
        return self._ladder.make(rendition)

    def header(self, rendition: Rendition, made: EncodedRendition) -> Mapping[str, Any]:
        """What a frame says of the picture and of its rendition; `full_width` and `full_height` are the render's."""
        assert self._ladder is not None
        picture = self._ladder.picture
        return self._about | {
            "width": made.width,
            "height": made.height,
            "full_width": picture.width,
            "full_height": picture.height,
            "format": rendition.format,
            "short": picture.short,
        }
