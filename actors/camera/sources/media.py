"""Reads films and streams through FFmpeg, as packets where a viewer can take them as they are, else as pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import av

from actors.camera.sources.annexb import AccessUnits
from actors.camera.sources.decode import PacketDecoder, picture_of
from actors.camera.sources.jpeg import complete_jpeg
from actors.camera.sources.source import BadPicture, Grabbed, Packet

# For a stream that does not say how fast it is.
USUAL_FPS = 25.0

# What every player of H.264 takes: 4:2:0 of 8 bits, of these profiles.
_FORMATS = frozenset(("yuv420p", "yuvj420p"))
_PROFILES = frozenset(("Baseline", "Constrained Baseline", "Main", "High", "Constrained High", "Progressive High"))

# 250 pictures, 10 s as a rule: a stream that has sent no key by then is decoded, since a decoder may recover without one.
MAX_WITHOUT_KEY = 250

# A picture that comes later than this many times the time from the one before it to its own predecessor: one between was lost.
MISSED = 1.6

# So many damaged pictures in a row are the end of a film that was cut short.
MAX_DAMAGED = 4

FAULTS = (av.FFmpegError, OSError, ValueError)


@dataclass(frozen=True, slots=True)
class Shot:
    """What was read: a frame that was decoded, or a packet. `position` is in seconds, where the stream says it."""

    position: float | None
    frame: Any = None
    data: bytes = b""
    size: tuple[int, int] = (0, 0)
    codec: str = ""
    key: bool = True

    def made(self, time: float) -> Grabbed | None:
        """Makes what a source gives, of a time in ms since the epoch; None of a packet that nobody can use yet."""
        if self.frame is not None:
            return picture_of(self.frame, time)
        if not self.data:
            return None
        return Packet(self.codec, self.data, time, *self.size, self.key)


class NoVideo(ValueError):
    """there is no video in it"""


class MediaReader:
    """One opening of a film or a stream. Raises NoVideo and FFmpeg's own errors, whose texts may hold a password."""

    def __init__(
        self,
        url: str,
        options: Mapping[str, str],
        timeout: tuple[float, float] | None = None,
        packets: bool = True,
        lossy: bool = False,
        format: str | None = None,
        io_open: Callable[[str, int, dict[str, str]], Any] | None = None,
    ) -> None:
        """`io_open` opens the URL and what it names in place of FFmpeg; `format` is FFmpeg's name for what it is.

        Of a `lossy` way each packet of H.264 is decoded, too: FFmpeg tells of a packet that is not whole in no other way."""
        self._container: Any = av.open(url, format=format, options=dict(options), timeout=timeout, io_open=io_open)
        try:
            self._stream = self._best()
            self.period = 1.0 / float(self._stream.average_rate or USUAL_FPS)
            self.packets = self._passed_through() if packets else None
        except BaseException:
            self._container.close()
            raise
        self._units = AccessUnits(bytes(self._stream.codec_context.extradata or b""))
        self._last: float | None = None
        self._keyless = 0
        self._begun = False
        self._damaged = 0
        self._checker = PacketDecoder("h264") if lossy and self.packets == "h264" else None
        self._gap: float | None = None
        self._shots = self._read()

    def next(self) -> Shot | None:
        """The next picture or packet; None at the end. Raises BadPicture for a damaged one, and the next may be good."""
        try:
            shot = next(self._shots, None)
        except av.error.EOFError:
            return None
        except (av.error.InvalidDataError, BadPicture) as fault:
            self._shots = self._read()  # a generator that raised is spent; a new one goes on behind the broken packet
            self._damaged += 1
            if self._damaged >= MAX_DAMAGED:
                return None
            if isinstance(fault, BadPicture):
                raise
            raise BadPicture("a picture is damaged") from None
        self._damaged = 0
        return shot

    def first_frame(self) -> Any:
        """Decodes the first picture, for what only a picture can tell; the reader is of no use afterwards."""
        return next(self._container.decode(self._stream), None)

    def close(self) -> None:
        """Closes it."""
        self._container.close()

    def _best(self) -> Any:
        """The first stream that is more than the cover of a piece of music, else the first."""
        streams = self._container.streams.video
        if not streams:
            raise NoVideo
        films = [each for each in streams if not each.disposition & av.stream.Disposition.attached_pic]
        return (films or streams)[0]

    def _passed_through(self) -> str | None:
        """The codec of which packets can be given."""
        context = self._stream.codec_context
        if context.name == "mjpeg":
            return "jpeg"
        shown = context.pix_fmt in _FORMATS and context.profile in _PROFILES
        # Pictures that depend on later ones would have to be put in order by every viewer.
        return "h264" if context.name == "h264" and shown and not context.has_b_frames else None

    def _read(self) -> Iterator[Shot]:
        if self.packets is not None:
            yield from self._packets()
        if self.packets is None:
            yield from self._frames()

    def _frames(self) -> Iterator[Shot]:
        for frame in self._container.decode(self._stream):
            yield Shot(None if frame.time is None else float(frame.time), frame)

    def _packets(self) -> Iterator[Shot]:
        for packet in self._container.demux(self._stream):
            if not packet.size:
                continue
            at = packet.pts if packet.pts is not None else packet.dts
            position = None if at is None else float(at * self._stream.time_base)
            shot = self._jpeg(packet, position) if self.packets == "jpeg" else self._unit(packet, position)
            if self.packets is None:  # from here on pictures
                return
            # What comes before the first key is of no use, but tells that the stream lives.
            yield shot or Shot(position)

    def _jpeg(self, packet: Any, position: float | None) -> Shot | None:
        """A JPEG that a viewer can decode; ends the packets where the first is none, or only a half picture."""
        try:
            data, width, height = complete_jpeg(bytes(packet))
        except BadPicture:
            if self._begun:
                raise
            self.packets = None
            return None
        if not self._begun and height != self._stream.codec_context.height:
            self.packets = None
            return None
        self._begun = True
        return Shot(position, None, data, (width, height), "jpeg")

    def _unit(self, packet: Any, position: float | None) -> Shot | None:
        """An access unit from the first key on; ends the packets where they cannot be passed through after all."""
        read = self._units.read(bytes(packet))
        if read is None:
            return None
        data, key = read
        if self._checker is not None and self._is_damaged(data, key, position):
            self._begun, self._keyless = False, 0
            self._last = position if position is not None else self._last
            return None
        self._begun = self._begun or key
        backwards = position is not None and self._last is not None and position < self._last
        self._last = position if position is not None else self._last
        self._keyless += 1
        if backwards or (not self._begun and self._keyless > MAX_WITHOUT_KEY):
            self.packets = None
            return None
        if not self._begun:
            return None
        context = self._stream.codec_context
        return Shot(position, None, data, (context.width, context.height), "h264", key)

    def _is_damaged(self, data: bytes, key: bool, position: float | None) -> bool:
        """Whether a packet lacks a part, or follows a picture that was lost and is no key."""
        assert self._checker is not None
        gap = position - self._last if position is not None and self._last is not None else None
        missed = gap is not None and self._gap is not None and gap > MISSED * self._gap
        self._gap = gap or self._gap
        if missed and not key:
            self._checker.reset()
            return True
        try:
            self._checker.decode(Packet("h264", data, 0.0, 0, 0, key))
        except BadPicture:
            return True
        return False
