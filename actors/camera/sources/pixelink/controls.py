"""The features of a Pixelink camera as controls: read with their bounds, and set with the effective value."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from actors.camera.sources.control import Control, ControlValue
from actors.camera.sources.pixelink.api import Feature, PixelinkCamera, PixelinkFault

# Names here, names in the API's class FeatureId, and units.
_NUMBERS = (
    ("exposure", "EXPOSURE", "s"),
    ("gain", "GAIN", "dB"),
    ("gamma", "GAMMA", ""),
    ("saturation", "SATURATION", "%"),
    ("brightness", "BRIGHTNESS", "%"),
    ("sharpness", "SHARPNESS", ""),
    ("hue", "HUE", ""),
    ("color_temperature", "COLOR_TEMP", "K"),
    ("frame_rate", "FRAME_RATE", "fps"),
    ("focus", "FOCUS", ""),
    ("zoom", "ZOOM", ""),
)
_REGION = ("left", "top", "width", "height")


class PixelinkControls:
    """The controls of one open camera. `restream` is called after the region was changed, with the stream stopped."""

    def __init__(self, camera: PixelinkCamera, restream: Callable[[], None]) -> None:
        self._camera = camera
        self._ids, self._flags = camera.api.FeatureId, camera.api.FeatureFlags
        self._restream = restream

    def listed(self) -> list[Control]:
        """The controls that the camera has, with the values of now."""
        controls = [self._number(*each) for each in _NUMBERS]
        return [each for each in (*controls, self._automatic(), self._region()) if each is not None]

    def set(self, name: str, value: ControlValue) -> ControlValue:
        """Sets a control, and gives the value that the camera made of it; raises ValueError."""
        known = {each.name: each for each in self.listed()}
        if name not in known:
            raise ValueError(f"the camera has no control {str(name)[:60]}")
        checked = known[name].checked(value)
        try:
            return self._set(name, checked)
        except PixelinkFault as fault:
            raise ValueError(f"the camera does not take this value of {name} ({fault.name})") from fault

    def _set(self, name: str, checked: ControlValue) -> ControlValue:
        if name == "auto_exposure":
            self._expose(checked)
            return None if checked is None else bool(checked)
        if name == "region":
            assert isinstance(checked, dict)
            return self.crop(checked)
        number = self._number_id(name)
        assert isinstance(checked, (int, float))
        with self._stopped_for(number):
            self._camera.set(number, self._flags.MANUAL, [float(checked)])
        return _shown(self._camera.get(number)[1][0])

    def crop(self, region: dict[str, int]) -> dict[str, int]:
        """Sets the region, and gives what the camera made of it: its steps are coarser than a pixel."""
        with self._stopped_for(self._ids.ROI, always=True):
            self._camera.set(self._ids.ROI, self._flags.MANUAL, [float(region[each]) for each in _REGION])
        return self.region()

    def region(self) -> dict[str, int]:
        """The region of now, in pixels of the sensor."""
        return dict(zip(_REGION, (round(each) for each in self._camera.get(self._ids.ROI)[1]), strict=True))

    def _expose(self, on: ControlValue) -> None:
        """Lets the camera find the exposure: once, or from now on."""
        time = self._camera.get(self._ids.EXPOSURE)[1][:1]
        flags = self._flags.ONEPUSH if on is None else self._flags.AUTO if on else self._flags.MANUAL
        self._camera.set(self._ids.EXPOSURE, flags, time)

    @contextmanager
    def _stopped_for(self, number: int, always: bool = False) -> Iterator[None]:
        """Stops the stream for a feature that can be set only then, and starts it again whatever happens."""
        feature = self._camera.feature(number)
        if not always and feature is not None and feature.flags & self._flags.SETTABLE_WHILE_STREAMING:
            yield
            return
        self._camera.stop()
        try:
            yield
        finally:
            self._restream()

    def _settable(self, number: int) -> Feature | None:
        feature = self._camera.feature(number)
        if feature is None or feature.flags & self._flags.READ_ONLY or not feature.flags & self._flags.MANUAL:
            return None
        return feature

    def _number_id(self, name: str) -> int:
        return next(int(getattr(self._ids, api)) for own, api, _ in _NUMBERS if own == name)

    def _number(self, name: str, api: str, unit: str) -> Control | None:
        number = int(getattr(self._ids, api))
        feature = self._settable(number)
        if feature is None or not feature.bounds:
            return None
        least, most = feature.bounds[0]
        return Control(name, "number", _shown(self._camera.get(number)[1][0]), _shown(least), _shown(most), None, unit)

    def _automatic(self) -> Control | None:
        feature = self._camera.feature(self._ids.EXPOSURE)
        if feature is None:
            return None
        if feature.flags & self._flags.ONEPUSH:
            return Control("auto_exposure", "button")
        if feature.flags & self._flags.AUTO:
            return Control("auto_exposure", "switch", bool(self._camera.get(self._ids.EXPOSURE)[0] & self._flags.AUTO))
        return None

    def _region(self) -> Control | None:
        feature = self._settable(self._ids.ROI)
        if feature is None or len(feature.bounds) < len(_REGION):
            return None
        least = {name: round(bounds[0]) for name, bounds in zip(_REGION, feature.bounds, strict=False)}
        most = {name: round(bounds[1]) for name, bounds in zip(_REGION, feature.bounds, strict=False)}
        return Control("region", "region", self.region(), least, most, None, "px")


def _shown(value: float) -> float:
    # The API counts in 32 bits: 0.033 would be shown as 0.0329999998211861.
    return float(f"{value:.6g}")
