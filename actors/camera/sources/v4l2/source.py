"""Gives the pictures of a V4L2 device as it takes them: encoded ones as they are, others as pixels."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable

from actors.camera.sources.address import SourceAddress
from actors.camera.sources.annexb import AccessUnits
from actors.camera.sources.control import Control, ControlValue
from actors.camera.sources.jpeg import complete_jpeg
from actors.camera.sources.source import Grabbed, Packet, SourceUnavailable
from actors.camera.sources.v4l2.controls import V4l2Controls
from actors.camera.sources.v4l2.device import V4l2Device
from actors.camera.sources.v4l2.framing import Framing
from actors.camera.sources.v4l2.pictures import BufferLayout, chosen, codec_of
from actors.camera.sources.v4l2.stream import BUFFERS, H264_BUFFERS, RawPicture, V4l2Stream

# 0.5 s: how long one grab waits, so that commands get their turn.
WAIT = 0.5
# 2 s: how long a device may give nothing before it counts as hung; one that is slow by its rate gets two pictures' time.
SILENCE = 2.0


class V4l2Source:
    """One device of the kernel, at its own rate."""

    kind = "v4l2"
    simulated = False
    paced = True

    def __init__(self, address: SourceAddress, clock: Callable[[], float] = time.monotonic) -> None:
        self._options = address.options
        self._size, self._fps = address.size, address.fps
        self._device = V4l2Device(address.where)
        self._stream = V4l2Stream(self._device)
        self._clock = clock
        self.packets: str | None = None
        self._layout: BufferLayout | None = None

    def open(self) -> None:
        """Opens the device, sets what the address asks for, and starts it; raises SourceUnavailable."""
        self._device.open()
        if "input" in self._options:
            self._device.set_input(int(self._options["input"]))
        self._code = chosen(self._options.get("format"), self._device.formats(), self._device.name)
        self._framing = Framing(self._device, self._code)
        self._controls = V4l2Controls(self._device)
        size = self._size or self._framing.size()
        self._begin(*size)
        if self._size and self._size != (self._width, self._height):
            raise SourceUnavailable(
                f"{self._device.name} has no size {size[0]}x{size[1]} in {self._code}; it has {self._framing.sizes_text()}"
            )

    def _begin(self, width: int, height: int) -> None:
        """Sets size and rate, and starts the stream."""
        pix = self._device.set_format(self._code, width, height)
        self._width, self._height = int(pix.width), int(pix.height)
        self.packets = codec_of(self._code)
        self._layout = None if self.packets else BufferLayout.of(pix, self._code)
        self._units = AccessUnits(b"")
        rate = self._device.set_rate(self._fps) if self._fps else self._device.rate()
        self._silence = max(SILENCE, 2.0 / rate + WAIT if rate else 0.0)
        self._decodable = False
        self._stream.start(H264_BUFFERS if self.packets == "h264" else BUFFERS)
        self._heard = self._clock()

    @property
    def lost(self) -> int:
        """Pictures that the device took, and that came too late here to be read."""
        return self._stream.lost

    def grab(self, seq: int) -> Grabbed | None:
        """Waits for the next picture, or the newest where several wait; None where there is none yet."""
        lost = self._stream.lost
        raw = self._stream.next(WAIT) if self.packets == "h264" else self._newest()
        if raw is None:
            if self._clock() - self._heard > self._silence:
                raise SourceUnavailable(f"{self._device.name} gave no picture for {self._silence:.3g} s")
            return None
        self._heard = self._clock()
        if self.packets == "h264":
            return self._packet(raw, self._stream.lost > lost)
        return self._read(raw)

    def _newest(self) -> RawPicture | None:
        raw, taken = self._stream.next(WAIT), 1
        while raw is not None and raw.more:
            raw, taken = self._stream.next(0.0) or raw, taken + 1
        # Where all buffers were full the driver had none to write into, and its newest picture may be old.
        return self._stream.next(WAIT) if taken >= self._stream.buffers else raw

    def _read(self, raw: RawPicture) -> Grabbed:
        if self._layout is not None:
            return self._layout.picture(raw.data, raw.time)
        data, width, height = complete_jpeg(raw.data)
        return Packet("jpeg", data, raw.time, width, height)

    def _packet(self, raw: RawPicture, lost: bool) -> Packet | None:
        """A packet of H.264; None for those between a lost one and the next key, which would show damaged pictures."""
        unit = self._units.read(raw.data)
        if unit is None:
            return None
        data, key = unit
        self._decodable = key or (self._decodable and not lost)
        return Packet("h264", data, raw.time, self._width, self._height, key) if self._decodable else None

    def close(self) -> None:
        """Stops and closes the device."""
        if self._device.fd >= 0:
            self._stream.stop()
        self._device.close()

    def controls(self) -> list[Control]:
        """The device's controls, its region where it can crop, and its size where it has several."""
        return [*self._controls.listed(), *self._framing.listed((self._width, self._height))]

    def set_control(self, name: str, value: ControlValue) -> ControlValue:
        """Sets a control and gives the effective value; raises ValueError."""
        if name in self._controls:
            return self._controls.set(name, value)
        known = {each.name: each for each in self._framing.listed((self._width, self._height))}
        if name not in known:
            raise ValueError(f"the camera has no control {str(name)[:60]}")
        checked = known[name].checked(value)
        assert isinstance(checked, dict)
        try:
            return self._resize(checked["width"], checked["height"]) if name == "size" else self._crop(checked)
        except SourceUnavailable as fault:
            # The next grab finds that nothing streams, and raises it again.
            raise ValueError(str(fault)) from fault

    def _resize(self, width: int, height: int) -> dict[str, int]:
        self._stream.stop()
        self._begin(width, height)
        return {"width": self._width, "height": self._height}

    def _crop(self, region: dict[str, int]) -> dict[str, int]:
        try:
            effective = self._framing.crop(region)
        except OSError as fault:
            if fault.errno not in (errno.EBUSY, errno.EINVAL):
                raise self._device.unavailable(fault) from fault
            # Where the size of the picture follows the region, the driver takes it between two streams only.
            self._stream.stop()
            try:
                effective = self._framing.crop(region)
            except OSError as again:
                raise ValueError("the camera does not take this region") from again
            finally:
                pix = self._device.format()
                self._begin(int(pix.width), int(pix.height))
        return effective
