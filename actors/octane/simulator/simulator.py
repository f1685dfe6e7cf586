"""Simulates an Octane without a network: renders balls on a floor, and tells of it what the wire tells.

It keeps to what a real Octane does: an event says only that there is a new image, and is sent only once a callback
is registered; there is one registration of each kind, and the newest takes it; a grab finds nothing before the first
sample.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc

from actors.octane.simulator.controls import Controls
from actors.octane.simulator.darkroom import Darkroom, Order, Scene
from actors.octane.simulator.faults import FaultBoard, OctaneFault
from actors.octane.simulator.listeners import CallbackSlot, Listener, Registration, SimulatedKind, StreamEnd
from actors.octane.simulator.packing import image_type
from actors.octane.simulator.passes import PASSES
from actors.octane.simulator.pins import PinValues
from actors.octane.simulator.refusing import CallRefused
from actors.octane.simulator.render import Render
from actors.octane.simulator.scene import FLOOR, Point, Viewpoint
from actors.octane.simulator.settings import OctaneGeneration, SimulatorSettings
from actors.octane.simulator.spoiling import SPOILING, before_last_change, spoil
from protos import octane_types_pb2 as wire

__all__ = ["Listener", "OctaneGeneration", "SimulatedKind", "Simulator", "SimulatorSettings"]

# The actor marks an Octane of this name as simulated.
NAME = "Callboard simulator of Octane"
DEVICE = "Callboard simulated device"

# Handles of the nodes. A ball's, or the floor's, is FIRST_OBJECT and its number.
ROOT, TARGET, CAMERA, GEOMETRY, FIRST_OBJECT = 1000000, 1000007, 1000008, 1000009, 1000020
NODES = frozenset({TARGET, CAMERA, GEOMETRY, *range(FIRST_OBJECT, FIRST_OBJECT + FLOOR + 1)})


class Simulator:
    """A simulated Octane. Its parts are open, so that a test can look inside and make it fail."""

    def __init__(self, settings: SimulatorSettings | None = None) -> None:
        self.settings = settings = settings or SimulatorSettings()
        self.address = ""
        self.name, self.device = NAME, DEVICE
        self.embeds_images = settings.generation is not OctaneGeneration.BETA_2
        self.calls: Counter[str] = Counter()  # by the name of the rpc
        self.restarts = 0
        self.faults = FaultBoard()
        self.crashed = asyncio.Event()
        self.down_for = 0.0  # seconds between a crash and listening again
        self.forced_type: int | None = None  # an image type for a test, whole, whatever was asked for
        self.slot = CallbackSlot()
        self._begin()

    def _begin(self) -> None:
        """Sets all that a process forgets when it dies."""
        settings = self.settings
        self.render = Render(settings.max_samples, settings.samples_per_second, settings.rest)
        self.controls = Controls()
        self.pins = PinValues(settings.width, settings.height)
        self.error: int = wire.RENDER_ERROR_NONE
        self.target = node(TARGET)
        self.camera: Viewpoint | None = None  # set over LiveLink; else each render has a view of its own
        self.project = "simulated/balls.ocs"
        self.unreleased = 0  # grabs since the last release
        self.darkroom = Darkroom(settings)
        self.late = False  # the next pictures are to be of the change level before

    async def work(self) -> None:
        """Renders until cancelled, and sends the events of it to open streams."""
        due = time.monotonic()
        while True:
            if self.render.advance(time.monotonic()):
                self.announce()
                self.tell(SimulatedKind.NEW_STATISTICS)
            if self.render.state == wire.RSTATE_WAITING_FOR_DATA:
                await self._load()
            # By the clock, and not so long after the work: images come as often as is set.
            due = max(due + 1 / self.settings.images_per_second, time.monotonic())
            await asyncio.sleep(due - time.monotonic())

    async def _load(self) -> None:
        """Gets the scene ready for the view that is asked for."""
        scene = self.scene
        await self.darkroom.load(scene, self.render.wipes)
        if scene == self.scene:
            self.render.loaded()

    def strike(self, fault: OctaneFault, seconds: float = math.inf) -> None:
        """Shows a fault: once, or for so many seconds. A RESTART is down for that time, if it is finite."""
        match fault:
            case OctaneFault.SLOT:
                self.slot.steal()
            case OctaneFault.STREAM:
                self.slot.close(StreamEnd.BROKEN)
            case OctaneFault.RESTART:
                self.down_for = seconds if seconds < math.inf else 0.0
                self.crashed.set()
            case OctaneFault.LATE:
                self.late = True
                self.tell(SimulatedKind.NEW_IMAGE)
            case _:
                self.faults.start(fault, seconds)
        if fault is OctaneFault.UNKNOWN_STATUS:
            self.slot.close(StreamEnd.UNKNOWN)
        if fault in SPOILING:
            self.tell(SimulatedKind.NEW_IMAGE)

    def clear(self, fault: OctaneFault | None = None) -> None:
        """Ends a lasting fault, or all of them."""
        spoilt = any(each in self.faults for each in SPOILING)
        self.faults.end(fault)
        if spoilt:
            self.tell(SimulatedKind.NEW_IMAGE)

    def reborn(self) -> None:
        """Is a new process after a crash: it knows nothing of the one before."""
        self.slot.registrations.clear()
        self._begin()
        self.restarts += 1
        self.crashed.clear()

    @contextmanager
    def listening(self, peer: str = "", time_left: float | None = None) -> Iterator[Listener]:
        """Holds one callback stream open."""
        with self.slot.listening(peer, time_left) as listener:
            yield listener

    def register(self, name: str, request: Any, peer: str = "") -> int:
        """Takes the one registration of a kind, or clears it where the request names no callback. Raises CallRefused."""
        if OctaneFault.REFUSED_CALLBACKS in self.faults:
            raise CallRefused(grpc.StatusCode.UNKNOWN, StreamEnd.UNKNOWN.value)
        kind = SimulatedKind(name)
        if request.HasField("callback"):
            return self.slot.take(kind, Registration(peer, request.userData, request.callback.callbackId))
        self.slot.give_back(kind)
        return 0

    def tell(self, kind: SimulatedKind) -> None:
        """Sends an event to who registered for its kind; project changes come unasked."""
        unasked = kind is SimulatedKind.PROJECT_CHANGED or OctaneFault.REFUSED_CALLBACKS in self.faults
        self.slot.tell(kind, unasked=unasked)

    def announce(self) -> None:
        """Says that there is an image."""
        self.controls.image_ready = True
        self.tell(SimulatedKind.NEW_IMAGE)

    def fail(self, error: int) -> None:
        """Makes the device fail, as a kernel crash would."""
        self.error, self.controls.failed = error, True
        self.render.stop()
        self.tell(SimulatedKind.RENDER_FAILURE)

    def aim(self, target: wire.ObjectRef) -> bool:
        """Sets the render target; that starts a render which was stopped."""
        if not target.handle:
            self.render.stop()
        elif target.handle != TARGET:
            return False
        elif self.render.state == wire.RSTATE_STOPPED:
            self.target, self.error = target, wire.RENDER_ERROR_NONE
            self.render.wipe()
        return True

    def aimed_at(self) -> wire.ObjectRef:
        """The render target: none once the render was stopped."""
        return wire.ObjectRef() if self.render.state == wire.RSTATE_STOPPED else self.target

    def reset(self) -> None:
        """Opens the project anew."""
        self.camera = None
        self.aim(self.target)
        self.render.restart()
        self.tell(SimulatedKind.PROJECT_CHANGED)

    @property
    def view(self) -> Viewpoint:
        """What the camera sees: the one that was set, or this render's own."""
        return self.camera or Viewpoint.around(self.render.view)

    @property
    def scene(self) -> Scene:
        return Scene(self.view, grey=self.controls.clay == wire.CLAYMODE_GREY)

    def look(self, position: Point | None, target: Point | None, fov: float | None, up: Point | None = None) -> None:
        """Moves the camera; parts that are None stay as they are."""
        now = self.view
        self.camera = Viewpoint(
            position or now.position, target or now.target, now.fov if fov is None else fov, up or now.up
        )
        self.render.restart()

    async def image(self) -> wire.ApiRenderImage | None:
        """The newest picture of the first pass; None before the first sample."""
        images = await self._develop()
        return images[0] if images else None

    async def images(self) -> list[wire.ApiRenderImage]:
        """What a render result holds: an image for each tonemapped pass, as the faults that are on would have it."""
        first = await self.image()
        if first is None:
            return []
        images = [spoil(image, self.faults) for image in (first, *(await self._develop())[1:])]
        if self.late:
            self.late = False
            images = [before_last_change(image) for image in images]
        return images

    async def _develop(self) -> list[wire.ApiRenderImage]:
        settings, controls = self.settings, self.controls
        buffer = controls.tonemap.buffer
        if settings.hdr or settings.half:
            buffer = wire.TONEMAP_BUFFER_TYPE_HDR_FLOAT if settings.hdr else wire.TONEMAP_BUFFER_TYPE_HDR_HALF
        wanted = image_type(buffer, mono=settings.mono) if self.forced_type is None else self.forced_type
        whole = self.forced_type is not None or settings.hdr or settings.half or settings.mono
        order = Order(
            self.tonemapped, wanted, controls.tonemap, whole, controls.sub_sampling, self.pins.gains, self.pins.gamma
        )
        return await self.darkroom.develop(self.render, order)

    @property
    def enabled_passes(self) -> list[int]:
        """The passes that the render target has."""
        return list(PASSES[: self.settings.passes])

    @property
    def tonemapped(self) -> list[int]:
        """The passes of a render result: those that were asked for and are enabled, in the order of the render's."""
        return [each for each in self.enabled_passes if each in self.controls.tonemap_passes]

    # What tests count.
    @property
    def registered(self) -> dict[SimulatedKind, int]:
        """The user data of each registration."""
        return {kind: each.user_data for kind, each in self.slot.registrations.items()}

    @property
    def listeners(self) -> set[Listener]:
        return self.slot.listeners

    @property
    def grabs(self) -> int:
        return self.calls["grabRenderResult"]

    @property
    def releases(self) -> int:
        return self.calls["releaseRenderResult"]

    @property
    def statistics_asked(self) -> int:
        return self.calls["getRenderStatistics"]

    @property
    def streams_opened(self) -> int:
        return self.calls["callbackChannel"]

    @property
    def region(self) -> Any:
        """The render region as it was set last."""
        return self.controls.region

    @property
    def tonemap_passes(self) -> list[int]:
        """The passes that clients asked for; a test may set them."""
        return self.controls.tonemap_passes

    @tonemap_passes.setter
    def tonemap_passes(self, passes: list[int]) -> None:
        self.controls.tonemap_passes = list(passes)


def node(handle: int) -> wire.ObjectRef:
    """A reference to a node."""
    return wire.ObjectRef(handle=handle, type=wire.ObjectRef.ApiNode)
