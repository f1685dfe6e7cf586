"""Gives the frames of a Pixelink camera, in colour or grey, with the camera's own times and numbers."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from actors.camera.sources.address import SourceAddress
from actors.camera.sources.control import Control, ControlValue
from actors.camera.sources.pixelink.api import PixelinkCamera, PixelinkFault, load_api
from actors.camera.sources.pixelink.controls import PixelinkControls
from actors.camera.sources.source import BadPicture, Picture, SourceUnavailable

# 2 s: how long a camera may give nothing before it counts as hung; one that is slow by its rate gets two frames' time.
SILENCE = 2.0
# 5 s: how often the camera's clock is compared with ours; it drifts by far less than a millisecond in between.
COMPARE_EVERY = 5.0

# Errors after which the camera has to be opened anew. Others are of one frame, and the next may be good.
_GONE = {
    "ApiNoCameraError": "was disconnected",
    "ApiNoDeviceError": "was disconnected",
    "ApiInvalidHandleError": "was disconnected",
    "ApiIOError": "was disconnected",
    "ApiNoCameraAvailableError": "is not connected",
    "ApiInvalidSerialNumberError": "is not connected",
    "ApiNoSerialNumberError": "is not connected",
    "ApiCameraInUseError": "is in use by another program",
    "ApiOSAccessDeniedError": "may not be opened by this user",
    "ApiOutOfBandwidthError": "gets too little bandwidth of its bus for this size and rate",
    "ApiHardwareError": "reported a fault of its hardware",
    "ApiStreamStopped": "stopped streaming by itself",
    "ApiNoStreamError": "stopped streaming by itself",
}
_WAITING = ("ApiCameraTimeoutError", "ApiTimeoutError")


class PixelinkSource:
    """One camera, at its own rate."""

    kind = "pixelink"
    simulated = False
    paced = True
    packets: str | None = None

    def __init__(
        self,
        address: SourceAddress,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._serial = address.where
        self._size, self._fps = address.size, address.fps
        self._clock, self._wall = clock, wall
        self._camera: PixelinkCamera | None = None
        self._number: int | None = None
        self._raw: Any = np.empty(0, np.uint8)
        self.lost = 0

    def open(self) -> None:
        """Opens the camera with this serial number (0: the first there is) and starts it; raises SourceUnavailable."""
        if not self._serial.isdecimal() or int(self._serial) >= 1 << 32:
            raise SourceUnavailable("the serial number of a Pixelink camera is a whole number")
        api = load_api()
        try:
            self._camera = camera = PixelinkCamera(api, int(self._serial))
            self._controls = PixelinkControls(camera, self._start)
            self._set_up(camera, api)
            if self._size:
                self._crop_to(*self._size)
            else:
                self._start()
        except PixelinkFault as fault:
            raise self._unavailable(fault) from fault
        except ValueError as fault:
            raise SourceUnavailable(f"camera {self._serial}: {fault}") from fault

    def _set_up(self, camera: PixelinkCamera, api: Any) -> None:
        if self._fps:
            rate = camera.feature(api.FeatureId.FRAME_RATE)
            if rate is not None and rate.bounds:
                camera.set(
                    api.FeatureId.FRAME_RATE,
                    api.FeatureFlags.MANUAL,
                    [min(max(self._fps, rate.bounds[0][0]), rate.bounds[0][1])],
                )

    def _crop_to(self, width: int, height: int) -> None:
        """Takes the middle of the sensor in this size."""
        region = next((each for each in self._controls.listed() if each.name == "region"), None)
        if region is None or not isinstance(region.most, dict):
            raise ValueError("it has no region, and so no size but its own")
        whole = {"width": int(region.most["width"]), "height": int(region.most["height"])}
        wanted = {"left": (whole["width"] - width) // 2, "top": (whole["height"] - height) // 2}
        if min(wanted.values()) < 0:
            raise ValueError(f"it has no size {width}x{height}; its sensor has {whole['width']}x{whole['height']}")
        self._controls.crop({**wanted, "width": width, "height": height})

    def _start(self) -> None:
        assert self._camera is not None
        camera, ids = self._camera, self._camera.api.FeatureId
        region = self._controls.region()
        # Room for three colours of 16 bits: every pixel format fits.
        self._raw = np.empty(region["width"] * region["height"] * 6, np.uint8)
        rate = camera.get(ids.FRAME_RATE)[1][0] if camera.feature(ids.FRAME_RATE) else 0.0
        self._silence = max(SILENCE, 2.0 / rate + 0.5 if rate > 0 else 0.0)
        camera.start()
        self._number = None
        self._heard = self._clock()
        self._compared: float | None = None
        self._offset: float | None = None

    def grab(self, seq: int) -> Picture | None:
        """Waits for the next frame; None where the camera says that there is none yet."""
        assert self._camera is not None
        try:
            descriptor = self._camera.next_frame(self._raw)
            number = int(descriptor.u64FrameNumber)
            if number == self._number:
                self._check_silence()
                return None
            if self._number is not None:
                self.lost += max(0, number - self._number - 1)
            self._number, self._heard = number, self._clock()
            return Picture(self._pixels(descriptor), self._time(float(descriptor.dFrameTime)))
        except PixelinkFault as fault:
            if fault.name in _WAITING:
                self._check_silence()
                return None
            if fault.name in _GONE:
                raise self._unavailable(fault) from fault
            raise BadPicture(f"a frame of camera {self._serial} is damaged ({fault.name})") from fault

    def _check_silence(self) -> None:
        if self._clock() - self._heard > self._silence:
            raise SourceUnavailable(f"camera {self._serial} gave no picture for {self._silence:.3g} s")

    def _pixels(self, descriptor: Any) -> Any:
        """RGB, or grey where the camera has no colours, of 8 bits."""
        assert self._camera is not None
        api = self._camera.api
        addressing, roi = descriptor.PixelAddressingValue, descriptor.Roi
        width = int(roi.fWidth / (addressing.fHorizontal or 1))
        height = int(roi.fHeight / (addressing.fVertical or 1))
        form = int(descriptor.PixelFormat.fValue)
        if form == api.PixelFormat.MONO8:
            data, channels = self._raw[: width * height].tobytes(), 1
        else:
            grey = form in (
                api.PixelFormat.MONO16,
                api.PixelFormat.MONO12_PACKED,
                api.PixelFormat.MONO12_PACKED_MSFIRST,
            )
            wanted = api.ImageFormat.RAW_MONO8 if grey else api.ImageFormat.RAW_RGB24_NON_DIB
            data, channels = self._camera.formatted(self._raw, descriptor, wanted), 1 if grey else 3
        if len(data) < width * height * channels or not data:
            raise BadPicture(
                f"a frame of camera {self._serial} has {len(data)} bytes, and not {width * height * channels}"
            )
        pixels = np.frombuffer(data, np.uint8, width * height * channels)
        return pixels.reshape((height, width) if channels == 1 else (height, width, 3))

    def _time(self, taken: float) -> float:
        """When the camera took a frame, by its own clock, as ms of the wall clock."""
        assert self._camera is not None
        now = self._clock()
        if self._compared is None or now - self._compared > COMPARE_EVERY:
            self._compared = now
            there = self._camera.clock()
            self._offset = None if there is None else self._wall() - there
        wall = self._wall()
        if self._offset is None or not 0 <= wall - taken - self._offset < COMPARE_EVERY:
            return wall * 1000.0
        return (taken + self._offset) * 1000.0

    def close(self) -> None:
        """Stops the camera and gives it back."""
        if self._camera is not None:
            self._camera.close()
        self._camera = None

    def controls(self) -> list[Control]:
        """The features that the camera has."""
        try:
            return self._controls.listed()
        except PixelinkFault as fault:
            raise self._unavailable(fault) from fault

    def set_control(self, name: str, value: ControlValue) -> ControlValue:
        """Sets a control and gives the effective value; raises ValueError."""
        return self._controls.set(name, value)

    def _unavailable(self, fault: PixelinkFault) -> SourceUnavailable:
        return SourceUnavailable(f"camera {self._serial} {_GONE.get(fault.name, 'failed')} ({fault.name})")
