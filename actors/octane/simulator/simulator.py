"""Simulates an Octane without a network: renders balls on a floor, and tells of it what the wire tells.

It keeps to what a real Octane does: an event says only that there is a new image, and is sent only once a callback
is registered; there is one registration of each kind, and the newest takes it; a grab finds nothing before the first
sample.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Any

from actors.octane.simulator.film import Film
from actors.octane.simulator.render import Render
from actors.octane.simulator.scene import Point, Viewpoint, trace
from protos import octane_render_pb2 as engine
from protos import octane_types_pb2 as wire

# The actor marks an Octane of this name as simulated.
NAME = "Callboard simulator of Octane"
DEVICE = "Callboard simulated device"


class Generation(Enum):
    """Which wire the simulator speaks; the value is the version it gives."""

    BETA_2 = 15000008  # events say that there is an image
    ALPHA_5 = 15000005  # events carry the image


class SimulatedKind(Enum):
    """What an event of the callback stream is about."""

    NEW_IMAGE = "newImage"
    RENDER_FAILURE = "renderFailure"
    NEW_STATISTICS = "newStatistics"
    PROJECT_CHANGED = "projectManagerChanged"


@dataclass(frozen=True, slots=True)
class SimulatorSettings:
    """Where the simulator listens, and what it renders."""

    host: str = "127.0.0.1"
    port: int = 51022  # 0 takes a free one
    width: int = 960
    height: int = 540
    pitch: int = 1024  # pixels of a row in memory; more than the width, as Octane's often is
    max_samples: int = 500
    samples_per_second: float = 25.0
    images_per_second: float = 4.0
    rest: float = 6.0  # seconds between the last sample and the next render
    generation: Generation = Generation.BETA_2

    def __post_init__(self) -> None:
        for name in ("width", "height"):
            if not 8 <= getattr(self, name) <= 4096:
                raise ValueError(f"{name} must be 8 to 4096")
        if not 0 <= self.pitch <= 8192:
            raise ValueError("pitch must be 0 to 8192")
        for name in ("max_samples", "samples_per_second", "images_per_second"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be more than 0")
        if self.rest < 0:
            raise ValueError("rest must be 0 or more")


class Listener:
    """One open callback stream and the events that it has yet to send. A kind waits at most once, so this never grows."""

    def __init__(self) -> None:
        self._waiting: dict[SimulatedKind, None] = {}
        self._some = asyncio.Event()

    def tell(self, kind: SimulatedKind) -> None:
        self._waiting[kind] = None
        self._some.set()

    async def next(self) -> SimulatedKind:
        await self._some.wait()
        kind = next(iter(self._waiting))
        del self._waiting[kind]
        if not self._waiting:
            self._some.clear()
        return kind


class Simulator:
    """A simulated Octane. Its parts are open, so that a test can look inside and make it fail."""

    def __init__(self, settings: SimulatorSettings = SimulatorSettings()) -> None:
        self.settings = settings
        self.render = Render(settings.max_samples, settings.samples_per_second, settings.rest)
        self.registered: dict[SimulatedKind, int] = {}  # kind → user data
        self.listeners: set[Listener] = set()
        self.grabs = self.releases = self.statistics_asked = self.streams_opened = 0
        self.error: int = wire.RENDER_ERROR_NONE
        self.buffer_type: int = wire.TONEMAP_BUFFER_TYPE_LDR
        self.target = wire.ObjectRef(handle=1000007, type=wire.ObjectRef.ApiNode)
        self.region = engine.ApiRenderEngine.setRenderRegionRequest()
        self.camera: Viewpoint | None = None  # set over LiveLink; else each render has a view of its own
        self.address = ""
        self.name, self.device = NAME, DEVICE
        self.embeds_images = settings.generation is Generation.ALPHA_5
        self._film: Film | None = None
        self._filmed: Viewpoint | None = None
        self._image: wire.ApiRenderImage | None = None
        self._image_key: tuple[object, ...] = ()
        self._darkroom = asyncio.Lock()  # one thread at a time works on the film

    async def work(self) -> None:
        """Renders until cancelled, and sends the events of it to open streams."""
        while True:
            if self.render.advance(time.monotonic()):
                self.tell(SimulatedKind.NEW_IMAGE)
                self.tell(SimulatedKind.NEW_STATISTICS)
            if self.render.state == wire.RSTATE_WAITING_FOR_DATA:
                await self._load()
            await asyncio.sleep(1 / self.settings.images_per_second)

    async def _load(self) -> None:
        """Gets the scene ready for the view that is asked for."""
        view = self.view
        async with self._darkroom:
            if view != self._filmed:
                self._film = await asyncio.to_thread(self._prepare, view)
                self._filmed = view
        if view == self.view:
            self.render.loaded()

    def _prepare(self, view: Viewpoint) -> Film:
        return Film(trace(view, self.settings.width, self.settings.height), self.settings.pitch, self.render.wipes)

    @contextmanager
    def listening(self) -> Iterator[Listener]:
        """Holds one callback stream open."""
        listener = Listener()
        self.listeners.add(listener)
        self.streams_opened += 1
        try:
            yield listener
        finally:
            self.listeners.discard(listener)

    def register(self, name: str, request: Any) -> int:
        """Takes the one registration of a kind, or gives it back where the request names no callback."""
        kind = SimulatedKind(name)
        if request.HasField("callback"):
            self.registered[kind] = request.userData
            return list(SimulatedKind).index(kind) + 1
        self.registered.pop(kind, None)
        return 0

    def tell(self, kind: SimulatedKind) -> None:
        """Sends an event on every open stream, if its kind is registered; project changes come unasked."""
        if kind in self.registered or kind is SimulatedKind.PROJECT_CHANGED:
            for listener in self.listeners:
                listener.tell(kind)

    def fail(self, error: int) -> None:
        """Makes the device fail, as a kernel crash would."""
        self.error = error
        self.render.stop()
        self.tell(SimulatedKind.RENDER_FAILURE)

    def aim(self, target: wire.ObjectRef) -> bool:
        """Sets the render target; that starts a render which was stopped."""
        if not target.handle:
            self.render.stop()
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

    def look(self, position: Point | None, target: Point | None, fov: float | None) -> None:
        """Moves the camera; parts that are None stay as they are."""
        now = self.view
        self.camera = Viewpoint(position or now.position, target or now.target, now.fov if fov is None else fov)
        self.render.restart()

    async def image(self) -> wire.ApiRenderImage | None:
        """The newest picture; None before the first sample."""
        async with self._darkroom:
            render, film = self.render, self._film
            if film is None or not render.samples:
                return None
            key = (render.samples, render.change_level, self.buffer_type)
            if key != self._image_key:
                # Numbers first: the render goes on while the film is developed.
                image = self._describe(render.samples)
                linear = self.buffer_type == wire.TONEMAP_BUFFER_TYPE_HDR_FLOAT
                data = await asyncio.to_thread(_develop, film, render.samples, linear)
                image.buffer.data, image.buffer.size = data, len(data)
                self._image, self._image_key = image, key
            return self._image

    def _describe(self, samples: int) -> wire.ApiRenderImage:
        linear = self.buffer_type == wire.TONEMAP_BUFFER_TYPE_HDR_FLOAT
        return wire.ApiRenderImage(
            type=wire.IMAGE_TYPE_HDR_RGBA if linear else wire.IMAGE_TYPE_LDR_RGBA,
            colorSpace=wire.NAMED_COLOR_SPACE_LINEAR_SRGB if linear else wire.NAMED_COLOR_SPACE_SRGB,
            isLinear=linear,
            size=wire.uint32_2(x=self.settings.width, y=self.settings.height),
            pitch=max(self.settings.pitch, self.settings.width),
            renderPassId=wire.RENDER_PASS_BEAUTY,
            tonemappedSamplesPerPixel=samples,
            calculatedSamplesPerPixel=samples,
            maxSamplesPerPixel=self.render.max_samples,
            samplesPerSecond=self._samples_per_second(),
            renderTime=self.render.seconds,
            changeLevel=wire.CLevelT(value=self.render.change_level),
            subSampling=wire.SUBSAMPLEMODE_NONE,
        )

    def statistics(self) -> wire.RenderResultStatistics:
        """What getRenderStatistics answers."""
        size = wire.uint32_2(x=self.settings.width, y=self.settings.height)
        render = self.render
        return wire.RenderResultStatistics(
            setSize=size,
            usedSize=size,
            subSampleMode=wire.SUBSAMPLEMODE_NONE,
            upSamplingRatio=1.0,
            changeLevel=wire.CLevelT(value=render.change_level),
            tonemapPassesCount=1,
            tonemapPasses=wire.ApiArrayRenderPassId(data=[wire.RENDER_PASS_BEAUTY]),
            passesCount=1,
            renderPasses=wire.ApiArrayRenderPassId(data=[wire.RENDER_PASS_BEAUTY]),
            beautyWipeCount=render.wipes,
            beautySamplesPerPixel=render.samples,
            beautyMaxSamplesPerPixel=render.max_samples,
            beautySamplesPerSecond=self._samples_per_second(),
            state=wire.RenderState.Name(render.state),
            renderTime=render.seconds,
            estimatedRenderTime=render.max_samples / render.samples_per_second,
        )

    def _samples_per_second(self) -> float:
        """Samples of all pixels together."""
        if self.render.state != wire.RSTATE_RENDERING:
            return 0.0
        return self.settings.width * self.settings.height * self.render.samples_per_second


def _develop(film: Film, samples: int, linear: bool) -> bytes:
    film.expose(samples)
    if not linear:
        return film.develop()
    # A real Octane forgets the size of a float here, and sends the top quarter of the rows.
    whole = film.develop_linear()
    return whole[: len(whole) // 4]
