"""Reads and sets the controls of a V4L2 device: their names and units here, and the values that the driver made of them."""

from __future__ import annotations

import ctypes
import errno
import re
from dataclasses import dataclass
from typing import Any

from actors.camera.sources.control import Control, ControlValue
from actors.camera.sources.v4l2 import videodev as v4l2
from actors.camera.sources.v4l2.device import MAX_ENUMERATED, V4l2Device
from actors.camera.sources.v4l2.videodev import ControlFlag, ControlId, ControlType

# V4L2_CID_EXPOSURE_ABSOLUTE counts in units of 100 µs.
EXPOSURE_UNIT = 1e-4

_NAMES = {
    ControlId.EXPOSURE_ABSOLUTE: "exposure",
    # In steps of the device's own; `exposure` is in seconds.
    ControlId.EXPOSURE: "exposure_level",
    ControlId.EXPOSURE_AUTO: "auto_exposure",
    ControlId.GAIN: "gain",
    ControlId.GAMMA: "gamma",
    ControlId.BRIGHTNESS: "brightness",
}

# enum v4l2_exposure_auto_type: those with which the device chooses the time of exposure, and those with which it does not.
_AUTOMATIC = (0, 3)
_MANUAL = (1, 2)


@dataclass(frozen=True, slots=True)
class _Known:
    """One control of the device, and how it is shown."""

    id: int
    type: int
    control: Control
    menu: dict[int, str]
    readable: bool


class V4l2Controls:
    """The controls of one open device."""

    def __init__(self, device: V4l2Device) -> None:
        self._device = device
        self._known = {each.control.name: each for each in self._found()}

    def listed(self) -> list[Control]:
        """The controls with the values of now."""
        return [_with(known.control, self._value(known)) for known in self._known.values()]

    def __contains__(self, name: str) -> bool:
        return name in self._known

    def set(self, name: str, value: ControlValue) -> ControlValue:
        """Sets one control and gives the value that the driver made of it; raises ValueError."""
        known = self._known[name]
        checked = known.control.checked(value)
        try:
            self._write(known, _raw(known, checked))
        except OSError as fault:
            if fault.errno == errno.EBUSY:
                raise ValueError(
                    f"{name} cannot be changed while the camera streams or an automatic control sets it"
                ) from fault
            if fault.errno in (errno.EACCES, errno.EINVAL, errno.ERANGE, errno.EPERM):
                raise ValueError(f"the camera does not take this value of {name} now") from fault
            raise self._device.unavailable(fault) from fault
        return self._value(known)

    def _found(self) -> list[_Known]:
        found: list[_Known] = []
        names: set[str] = set()
        for query in self._queried():
            known = self._described(query)
            if known is None or known.control.name in names:
                continue
            names.add(known.control.name)
            found.append(known)
        return found

    def _queried(self) -> list[v4l2.QueryControl]:
        queried: list[v4l2.QueryControl] = []
        number = 0
        for _ in range(MAX_ENUMERATED):
            query = v4l2.QueryControl(id=number | ControlFlag.NEXT_CTRL)
            try:
                self._device.call(v4l2.QUERY_EXT_CTRL, query)
            except OSError as fault:
                if fault.errno in (errno.EINVAL, errno.ENOTTY):
                    break
                raise self._device.unavailable(fault) from fault
            number = query.id
            if not query.flags & (ControlFlag.DISABLED | ControlFlag.READ_ONLY):
                queried.append(query)
        return queried

    def _described(self, query: v4l2.QueryControl) -> _Known | None:
        menu = self._menu(query) if query.type in (ControlType.MENU, ControlType.INTEGER_MENU) else {}
        control = described(query, menu)
        if control is None:
            return None
        readable = query.type != ControlType.BUTTON and not query.flags & ControlFlag.WRITE_ONLY
        return _Known(query.id, query.type, control, menu, readable)

    def _menu(self, query: v4l2.QueryControl) -> dict[int, str]:
        menu: dict[int, str] = {}
        for index in range(query.minimum, min(query.maximum, query.minimum + MAX_ENUMERATED) + 1):
            item = v4l2.QueryMenu(id=query.id, index=index)
            try:
                self._device.call(v4l2.QUERYMENU, item)
            except OSError:
                continue  # a menu may have gaps
            integer = query.type == ControlType.INTEGER_MENU
            menu[index] = str(item.u.value) if integer else item.u.name.decode("utf-8", "replace")
        return menu

    def _value(self, known: _Known) -> ControlValue:
        if not known.readable:
            return None
        control = v4l2.ExtControl(id=known.id)
        with self._device.explained():
            self._device.call(v4l2.G_EXT_CTRLS, _one(control))
        raw = control.u.value64 if known.type == ControlType.INTEGER64 else control.u.value
        return _shown(known, int(raw))

    def _write(self, known: _Known, raw: int) -> None:
        control = v4l2.ExtControl(id=known.id)
        if known.type == ControlType.INTEGER64:
            control.u.value64 = raw
        else:
            control.u.value = raw
        self._device.call(v4l2.S_EXT_CTRLS, _one(control))


