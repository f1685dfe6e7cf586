"""Plays a video file as a camera: each picture once, at the film's own times, over and over or to its end."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import av

from actors.camera.sources.media import FAULTS, MediaReader, NoVideo, Shot
from actors.camera.sources.source import BadPicture, Grabbed, SourceOver, SourceUnavailable

# 1 s: the longest that one grab waits or decodes pictures that nobody will see, below any silence timeout.
MAX_WAIT = 1.0

# A film is played in order while its pictures are waited for; who has not waited for a second asks too slowly for all.
IN_ORDER = 1.0

# Timestamps that go backwards, or on by more than a minute, are damaged: that picture follows after the usual time.
MAX_GAP = 60.0

# The wall clock may be set while a film plays; below this the film's own distances are kept.
WALL_STEP = 0.1


class VideoFileSource:
    """Plays a file through FFmpeg at its own speed, or, with `fast`, one picture for each grab.

    Asked as fast as the film or faster it gives every picture, asked more slowly it leaves some out, of H.264 packets none.
    FFmpeg gets the open file and nothing else: a playlist reads no other file and no address.
    """

    kind = "file"
    simulated = False

    def __init__(
        self,
        path: str | Path,
        *,
        loop: bool = True,
        fast: bool = False,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], None] = time.sleep,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._path = Path(path)
        self._loop, self._fast = loop, fast
        self._clock, self._wait, self._now = clock, wait, wall
        self._descriptor: int | None = None
        self._reader: MediaReader | None = None
        self._turned = False
        self._ahead: tuple[float, Shot] | None = None  # read, and when it is due
        self._begin: float | None = None  # when the clock showed the film's first picture
        self._first: float | None = None  # that picture's time in the film
        self._position = 0.0
        self._last_due = 0.0
        self._read = 0
        self._waited = 0.0
        self._offset = 0.0  # of the wall clock

    @property
    def paced(self) -> bool:
        """Whether `grab` waits for the next picture by itself."""
        return not self._fast

    @property
    def packets(self) -> str | None:
        """The codec of the packets that are given, if so."""
        return self._reader.packets if self._reader else None

    def open(self) -> None:
        """Opens the file and finds its pictures; raises SourceUnavailable with one line that says what is wrong."""
        name = self._path.name
        if not self._path.exists():
            raise SourceUnavailable(f"there is no video file {name}")
        if not self._path.is_file():
            raise SourceUnavailable(f"{name} is not a file")
        try:
            self._turned = self._is_turned()
            self._begin_reading()
        except PermissionError:
            raise SourceUnavailable(f"{name} may not be read by this user") from None
        except NoVideo:
            raise SourceUnavailable(f"{name} holds no video stream") from None
        except FAULTS:
            raise SourceUnavailable(f"{name} is not a video that FFmpeg can read") from None
        self._waited = self._clock()
        self._offset = self._now() - self._clock()

    def grab(self, seq: int) -> Grabbed | None:
        """Gives the next picture when it is due by the film's own time; None where that is later than in a second."""
        try:
            with self._readable():
                shot = self._next_fast() if self._fast else self._next_due()
                return shot and shot[1].made(self._wall_of(shot[0]))
        except BadPicture as fault:
            raise BadPicture(f"{fault} in {self._path.name}") from None

    def close(self) -> None:
        """Closes the file."""
        if self._reader is not None:
            self._reader.close()
        self._reader = None
        if self._descriptor is not None:
            with suppress(OSError):
                os.close(self._descriptor)
        self._descriptor = None

    def _is_turned(self) -> bool:
        """Whether the film is to be shown turned, which a viewer of its packets would not know."""
        try:
            reader = self._opened()
            return reader.packets is not None and bool(getattr(reader.first_frame(), "rotation", 0))
        except (av.FFmpegError, ValueError):
            return False
        finally:
            self.close()

    def _opened(self) -> MediaReader:
        self.close()
        self._descriptor = os.open(self._path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        options = {"fd": str(self._descriptor), "protocol_whitelist": "fd"}
        self._reader = MediaReader("fd:", options, packets=not self._turned)
        return self._reader

    def _begin_reading(self) -> None:
        self._opened()
        self._first, self._read = None, 0

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except (SourceUnavailable, BadPicture):
            raise
        except FAULTS:
            raise BadPicture("a picture is damaged") from None

    def _next_fast(self) -> tuple[float, Shot] | None:
        following = self._following()
        if following is None:
            if self._loop:
                return None
            raise SourceOver(f"{self._path.name} has ended")
        return self._clock(), following[1]

    def _next_due(self) -> tuple[float, Shot] | None:
        """Waits until the next picture is due. Raises SourceOver at the end."""
        if self._ahead is None:
            self._ahead = self._following()
        still = self._ahead is None and self._loop
        due = self._ahead[0] if self._ahead else self._last_due + (math.inf if still else self._period)
        if (left := due - self._clock()) > 0:
            self._wait(min(left, MAX_WAIT))
            self._waited = self._clock()
            if left > MAX_WAIT:
                return None
        if self._ahead is None:
            raise SourceOver(f"{self._path.name} has ended")
        taken, self._ahead = self._ahead, None
        in_order = self.packets == "h264" or self._clock() - self._waited <= IN_ORDER
        return self._kept_up(taken) if in_order else self._newest(taken)

    def _kept_up(self, taken: tuple[float, Shot]) -> tuple[float, Shot]:
        """Leaves no picture out; a film that cannot be read fast enough is played more slowly."""
        behind = self._clock() - taken[0]
        if behind > IN_ORDER:
            self._shift(behind)
        return taken

    def _newest(self, taken: tuple[float, Shot]) -> tuple[float, Shot]:
        """Goes on to the newest picture whose time has come."""
        started = self._clock()
        behind = started - taken[0]
        while (following := self._following()) is not None and following[0] <= self._clock():
            before, behind = behind, self._clock() - following[0]
            # A decoder slower than the film would race after the clock for ever: the film is played more slowly instead.
            if behind >= before or self._clock() - started > MAX_WAIT:
                self._shift(behind)
                self._ahead = following[0] + behind, following[1]
                return taken
            taken = following
        self._ahead = following
        return taken

    def _shift(self, behind: float) -> None:
        self._begin = (self._begin or 0.0) + behind
        self._last_due += behind

    def _following(self) -> tuple[float, Shot] | None:
        """The next picture of the film, with the time on the clock at which it is due; None at the end."""
        shot = self._useful()
        if shot is None:
            if not self._read:
                raise SourceUnavailable(f"{self._path.name} holds no picture that can be decoded")
            # A film of one picture is a still, and is not read again and again.
            if not self._loop or self._read == 1:
                return None
            shot = self._start_over()
        position = shot.position
        if self._first is not None and (position is None or not 0 <= position - self._position <= MAX_GAP):
            position = self._position + self._period
        position = 0.0 if position is None else position
        if self._begin is None:
            self._begin = self._clock()
        elif self._first is None:
            # The last picture is shown for as long as any other before the first one comes again.
            self._begin = self._last_due + self._period
        if self._first is None:
            self._first = position
        self._read += 1
        self._position = position
        self._last_due = self._begin + position - self._first
        return self._last_due, shot

    def _start_over(self) -> Shot:
        # Opened anew and not sought: some formats cannot seek, and every one can be opened.
        self._begin_reading()
        shot = self._useful()
        if shot is None:
            raise SourceUnavailable(f"{self._path.name} holds no picture that can be decoded")
        return shot

    def _useful(self) -> Shot | None:
        """What comes next and can be shown."""
        while (shot := self._reader.next() if self._reader else None) is not None:
            if shot.frame is not None or shot.data:
                return shot
        return None

    @property
    def _period(self) -> float:
        return self._reader.period if self._reader else 0.0

    def _wall_of(self, moment: float) -> float:
        """The time in ms since the epoch at a moment of the clock."""
        wall = self._now() - self._clock()
        if abs(wall - self._offset) > WALL_STEP:
            self._offset = wall
        return (moment + self._offset) * 1000.0
