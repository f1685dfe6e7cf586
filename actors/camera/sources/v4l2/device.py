"""Opens a V4L2 device, and reads and sets its formats, sizes and rates."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from actors.camera.sources.source import SourceUnavailable
from actors.camera.sources.v4l2 import videodev as v4l2

S = TypeVar("S", bound=ctypes.Structure)

# A driver that never ends an enumeration must not hang us; no device known has so many of anything.
MAX_ENUMERATED = 256

_REASONS = {
    errno.EACCES: "may not be opened by this user (on most systems the group video may)",
    errno.EPERM: "may not be opened by this user (on most systems the group video may)",
    errno.EBUSY: "is in use by another program",
    errno.ENODEV: "was unplugged",
    errno.ENXIO: "was unplugged",
    errno.ESHUTDOWN: "was unplugged",
    errno.EIO: "reported an input/output error",
    errno.ENOTTY: "is not a V4L2 device",
    errno.ENOMEM: "has no memory for its buffers",
    errno.ENOSPC: "gets too little bandwidth of its USB bus for this size and rate",
}


@dataclass(frozen=True, slots=True)
class SizeRange:
    """What sizes a device gives in one format, in pixels; a fixed size has its least and its most the same."""

    least: tuple[int, int]
    most: tuple[int, int]
    step: tuple[int, int] = (1, 1)

    def __str__(self) -> str:
        least = f"{self.least[0]}x{self.least[1]}"
        return least if self.least == self.most else f"{least} to {self.most[0]}x{self.most[1]}"


class V4l2Device:
    """One open capture device. Texts of its errors name the device and no folder."""

    def __init__(self, path: str) -> None:
        self.name = Path(path).name
        self.fd = -1
        self._path = path

    def open(self) -> None:
        """Opens the device; raises SourceUnavailable with one line that says why not."""
        try:
            # Where there is a file of another kind, opening it could block or do something.
            if not stat.S_ISCHR(os.stat(self._path).st_mode):
                raise SourceUnavailable(f"{self.name} is not a device")
            self.fd = os.open(self._path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError) as fault:
            raise SourceUnavailable(f"there is no device {self.name}") from fault
        except OSError as fault:
            raise self.unavailable(fault) from fault
        with self.explained():
            capability = self.call(v4l2.QUERYCAP, v4l2.Capability())
        self._check(capability)

    def _check(self, capability: v4l2.Capability) -> None:
        has = capability.capabilities
        if has & v4l2.DeviceCap.DEVICE_CAPS:
            has = capability.device_caps
        if not has & v4l2.DeviceCap.VIDEO_CAPTURE:
            if has & v4l2.DeviceCap.VIDEO_CAPTURE_MPLANE:
                raise SourceUnavailable(f"{self.name} has only the multi-planar interface, which is not supported")
            raise SourceUnavailable(f"{self.name} does not capture video")
        if not has & v4l2.DeviceCap.STREAMING:
            raise SourceUnavailable(f"{self.name} cannot stream into mapped memory")

    def close(self) -> None:
        """Closes the device."""
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1

    def call(self, request: int, argument: S) -> S:
        """Makes one request; the argument is filled in and returned. Raises OSError."""
        while True:
            try:
                fcntl.ioctl(self.fd, request, argument, True)
            except InterruptedError:
                continue
            return argument

    def unavailable(self, fault: OSError) -> SourceUnavailable:
        """What to raise for an error of the device."""
        number = fault.errno or 0
        return SourceUnavailable(f"{self.name} {_REASONS.get(number, 'failed: ' + os.strerror(number))}")

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Raises SourceUnavailable for the OSErrors of its body."""
        try:
            yield
        except OSError as fault:
            raise self.unavailable(fault) from fault

    def formats(self) -> list[str]:
        """The pixel formats that the device gives, as their four letters, in its own order."""

        def nth(index: int) -> v4l2.FormatDescription:
            return self.call(v4l2.ENUM_FMT, v4l2.FormatDescription(index=index, type=v4l2.VIDEO_CAPTURE))

        return [v4l2.letters(each.pixelformat) for each in self._all(nth)]

    def sizes(self, code: str) -> list[SizeRange]:
        """The sizes of one format; empty where the driver does not say."""

        def nth(index: int) -> v4l2.FrameSize:
            return self.call(v4l2.ENUM_FRAMESIZES, v4l2.FrameSize(index=index, pixel_format=v4l2.fourcc(code)))

        sizes = []
        for each in self._all(nth):
            if each.type == v4l2.DISCRETE:
                size = each.size.discrete.width, each.size.discrete.height
                sizes.append(SizeRange(size, size))
            else:
                step = each.size.stepwise
                least, most = (step.min_width, step.min_height), (step.max_width, step.max_height)
                return [SizeRange(least, most, (max(1, step.step_width), max(1, step.step_height)))]
        return sizes

    def rates(self, code: str, width: int, height: int) -> list[float]:
        """The pictures a second that one format and size has; the least and the most of a range."""

        def nth(index: int) -> v4l2.FrameInterval:
            interval = v4l2.FrameInterval(index=index, pixel_format=v4l2.fourcc(code), width=width, height=height)
            return self.call(v4l2.ENUM_FRAMEINTERVALS, interval)

        rates = set()
        for each in self._all(nth):
            if each.type == v4l2.DISCRETE:
                rates.add(_rate(each.interval.discrete))
            else:
                rates |= {_rate(each.interval.stepwise.min), _rate(each.interval.stepwise.max)}
                break
        return sorted(rates - {0.0})

    def _all(self, nth: Callable[[int], Any]) -> Iterator[Any]:
        for index in range(MAX_ENUMERATED):
            try:
                yield nth(index)
            except OSError as fault:
                # EINVAL ends an enumeration, ENOTTY says that the driver has none, ENODATA that this input has none.
                if fault.errno in (errno.EINVAL, errno.ENOTTY, errno.ENODATA):
                    return
                raise self.unavailable(fault) from fault

    def set_input(self, number: int) -> None:
        """Chooses one of the inputs of a device that has several."""
        try:
            fcntl.ioctl(self.fd, v4l2.S_INPUT, ctypes.c_int(number), True)
        except OSError as fault:
            if fault.errno in (errno.EINVAL, errno.ENOTTY):
                raise SourceUnavailable(f"{self.name} has no input {number}") from fault
            raise self.unavailable(fault) from fault

    def format(self) -> v4l2.PixelFormat:
        """The format and size that are set."""
        with self.explained():
            pix: v4l2.PixelFormat = self.call(v4l2.G_FMT, v4l2.Format(type=v4l2.VIDEO_CAPTURE)).fmt.pix
        return pix

    def set_format(self, code: str, width: int, height: int) -> v4l2.PixelFormat:
        """Sets format and size, and gives what the driver made of them: it takes the nearest that it has."""
        wanted = v4l2.Format(type=v4l2.VIDEO_CAPTURE)
        pix = wanted.fmt.pix
        pix.width, pix.height, pix.pixelformat, pix.field = width, height, v4l2.fourcc(code), v4l2.FIELD_NONE
        with self.explained():
            self.call(v4l2.S_FMT, wanted)
        taken: v4l2.PixelFormat = wanted.fmt.pix
        return taken

    def rate(self) -> float:
        """The pictures a second that are set; 0 where the driver does not say."""
        parameters = v4l2.StreamParameters(type=v4l2.VIDEO_CAPTURE)
        try:
            self.call(v4l2.G_PARM, parameters)
        except OSError as fault:
            return self._no_rate(fault)
        capture = parameters.parm.capture
        return _rate(capture.timeperframe)

    def set_rate(self, fps: float) -> float:
        """Sets the pictures a second, and gives those that the driver made of it; 0 where it does not say."""
        parameters = v4l2.StreamParameters(type=v4l2.VIDEO_CAPTURE)
        parameters.parm.capture.timeperframe = v4l2.Fraction(1000, max(1, round(fps * 1000)))
        try:
            self.call(v4l2.S_PARM, parameters)
        except OSError as fault:
            return self._no_rate(fault)
        return _rate(parameters.parm.capture.timeperframe)

    def _no_rate(self, fault: OSError) -> float:
        if fault.errno in (errno.ENOTTY, errno.EINVAL):
            return 0.0  # a device whose rate its signal decides
        raise self.unavailable(fault) from fault


def _rate(interval: v4l2.Fraction) -> float:
    return float(interval.denominator / interval.numerator) if interval.numerator else 0.0
