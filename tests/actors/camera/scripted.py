"""A source that does what a test tells it, and what a camera said meanwhile."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from actors.camera.actor import Camera
from actors.camera.settings import CameraSettings
from actors.camera.sources.address import SourceAddress, SourceSettings
from actors.camera.sources.source import CameraSource, Picture, SourceUnavailable
from actors.system.probe import Probe
from router.timing import Clock
from tests.waiting import PATIENCE


class Scripted:
    """A source that grabs grey pictures, and hangs, fails or spoils pictures on request."""

    kind = "simulated"
    simulated = True

    def __init__(self, script: Script) -> None:
        self._script = script

    @property
    def paced(self) -> bool:
        return self._script.paced

    def open(self) -> None:
        self._script.opened += 1
        if self._script.unavailable:
            raise SourceUnavailable(self._script.unavailable)

    def grab(self, seq: int) -> Picture | None:
        if self._script.hangs and self._script.hanging < self._script.hangs:
            self._script.hanging += 1
            assert self._script.released.wait(5 * PATIENCE)
        fault = self._script.faults.pop(0) if self._script.faults else self._script.fault
        if fault is not None:
            raise fault
        self._script.grabbed += 1
        self._script.asked.append(seq)
        if self._script.paced:
            time.sleep(self._script.every)
        if self._script.nothing:
            return None
        return Picture(self._script.pixels(), 1000.0 * seq)

    def close(self) -> None:
        self._script.closed += 1


class Script:
    """What all openings of one scripted source share."""

    def __init__(self) -> None:
        self.opened = self.grabbed = self.closed = self.hanging = 0
        self.unavailable = ""
        # The numbers that pictures were to have: the same one again where the one before was not shown.
        self.asked: list[int] = []
        self.faults: list[Exception | None] = []
        self.fault: Exception | None = None
        self.hangs = 0
        # Whether the source keeps its own time, with a picture every so many seconds, and whether it has nothing new.
        self.paced, self.every, self.nothing = False, 0.0, False
        self.released = threading.Event()
        self.pixels: Callable[[], np.ndarray] = lambda: np.full((24, 32), self.grabbed % 256, dtype=np.uint8)

    def source(self, address: SourceAddress, settings: SourceSettings) -> CameraSource:
        return Scripted(self)

    def camera(self, clock: Clock | None = None, **settings: Any) -> Probe:
        return Probe(lambda: Camera(CameraSettings(**settings), self.source), clock=clock)


class SourceClock:
    """A clock that goes on by one period of a scripted source with each of its pictures, however long they really take."""

    def __init__(self, script: Script) -> None:
        self._script = script

    def now(self) -> float:
        return 1000.0 + self._script.grabbed * self._script.every

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def states(camera: Probe) -> list[Mapping[str, Any]]:
    return [data for subject, data in camera.emitted if subject == "camera.main.state"]


def status(camera: Probe) -> str:
    return str(states(camera)[-1]["status"]) if states(camera) else ""


def statistics(camera: Probe) -> list[Mapping[str, Any]]:
    return [data for subject, data in camera.emitted if subject == "camera.main.statistics"]
