"""Keeps what a camera is set to: sets the controls of its source, reads the effective values back, and publishes them.

What a command has set is kept over restarts and set again whenever the source is opened. While the source is closed, a value
is checked against what the source last said of its controls, kept, and set at the next opening: a command opens nothing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from actors.camera.capture import CaptureThread
from actors.camera.report import CameraReport
from actors.camera.settings import CameraSettings, checked_fps, checked_quality
from actors.camera.sources.control import REGION, Control, ControlValue
from actors.camera.sources.source import BAD_PICTURE
from actors.system.actor import Reject
from actors.system.context import Context
from router.errors import BrokerError
from router.subject import Subject

log = logging.getLogger(__name__)

KEPT: Final = "controls"
# These change what the others may be, so they are set first.
FIRST: Final = ("size", "auto_exposure", "region")
# What a press of a button may change.
MOVED: Final = ("exposure", "gain", "brightness")
RETRY_SECONDS: Final = 1.0
# Controls that may be set before anybody knows which there are.
MAX_UNKNOWN: Final = 32


class _Kept(msgspec.Struct, kw_only=True):
    """What is kept over restarts. `configured` is what the settings said then: a setting that was changed since counts."""

    fps: float | None = None
    quality: int | None = None
    revision: int = 0
    configured: dict[str, float] = {}
    # Of which source the rest is: another one gets none of it.
    source: dict[str, Any] = {}
    values: dict[str, Any] = {}
    first: dict[str, Any] = {}
    known: dict[str, dict[str, Any]] = {}


class CameraControls:
    """The controls of one camera."""

    def __init__(self, settings: CameraSettings, report: CameraReport) -> None:
        self._settings = settings
        self._report = report
        self._thread: CaptureThread | None = None
        self._known: dict[str, Control] = {}
        # Values that commands have set, those that the source had before any was set, and those that it does not take.
        self._values: dict[str, ControlValue] = {}
        self._first: dict[str, ControlValue] = {}
        self._refused: dict[str, str] = {}
        # Ms since the epoch, larger with each change: who gets two states out of order keeps the newer one.
        self._revision = 0
        self._changed = asyncio.Event()

    async def begin(self, ctx: Context) -> None:
        """Takes up what was kept, and begins to publish."""
        self._ctx = ctx
        self._recall(await ctx.kept(KEPT))
        self._touch()
        ctx.source("controls", self._publish, silence=None)

    async def opened(self, thread: CaptureThread) -> None:
        """Sets the source, which was just opened, to what was kept. What it does not take is left out, and told."""
        before = self.described()
        controls = {control.name: control for control in await thread.controls()}
        for name, control in controls.items():
            if control.kind != "button":
                self._first.setdefault(name, control.value)
        self._known, self._refused = controls, {}
        for name in sorted(self._values, key=lambda name: (FIRST.index(name) if name in FIRST else len(FIRST), name)):
            try:
                await self._apply(thread, name, self._values[name])
            except ValueError as fault:
                self._refused[name] = str(fault)
                log.warning(
                    "the camera's source does not take a kept value; it is left out",
                    extra={"control": name, "reason": str(fault)},
                )
        self._thread = thread
        if self.described() != before:
            self._touch()

    def closed(self) -> None:
        """Notes that the source is closed."""
        self._thread = None

    def described(self) -> dict[str, Any]:
        """The data of the event `controls`."""
        controls = {name: control.described() for name, control in sorted(self._known.items())}
        for name, value in self._values.items():
            if self._thread is None and name in controls:
                controls[name]["value"] = value
        shown: dict[str, Any] = {"fps": self._report.fps, "quality": self._report.quality, "controls": controls}
        shown["revision"] = self._revision
        return {**shown, "refused": self._refused} if self._refused else shown

    async def set(self, name: str, value: object) -> dict[str, Any]:
        """Sets one control, now or at the next opening, and answers with the effective state. Raises Reject."""
        thread = self._thread
        if name not in self._known and (self._known or thread is not None):
            known = f"it has {', '.join(sorted(self._known))}" if self._known else "it has none"
            raise Reject(f"the source has no control {name[:60]!r}; {known}")
        if thread is None:
            return self._set_later(name, value)
        try:
            async with asyncio.timeout(self._settings.silence):
                await self._apply(thread, name, value)
        except ValueError as fault:
            raise Reject(str(fault)) from fault
        except TimeoutError:
            raise Reject(f"the source did not answer within {self._settings.silence:g} s") from None
        control = self._known.get(name)
        if control is not None and control.kind == "button":
            self._take_moved()
        elif control is not None:
            self._values[name] = control.value
        self.keep()
        return self._answer(applied=True)

    async def clear_region(self) -> dict[str, Any]:
        """Shows the whole picture of the sensor again. Raises Reject."""
        control = self._known.get("region")
        if control is None or not isinstance(control.most, Mapping):
            if self._thread is not None:
                raise Reject("the source has no region")
            self._values.pop("region", None)
            self.keep()
            return self._answer(applied=False)
        whole = {"left": 0, "top": 0, "width": control.most["width"], "height": control.most["height"]}
        answer = await self.set("region", whole)
        # Nothing is kept: the whole picture is what a source shows that is told nothing.
        self._values.pop("region", None)
        return answer

    async def reset(self) -> dict[str, Any]:
        """Sets rate, quality and all controls to what they were before any command. Raises Reject."""
        self._report.fps, self._report.quality = self._settings.fps, self._settings.quality
        self._values = {name: value for name, value in self._first.items() if name in self._known}
        self._refused = {}
        if (thread := self._thread) is not None:
            try:
                async with asyncio.timeout(self._settings.silence):
                    await self.opened(thread)
            except TimeoutError:
                raise Reject(f"the source did not answer within {self._settings.silence:g} s") from None
            # It has them now; kept, they would be set again over what others set.
            self._values = {}
        self.keep()
        return self._answer(applied=thread is not None)

    def _set_later(self, name: str, value: object) -> dict[str, Any]:
        control = self._known.get(name)
        if control is not None:
            if control.kind == "button":
                raise Reject(f"{name} needs a camera that captures; watch it first")
            try:
                value = control.checked(value)
            except ValueError as fault:
                raise Reject(str(fault)) from fault
        elif not isinstance(value, (bool, int, float, str, Mapping)):
            raise Reject(f"{name[:60]} must be a number, a switch, a text or an object")
        elif len(self._values) >= MAX_UNKNOWN:
            raise Reject("too many controls are set before the source was ever opened")
        self._values[name] = value
        self._refused.pop(name, None)
        self.keep()
        return self._answer(applied=False)

    async def _apply(self, thread: CaptureThread, name: str, value: object) -> None:
        """Sets a control of the open source and reads all of them again. Raises ValueError."""
        control = self._known.get(name)
        if control is None:
            raise ValueError(f"the source has no control {name[:60]!r}")
        checked = control.checked(value)
        try:
            await thread.set_control(name, checked)
            self._known = {each.name: each for each in await thread.controls()}
        except BAD_PICTURE as fault:
            if isinstance(fault, ValueError):
                raise
            # The text of a native library may name what nobody should see.
            log.warning("the source failed to set a control", extra={"control": name, "fault": str(fault)})
            raise ValueError(f"the source failed to set {name}") from fault
        self._refused.pop(name, None)

    def _take_moved(self) -> None:
        """Keeps what the press of a button has changed, of what a command had set."""
        for name in MOVED:
            if name in self._values and (control := self._known.get(name)) is not None:
                self._values[name] = control.value

    def _answer(self, *, applied: bool) -> dict[str, Any]:
        answer = {**self._report.described(), **self.described(), "applied": applied}
        return answer if applied else {**answer, "note": "the camera is idle; this is set when it is next watched"}

    def keep(self) -> None:
        """Stores all that commands have set, once the running one has returned, and publishes it."""
        self._touch()
        kept = msgspec.to_builtins(self._to_keep())
        self._ctx.commit(lambda: self._ctx.keep(KEPT, kept))

    def _touch(self) -> None:
        """Gives what the camera is set to a new revision, and publishes it."""
        self._revision = max(self._revision + 1, time.time_ns() // 1_000_000)
        self._changed.set()

    def _to_keep(self) -> _Kept:
        settings, report = self._settings, self._report
        return _Kept(
            fps=report.fps,
            quality=report.quality,
            revision=self._revision,
            configured={"fps": settings.fps, "quality": settings.quality},
            source=dict(report.about),
            values=dict(self._values),
            first=dict(self._first),
            known={name: control.described() for name, control in self._known.items()},
        )

    def _recall(self, stored: Mapping[str, Any] | None) -> None:
        if stored is None:
            return
        try:
            kept = msgspec.convert(stored, _Kept)
            known = {name: _control(name, told) for name, told in kept.known.items()}
            if kept.fps is not None and kept.configured.get("fps") == self._settings.fps:
                self._report.fps = checked_fps(kept.fps)
            if kept.quality is not None and kept.configured.get("quality") == self._settings.quality:
                self._report.quality = checked_quality(kept.quality)
        except (msgspec.ValidationError, ValueError, TypeError) as fault:
            log.warning("kept settings of the camera are not valid; they are ignored", extra={"fault": str(fault)})
            return
        self._revision = kept.revision
        if kept.source == dict(self._report.about):
            self._values, self._first, self._known = kept.values, kept.first, known
        elif kept.values:
            log.warning(
                "the camera has another source now; the kept values of its controls are dropped",
                extra={"controls": sorted(kept.values)},
            )

    async def _publish(self, beat: Callable[[], None]) -> None:
        """Publishes what the camera is set to whenever that changes."""
        subject = Subject.of("camera", self._ctx.instance, "controls")
        told: dict[str, Any] = {}
        while True:
            await self._changed.wait()
            self._changed.clear()
            data = self.described()
            if data == told:
                continue
            try:
                await self._ctx.publish(subject, data)
                told = data
            except BrokerError as fault:
                log.warning("the camera's controls could not be published; retrying", extra={"fault": str(fault)})
                self._changed.set()
                await self._ctx.sleep(RETRY_SECONDS)


def _control(name: str, told: Mapping[str, Any]) -> Control:
    """A control as it was described. Raises ValueError or TypeError."""
    kinds = ("number", "switch", "choice", "button", "region", "size")
    if told.get("kind") not in kinds:
        raise ValueError(f"{name} is of no known kind")
    return Control(name, **{**told, "choices": tuple(told.get("choices") or ())})


def whole_region(left: int, top: int, width: int, height: int) -> dict[str, int]:
    """A region as a value."""
    return dict(zip(REGION, (left, top, width, height), strict=True))
