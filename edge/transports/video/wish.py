"""What a viewer asks for: format, height and pictures a second; and the rung of the ladder that is nearest."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

from router.errors import BadInput
from router.rungs import HEIGHTS, Rung

# `auto` is what every client can show. `mp4` is H.264 in fragments for Media Source Extensions.
FORMATS: Final = ("auto", "jpeg", "h264", "mp4")
MOST_HEIGHT, LEAST_FPS, MOST_FPS = 16384, 0.1, 240.0
# Wished heights from here on are nearer to the full size of a usual source (1080) than to the highest rung.
FULL_FROM = 900


class BadWish(BadInput):
    """a viewer asks for what cannot be"""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a viewer asks for; None is the full height, and every picture."""

    format: str = "auto"
    height: int | None = None
    fps: float | None = None

    @property
    def rung(self) -> Rung:
        """The nearest rung."""
        codec = "h264" if self.format in ("h264", "mp4") else "jpeg"
        if self.height is None or self.height >= FULL_FROM:
            return Rung(codec)
        return Rung(codec, min(HEIGHTS, key=lambda each: (abs(each - self.height), -each)))  # type: ignore[operator]

    def changed(self, said: dict[str, Any]) -> Wish:
        """The wish after a message `prefer`: what it does not name stays, and null takes a limit away. Raises BadWish."""
        known = {name: said[name] for name in ("format", "height", "fps") if name in said}
        if known.get("format", "auto") not in FORMATS:
            raise BadWish(f"format must be one of {', '.join(FORMATS)}")
        height, fps = known.get("height"), known.get("fps")
        if height is not None and (type(height) is not int or not 1 <= height <= MOST_HEIGHT):
            raise BadWish(f"height must be a whole number from 1 to {MOST_HEIGHT}, or null")
        if fps is not None and (type(fps) not in (int, float) or not LEAST_FPS <= fps <= MOST_FPS):
            raise BadWish(f"fps must be a number from {LEAST_FPS:g} to {MOST_FPS:g}, or null")
        return replace(self, **known)


class PictureRate:
    """Leaves out pictures of a viewer that asks for fewer than there are."""

    def __init__(self, fps: float | None = None) -> None:
        self.fps = fps
        self._due = 0.0

    def takes(self, now: float) -> bool:
        """Whether a picture that has come at `now` is sent."""
        if self.fps is None:
            return True
        # A picture that comes 5 ms early is on time: captures are not that regular.
        if now < self._due - 0.005:
            return False
        self._due = max(self._due, now - 0.5 / self.fps) + 1 / self.fps if self._due else now + 1 / self.fps
        return True
