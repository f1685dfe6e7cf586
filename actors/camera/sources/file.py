"""Plays a video file as a camera: at the file's own pace, and again from the start when it ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import numpy as np

from actors.camera.sources.source import BadPicture, Picture, Pixels, SourceUnavailable

# For a stream that does not say how fast it is.
USUAL_FPS = 25.0

# 1 s: what one grab may spend on decoding pictures that nobody will see, far below any silence timeout.
MAX_CATCH_UP = 1.0


class VideoFileSource:
    """Plays a file through FFmpeg at the file's own speed, whatever the rate at which pictures are asked for.

    Asked more slowly it leaves pictures out, asked faster it repeats them; at the end it begins again.
    """

    kind = "file"
    simulated = False

    def __init__(self, path: str | Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = Path(path)
        self._clock = clock
        self._container: Any = None
        self._frames: Iterator[Any] = iter(())
        self._current: Any = None
        self._ahead: Any = None  # decoded, and not due before _ahead_at
        self._ahead_at = 0.0
        self._converted: tuple[Any, Pixels] | None = None
        self._begin: float | None = None  # when the clock showed the file's first picture
        self._first: float | None = None  # that picture's time in the file
        self._index = 0

    def open(self) -> None:
        """Opens the file and finds its pictures; raises SourceUnavailable with one line that says what is wrong."""
        name = self._path.name
        if not self._path.exists():
            raise SourceUnavailable(f"there is no video file {name}")
        if not self._path.is_file():
            raise SourceUnavailable(f"{name} is not a file")
        try:
            self._container = av.open(str(self._path))
        except PermissionError as fault:
            raise SourceUnavailable(f"{name} may not be read by this user") from fault
        except (av.FFmpegError, OSError, ValueError) as fault:
            raise SourceUnavailable(f"{name} is not a video that FFmpeg can read") from fault
        if not self._container.streams.video:
            raise SourceUnavailable(f"{name} holds no video stream")
        self._stream = self._container.streams.video[0]
        self._period = 1.0 / float(self._stream.average_rate or USUAL_FPS)
        self._frames = self._container.decode(self._stream)
        self._first, self._index = None, 0

    def grab(self, seq: int) -> Picture:
        """Gives the picture that is due by the file's own time."""
        with self._readable():
            frame = self._due()
            if self._converted is None or self._converted[0] is not frame:
                self._converted = frame, np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8)
            return Picture(self._converted[1], time.time() * 1000.0)

    def close(self) -> None:
        """Closes the file."""
        if self._container is not None:
            self._container.close()
        self._container = None
        self._frames = iter(())

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except (av.FFmpegError, OSError, ValueError) as fault:
            # A generator that raised is spent; a new one goes on behind the broken packet.
            self._frames = self._container.decode(self._stream)
            raise BadPicture(f"a picture of {self._path.name} is damaged") from fault

    def _due(self) -> Any:
        """Decodes up to the newest picture whose time has come."""
        started = self._clock()
        while self._ahead is None or self._ahead_at <= self._clock():
            before = float("inf")
            if self._ahead is not None:
                before = self._clock() - self._ahead_at
                self._current = self._ahead
            self._ahead = None  # if decoding fails, what is shown stays shown
            self._ahead_at, self._ahead = self._next()
            behind = self._clock() - self._ahead_at
            # A decoder slower than the film would race after the clock for ever: it plays on instead, more slowly.
            if behind > 0 and (behind >= before or self._clock() - started > MAX_CATCH_UP):
                self._begin = (self._begin or 0.0) + behind
                self._ahead_at += behind
                self._current = self._current or self._ahead
                break
        return self._current

    def _next(self) -> tuple[float, Any]:
        """The next picture, with the time on the clock at which it is due; starts over at the end."""
        frame = next(self._frames, None)
        if frame is None:
            frame = self._start_over()
        position = float(frame.time) if frame.time is not None else self._index * self._period
        if self._begin is None:
            self._begin = self._clock()
        elif self._first is None:
            # The last picture is shown for as long as any other before the first one comes again.
            self._begin = self._ahead_at + self._period
        if self._first is None:
            self._first = position
        self._index += 1
        return self._begin + position - self._first, frame

    def _start_over(self) -> Any:
        if self._index == 0:
            raise SourceUnavailable(f"{self._path.name} holds no picture that can be decoded")
        # Opened anew and not sought: some formats cannot seek, and every one can be opened.
        self.close()
        self.open()
        frame = next(self._frames, None)
        if frame is None:
            raise SourceUnavailable(f"{self._path.name} holds no picture that can be decoded")
        return frame
