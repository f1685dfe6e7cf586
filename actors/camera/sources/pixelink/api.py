"""Calls the API of Pixelink through the vendor's package `pixelinkWrapper`, and names its errors as it does."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from actors.camera.sources.source import CameraError, SourceUnavailable


class PixelinkFault(CameraError):
    """a call of the Pixelink API failed"""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


@dataclass(frozen=True, slots=True)
class Feature:
    """What a camera says of one feature: its flags, and the least and the most of each parameter."""

    flags: int
    bounds: tuple[tuple[float, float], ...]


def load_api() -> Any:
    """The class PxLApi of the vendor's wrapper; raises SourceUnavailable with a line that says what to install."""
    try:
        from pixelinkWrapper import PxLApi
    except ImportError as fault:
        raise SourceUnavailable(
            "a Pixelink camera needs the package pixelinkWrapper (pip install pixelinkWrapper) and Pixelink's SDK"
        ) from fault
    except (OSError, ValueError, subprocess.SubprocessError) as fault:
        # The wrapper loads the library when it is imported, and searches $PIXELINK_SDK_LIB for its version.
        raise SourceUnavailable(
            "Pixelink's library libPxLApi.so cannot be loaded; install its SDK and set PIXELINK_SDK_LIB and LD_LIBRARY_PATH"
        ) from fault
    return PxLApi


class PixelinkCamera:
    """One open camera. Each call raises PixelinkFault with the API's own name of what went wrong."""

    def __init__(self, api: Any, serial: int) -> None:
        self.api = api
        self._names = {code: name for name, code in vars(api.ReturnCode).items() if isinstance(code, int)}
        self._handle = self._checked(api.initialize(serial))

    def close(self) -> None:
        """Stops the stream and gives the camera back, also where it is gone."""
        self.api.setStreamState(self._handle, self.api.StreamState.STOP)
        self.api.uninitialize(self._handle)

    def start(self) -> None:
        """Starts the stream."""
        self._checked(self.api.setStreamState(self._handle, self.api.StreamState.START))

    def stop(self) -> None:
        """Stops the stream."""
        self._checked(self.api.setStreamState(self._handle, self.api.StreamState.STOP))

    def feature(self, number: int) -> Feature | None:
        """What the camera says of a feature; None where it has not got it."""
        try:
            described = self._checked(self.api.getCameraFeatures(self._handle, number))
        except PixelinkFault as fault:
            if fault.name in ("ApiNotSupportedError", "ApiInvalidParameterError"):
                return None
            raise
        if described.uNumberOfFeatures < 1:
            return None
        found = described.Features[0]
        if not found.uFlags & self.api.FeatureFlags.PRESENCE:
            return None
        bounds = (found.Params[index] for index in range(found.uNumberOfParameters))
        return Feature(int(found.uFlags), tuple((float(each.fMinValue), float(each.fMaxValue)) for each in bounds))

    def get(self, number: int) -> tuple[int, list[float]]:
        """The flags and the parameters that a feature has now."""
        flags, parameters = self._all_checked(self.api.getFeature(self._handle, number))
        return int(flags), [float(each) for each in parameters]

    def set(self, number: int, flags: int, parameters: Sequence[float]) -> None:
        """Sets a feature."""
        self._checked(self.api.setFeature(self._handle, number, flags, list(parameters)))

    def next_frame(self, into: Any) -> Any:
        """Waits for the next frame, writes it into an array of bytes, and gives its descriptor."""
        return self._checked(self.api.getNextNumPyFrame(self._handle, into))

    def formatted(self, raw: Any, descriptor: Any, image_format: int) -> bytes:
        """A frame in another format."""
        return bytes(self._checked(self.api.formatNumPyImage(raw, descriptor, image_format)))

    def clock(self) -> float | None:
        """The camera's clock of now, which its frames' times are of, in seconds; None where it cannot be asked."""
        try:
            return float(self._checked(self.api.getCurrentTimestamp(self._handle)))
        except PixelinkFault:
            return None

    def _checked(self, answer: tuple[Any, ...]) -> Any:
        results = self._all_checked(answer)
        return results[0] if results else None

    def _all_checked(self, answer: tuple[Any, ...]) -> tuple[Any, ...]:
        code, *results = answer
        if not self.api.apiSuccess(code):
            raise PixelinkFault(self._names.get(code, f"error {code & 0xFFFFFFFF:#010x}"))
        return tuple(results)