def described(query: v4l2.QueryControl, menu: dict[int, str]) -> Control | None:
    """How a control of the device is shown; None for kinds that are not shown: strings, bit masks, compounds."""
    name = named(query)
    match query.type:
        case ControlType.BOOLEAN:
            return Control(name, "switch")
        case ControlType.BUTTON:
            return Control(name, "button")
        case ControlType.MENU | ControlType.INTEGER_MENU if menu:
            if query.id == ControlId.EXPOSURE_AUTO and set(menu) & set(_AUTOMATIC) and set(menu) & set(_MANUAL):
                return Control(name, "switch")
            return Control(name, "choice", choices=tuple(menu.values()))
        case ControlType.INTEGER | ControlType.INTEGER64:
            unit, scale = ("s", EXPOSURE_UNIT) if query.id == ControlId.EXPOSURE_ABSOLUTE else ("", 1)
            least, most, step = (_scaled(each, scale) for each in (query.minimum, query.maximum, query.step or 1))
            return Control(name, "number", None, least, most, step, unit)
    return None


def named(query: v4l2.QueryControl) -> str:
    """The name of a control here: the usual one of those that every camera has, else the device's own in snake_case."""
    if query.id in _NAMES:
        return _NAMES[ControlId(query.id)]
    own = re.sub(r"[^a-z0-9]+", "_", query.name.decode("utf-8", "replace").lower()).strip("_")
    # The names of other controls here mean what they always mean.
    if not own or own in _NAMES.values() or own in ("region", "size"):
        return f"{own}_{query.id:08x}".strip("_")
    return own


def _scaled(value: int, scale: float) -> float:
    return value if scale == 1 else round(value * scale, 6)


def _shown(known: _Known, raw: int) -> ControlValue:
    match known.control.kind:
        case "switch":
            return raw in _AUTOMATIC if known.menu else bool(raw)
        case "choice":
            return known.menu.get(raw)
        case _:
            return _scaled(raw, EXPOSURE_UNIT if known.id == ControlId.EXPOSURE_ABSOLUTE else 1)


def _raw(known: _Known, value: Any) -> int:
    """What the driver is given for a value that was checked."""
    match known.control.kind:
        case "switch" if known.menu:
            # Aperture priority is the automatic mode of most webcams, which have no aperture to set.
            return next(mode for mode in (_AUTOMATIC if value else _MANUAL) if mode in known.menu)
        case "switch":
            return int(value)
        case "choice":
            return next(index for index, name in known.menu.items() if name == value)
        case "button":
            return 0
        case _:
            return round(float(value) / (EXPOSURE_UNIT if known.id == ControlId.EXPOSURE_ABSOLUTE else 1))


def _one(control: v4l2.ExtControl) -> v4l2.ExtControls:
    return v4l2.ExtControls(which=0, count=1, controls=ctypes.pointer(control))


def _with(control: Control, value: ControlValue) -> Control:
    return Control(
        control.name, control.kind, value, control.least, control.most, control.step, control.unit, control.choices
    )
