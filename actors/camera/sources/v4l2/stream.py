"""Streams from an open V4L2 device into mapped memory: the driver's own times, sequence numbers and errors."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import select
import time
from dataclasses import dataclass

from actors.camera.sources.source import BadPicture, SourceUnavailable
from actors.camera.sources.v4l2 import videodev as v4l2
from actors.camera.sources.v4l2.device import V4l2Device

# Four: one that the driver fills, one that is read, and two for a reader that is late by two pictures. Of H.264, where no
# packet may be left out, 16: half a second.
BUFFERS, H264_BUFFERS = 4, 16

# A driver's time that lies further back than this is not of the clock that it says.
MAX_AGE = 10.0


@dataclass(frozen=True, slots=True)
class RawPicture:
    """What the driver wrote into one buffer. `time` is ms since the epoch, `sequence` counts the device's pictures."""

    data: bytes
    time: float
    sequence: int
    more: bool  # whether a newer one waits already


class V4l2Stream:
    """The buffers of one device, between start and stop."""

    def __init__(self, device: V4l2Device) -> None:
        self._device = device
        self._maps: list[mmap.mmap] = []
        self._on = False
        self._last: int | None = None
        self.lost = 0  # pictures that the device took, and that no buffer was free for

    @property
    def buffers(self) -> int:
        """How many buffers the driver gave."""
        return len(self._maps)

    def start(self, buffers: int = BUFFERS) -> None:
        """Maps and queues the buffers, and starts the device; raises SourceUnavailable."""
        with self._device.explained():
            request = v4l2.RequestBuffers(count=buffers, type=v4l2.VIDEO_CAPTURE, memory=v4l2.MEMORY_MMAP)
            self._device.call(v4l2.REQBUFS, request)
            for index in range(request.count):
                buffer = self._device.call(v4l2.QUERYBUF, self._buffer(index))
                self._maps.append(mmap.mmap(self._device.fd, buffer.length, offset=buffer.m.offset))
                self._device.call(v4l2.QBUF, self._buffer(index))
            fcntl.ioctl(self._device.fd, v4l2.STREAMON, ctypes.c_int(v4l2.VIDEO_CAPTURE), True)
        self._on, self._last = True, None

    def stop(self) -> None:
        """Stops the device and gives its buffers back; works on one that was unplugged, too."""
        if self._on:
            self._on = False
            try:
                fcntl.ioctl(self._device.fd, v4l2.STREAMOFF, ctypes.c_int(v4l2.VIDEO_CAPTURE), True)
            except OSError:
                pass  # an unplugged device has stopped
        for mapped in self._maps:
            mapped.close()
        self._maps.clear()
        try:
            self._device.call(v4l2.REQBUFS, v4l2.RequestBuffers(0, v4l2.VIDEO_CAPTURE, v4l2.MEMORY_MMAP))
        except OSError:
            pass

    def next(self, wait: float) -> RawPicture | None:
        """Waits so many seconds for a picture; None where there is none yet.

        Raises BadPicture for a buffer that the driver marked, SourceUnavailable where the device is gone.
        """
        poll = select.poll()
        poll.register(self._device.fd, select.POLLIN)
        ready = poll.poll(wait * 1000)
        if not ready:
            return None
        if not ready[0][1] & select.POLLIN:
            raise self._failed()
        try:
            buffer = self._device.call(v4l2.DQBUF, self._buffer())
        except BlockingIOError:
            return None
        except OSError as fault:
            if fault.errno == errno.EIO:
                raise BadPicture(f"{self._device.name} could not read a picture") from fault
            raise self._device.unavailable(fault) from fault
        return self._taken(buffer, poll)

    def _failed(self) -> SourceUnavailable:
        """What is wrong with a device that polls an error and no picture."""
        try:
            self._device.call(v4l2.QUERYCAP, v4l2.Capability())
        except OSError as fault:
            return self._device.unavailable(fault)
        return SourceUnavailable(f"{self._device.name} stopped streaming by itself")

    def _taken(self, buffer: v4l2.Buffer, poll: select.poll) -> RawPicture:
        """Copies a buffer out and gives it back to the driver."""
        data = b""
        bad = bool(buffer.flags & v4l2.BufferFlag.ERROR)
        if not bad:
            # The driver writes into it again as soon as it is queued.
            data = self._maps[buffer.index][: buffer.bytesused]
        taken = self._time(buffer)
        with self._device.explained():
            self._device.call(v4l2.QBUF, self._buffer(buffer.index))
        if self._last is not None:
            self.lost += max(0, buffer.sequence - self._last - 1)
        self._last = buffer.sequence
        if bad or not data:
            raise BadPicture(f"{self._device.name} marked a picture as damaged")
        more = any(event & select.POLLIN for _, event in poll.poll(0))
        return RawPicture(data, taken, buffer.sequence, more)

    def _time(self, buffer: v4l2.Buffer) -> float:
        """When the driver took the picture, on the wall clock."""
        now = time.time()
        if buffer.flags & v4l2.BufferFlag.TIMESTAMP_MASK == v4l2.BufferFlag.TIMESTAMP_MONOTONIC:
            age: float = time.monotonic() - buffer.timestamp.seconds - buffer.timestamp.microseconds / 1e6
            if 0 <= age <= MAX_AGE:
                return (now - age) * 1000.0
        return now * 1000.0

    def _buffer(self, index: int = 0) -> v4l2.Buffer:
        return v4l2.Buffer(index=index, type=v4l2.VIDEO_CAPTURE, memory=v4l2.MEMORY_MMAP)
