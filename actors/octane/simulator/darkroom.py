"""Develops the simulator's film into the images of a render result, one for each tonemapped pass."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from actors.octane.simulator.colour import is_linear
from actors.octane.simulator.film import Film
from actors.octane.simulator.packing import Tonemap, as_converted, pack
from actors.octane.simulator.passes import GeometryBuffer
from actors.octane.simulator.render import Render
from actors.octane.simulator.scene import Floats, Plate, Viewpoint, trace
from actors.octane.simulator.settings import SimulatorSettings
from protos import octane_types_pb2 as wire


@dataclass(frozen=True, slots=True)
class Scene:
    """What the film is of: equal scenes need no new one."""

    view: Viewpoint
    grey: bool = False  # clay mode


@dataclass(frozen=True, slots=True)
class Order:
    """What images are wanted, and how."""

    passes: Sequence[int]
    image_type: int
    tonemap: Tonemap
    whole: bool  # all bytes, where Octane's own converter cuts them
    sub_sampling: int = wire.SUBSAMPLEMODE_NONE
    # What the imager does: factors of red, green and blue, and its gamma.
    gains: tuple[float, float, float] = (1.0, 1.0, 1.0)
    gamma: float = 1.0


class Darkroom:
    """The film of one render. One thread at a time works in it."""

    def __init__(self, settings: SimulatorSettings) -> None:
        self._settings = settings
        self._lock = asyncio.Lock()
        self._scene: Scene | None = None
        self._film: Film | None = None
        self._geometry: GeometryBuffer | None = None
        self._images: list[wire.ApiRenderImage] = []
        self._key: tuple[object, ...] = ()

    async def load(self, scene: Scene, seed: int) -> None:
        """Gets a scene ready, unless it is the one that is there."""
        async with self._lock:
            if scene != self._scene:
                self._film, self._geometry = await asyncio.to_thread(self._prepare, scene, seed), None
                self._scene = scene

    async def develop(self, render: Render, order: Order) -> list[wire.ApiRenderImage]:
        """The newest images; none before the first sample."""
        async with self._lock:
            if self._film is None or not render.region_samples:
                return []
            key: tuple[object, ...] = (
                render.exposure,
                render.change_level,
                render.max_samples,
                order.image_type,
                order.tonemap,
            )
            key = (*key, order.whole, order.sub_sampling, order.gains, order.gamma, *order.passes)
            if key != self._key:
                # Numbers first: the render goes on while the film is developed.
                images = [self._describe(render, order, render_pass) for render_pass in order.passes]
                await asyncio.to_thread(self._fill, images, self._film, render, order)
                self._images, self._key = images, key
            return self._images

    async def light(self, render: Render) -> Floats | None:
        """The light on the film so far, in an array of its own; None before the first sample."""
        async with self._lock:
            if self._film is None or not render.region_samples:
                return None
            self._film.expose(render.exposure)
            return self._film.light().copy()

    async def passes(self, render: Render, render_pass: int) -> tuple[Floats, Floats | None] | None:
        """The light of one pass and its alpha; None before the first sample."""
        light = await self.light(render)
        if light is None:
            return None
        geometry = await asyncio.to_thread(self._traced)
        return geometry.show(render_pass, light), geometry.alpha if self._settings.alpha else None

    def _prepare(self, scene: Scene, seed: int) -> Film:
        plate = trace(scene.view, self._settings.width, self._settings.height)
        if scene.grey:
            plate = Plate(np.repeat(plate.light.mean(axis=2, keepdims=True), 3, axis=2), plate.noise)
        return Film(plate, seed)

    def _traced(self) -> GeometryBuffer:
        if self._geometry is None:
            assert self._scene is not None
            self._geometry = GeometryBuffer(self._scene.view, self._settings.width, self._settings.height)
        return self._geometry

    def _fill(self, images: list[wire.ApiRenderImage], film: Film, render: Render, order: Order) -> None:
        film.expose(render.exposure)
        light = film.light()
        if order.sub_sampling > wire.SUBSAMPLEMODE_NONE:
            _coarsen(light, order.sub_sampling)
        if order.gains != (1, 1, 1):
            light *= np.array(order.gains, np.float32)
        if order.gamma != 1:
            np.power(np.maximum(light, 0), np.float32(1 / order.gamma), out=light)
        alpha = self._traced().alpha if self._settings.alpha else None
        only_beauty = list(order.passes) == [wire.RENDER_PASS_BEAUTY]
        for image, render_pass in zip(images, order.passes, strict=True):
            shown = light if only_beauty else self._traced().show(render_pass, light.copy())
            data = pack(shown, alpha, order.image_type, order.tonemap, image.pitch)
            if not order.whole:
                data = as_converted(data, order.image_type, image.pitch * image.size.y)
            image.buffer.data, image.buffer.size = data, len(data)

    def _describe(self, render: Render, order: Order, render_pass: int) -> wire.ApiRenderImage:
        settings = self._settings
        return wire.ApiRenderImage(
            type=wire.ImageType.Name(order.image_type),
            colorSpace=wire.NamedColorSpace.Name(order.tonemap.space),
            isLinear=is_linear(order.tonemap.space),
            size=wire.uint32_2(x=settings.width, y=settings.height),
            pitch=max(settings.pitch, settings.width),
            renderPassId=render_pass if settings.pass_ids else 0,  # type: ignore[arg-type]
            tonemappedSamplesPerPixel=render.samples,
            calculatedSamplesPerPixel=render.samples,
            regionSamplesPerPixel=render.region_samples,
            maxSamplesPerPixel=render.max_samples,
            samplesPerSecond=speed(render, settings),
            renderTime=render.seconds,
            changeLevel=wire.CLevelT(value=render.change_level),
            subSampling=wire.SubSampleMode.Name(order.sub_sampling),
            hasAlpha=settings.alpha,
            premultipliedAlphaType=wire.PremultipliedAlphaType.Name(order.tonemap.premultiplied),
        )


def speed(render: Render, settings: SimulatorSettings) -> float:
    """Samples a second, of all pixels together."""
    if render.state != wire.RSTATE_RENDERING:
        return 0.0
    return settings.width * settings.height * render.samples_per_second


def _coarsen(light: Floats, step: int) -> None:
    """Gives all pixels of a square the light of its first, as sub-sampling does."""
    height, width, _ = light.shape
    coarse = light[::step, ::step].repeat(step, axis=0).repeat(step, axis=1)
    light[:] = coarse[:height, :width]
