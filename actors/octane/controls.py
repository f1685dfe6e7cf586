"""Reads what an Octane is set to, keeps it, and publishes it whenever it changes."""

from __future__ import annotations

import asyncio
import copy
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from actors.octane.announcing import publish
from actors.octane.camera import CameraPose
from actors.octane.errors import Declined
from actors.octane.link import OctaneLink
from actors.octane.live_link import read_camera
from actors.octane.passes import track_name
from actors.octane.waiting import within
from actors.system.actor import Reject
from actors.system.context import Context
from protos import octane_types_pb2 as wire
from router.errors import BrokerError
from router.subject import Subject

logger = logging.getLogger(__name__)

RENDER_STATES = {
    wire.RSTATE_STOPPED: "stopped",
    wire.RSTATE_WAITING_FOR_DATA: "waiting",
    wire.RSTATE_RENDERING: "rendering",
    wire.RSTATE_PAUSED: "paused",
    wire.RSTATE_FINISHED: "finished",
}
PRIORITIES = {"low": 0, "normal": 1, "high": 2}
SUB_SAMPLINGS = {"none": wire.SUBSAMPLEMODE_NONE, "2x2": wire.SUBSAMPLEMODE_2X2, "4x4": wire.SUBSAMPLEMODE_4X4}
CLAY_MODES = {"none": 0, "grey": 1, "colour": 2}

# 2 s: what somebody changes in Octane itself, or another client of it, is seen this soon.
READ_SECONDS = 2.0


# 60 s: longer than a reading takes that publishes the same for good.
BRIEF_SECONDS = 60.0


@dataclass(slots=True)
class ControlsState:
    """What an Octane is set to. None stands for what it did not say."""

    render: str = "waiting"
    samples: int = 0
    max_samples: int = 0
    # The size of the picture in pixels; (0, 0) until Octane has said it.
    size: tuple[int, int] = (0, 0)
    wipes: int = 0
    priority: str | None = None
    sub_sampling: str | None = None
    clay_mode: str | None = None
    region: dict[str, int] | None = None
    film_region: dict[str, int] | None = None
    camera: CameraPose | None = None
    camera_by: str | None = None
    tonemap: dict[str, Any] = field(default_factory=dict)
    passes: list[str] = field(default_factory=list)
    # The node that is rendered, or was before the render was stopped: handle and type.
    target: tuple[int, int] | None = None
    # Larger whenever it is told: milliseconds since the epoch, or one more than before.
    revision: int = 0

    def shown(self) -> dict[str, Any]:
        """As answers and events show it."""
        return {
            "render": self.render,
            "samples": self.samples,
            "max_samples": self.max_samples,
            "width": self.size[0],
            "height": self.size[1],
            "priority": self.priority,
            "sub_sampling": self.sub_sampling,
            "clay_mode": self.clay_mode,
            "region": self.region,
            "film_region": self.film_region,
            "camera": self.camera.shown() if self.camera else None,
            "camera_by": self.camera_by,
            "tonemap": dict(self.tonemap),
            "passes": list(self.passes),
            "target": None if self.target is None else {"handle": self.target[0], "type": self.target[1]},
            "revision": self.revision,
        }

    def take(self, statistics: wire.RenderResultStatistics) -> None:
        """Takes over what statistics say."""
        size = statistics.usedSize if statistics.usedSize.x else statistics.setSize
        self.render = RENDER_STATES.get(statistics.state, str(statistics.state))
        self.samples, self.max_samples = statistics.beautySamplesPerPixel, statistics.beautyMaxSamplesPerPixel
        self.wipes = statistics.beautyWipeCount
        self.size = (size.x, size.y)
        self.passes = [track_name(each) for each in statistics.tonemapPasses.data][:32]


class OctaneControls:
    """What the Octane of one actor is set to."""

    def __init__(self, link: OctaneLink) -> None:
        self.link = link
        self.state = ControlsState()
        # Readers that find more beside the render engine's own: they fill in a state, and may raise Declined.
        self.readers: list[Callable[[ControlsState], Any]] = []
        self._ctx: Context | None = None
        self._told: dict[str, Any] | None = None
        self._brief = False
        self._asked = asyncio.Event()
        self._commands = 0
        self._changes = 0

    async def begin(self, ctx: Context) -> None:
        """Recalls what an earlier incarnation knew, and keeps reading from now on."""
        self._ctx = ctx
        event = await ctx.last(Subject.of("octane", ctx.instance, "controls"))
        if event is not None:
            match event.data.get("target"):
                case {"handle": int(handle), "type": int(kind)}:
                    self.state.target = (handle, kind)
            self.state.revision = event.data.get("revision") or 0
            by = event.data.get("camera_by")
            self.state.camera_by = by if isinstance(by, str) else None
            self.state.camera = _camera_of(event.data.get("camera"))
        ctx.source("controls", self._keep_reading, None)

    def ask(self) -> None:
        """Reads soon: a connection was made, or a project opened."""
        self._asked.set()

    def command_begins(self) -> None:
        """Keeps what is being read meanwhile from replacing what a command is about to find."""
        self._commands += 1
        self._changes += 1

    def command_ends(self) -> None:
        """Ends what `command_begins` began."""
        self._commands -= 1
        self._changes += 1

    async def answer(self, result: dict[str, Any] | None = None, *, brief: bool = False) -> dict[str, Any]:
        """Publishes the controls if they changed, `brief` ones for a short time, and returns them as a command's answer."""
        await self.publish(brief=brief)
        self.link.look()
        shown = self.shown()
        return shown if result is None else {**shown, "result": result}

    def shown(self) -> dict[str, Any]:
        """The controls of now, as answers and events show them.

        Their `revision` tells a reader which of two are newer: an answer may arrive later than the event of the next change.
        """
        self.state.revision = max(self.state.revision + 1, time.time_ns() // 1_000_000)
        return self.state.shown()

    async def read_all(self) -> dict[str, Any]:
        """Reads everything, and answers with it. Raises Reject, Declined or Disconnected."""
        await self._read(self.state)
        return await self.answer()

    async def read_render(self) -> wire.RenderResultStatistics:
        """Reads how far the render is, and which node it renders. Raises Reject, Declined or Disconnected."""
        return await self._read_render(self.state)

    async def read_settings(self) -> None:
        """Reads priority, sub-sampling, clay mode and region. Raises Reject or Disconnected."""
        await self._read_settings(self.state)

    async def read_camera(self) -> CameraPose:
        """Reads the camera; another than the known one was moved by somebody else. Raises Reject, Declined or Disconnected."""
        return await self._read_camera(self.state)

    async def publish(self, *, brief: bool = False) -> None:
        """Publishes the controls, if anything but the samples changed.

        Brief ones expire, so that long drags do not fill EVENTS; where the last ones were brief, the next reading publishes
        what has come of them for good.
        """
        assert self._ctx is not None
        shown = self.shown()
        told = {name: value for name, value in shown.items() if name not in ("samples", "max_samples", "revision")}
        if told == self._told and (brief or not self._brief):
            return
        try:
            await publish(self._ctx, "controls", shown, key=self._ctx.instance, ttl=BRIEF_SECONDS if brief else None)
            self._told, self._brief = told, brief
        except BrokerError as fault:
            # Published with the next reading: what was not told is still a change then.
            logger.warning("Octane's controls could not be published", extra={"reason": str(fault)})

    async def _keep_reading(self, beat: Callable[[], None]) -> None:
        while True:
            await within(READ_SECONDS, self._asked.wait())
            self._asked.clear()
            beat()
            if self.link.client is None or self.link.obstacle:
                continue
            fresh, changes = copy.copy(self.state), self._changes
            try:
                async with self.link.patiently():
                    await self._read(fresh)
            except Reject as fault:
                logger.debug("Octane's controls could not be read", extra={"reason": str(fault)})
                continue
            # A command that ran meanwhile knows better.
            if not self._commands and changes == self._changes:
                self.state = fresh
                await self.publish()

    async def _read(self, state: ControlsState) -> None:
        await self._read_render(state)
        await self._read_settings(state)
        try:
            await self._read_camera(state)
        except Declined:
            # Without a render target there is no camera either.
            state.camera = None
        for reader in self.readers:
            await reader(state)

    async def _read_render(self, state: ControlsState) -> wire.RenderResultStatistics:
        statistics = await self.link.statistics()
        state.take(statistics)
        answer = await self.link.engine_knows("getRenderTargetNode")
        if answer is not None and answer.result.handle:
            state.target = (answer.result.handle, answer.result.type)
        return statistics

    async def _read_settings(self, state: ControlsState) -> None:
        if (answer := await self.link.engine_knows("renderPriority")) is not None:
            state.priority = _name(PRIORITIES, answer.result)
        if (answer := await self.link.engine_knows("getSubSampleMode")) is not None:
            state.sub_sampling = _name(SUB_SAMPLINGS, answer.result) if answer.result else "none"
        if (answer := await self.link.engine_knows("clayMode")) is not None:
            state.clay_mode = _name(CLAY_MODES, answer.result)
        if (answer := await self.link.engine_knows("getRenderRegion")) is not None:
            least, most = answer.regionMin, answer.regionMax
            state.region = (
                {"left": least.x, "top": least.y, "right": most.x, "bottom": most.y, "feather": answer.featherWidth}
                if answer.active
                else None
            )

    async def _read_camera(self, state: ControlsState) -> CameraPose:
        if state.render == "stopped" and state.camera is not None:
            # A stopped Octane answers with a camera of its own, which is nowhere in the scene.
            return state.camera
        pose = await read_camera(self.link)
        if state.camera is None or not pose.near(state.camera):
            state.camera_by = None
        state.camera = pose
        return pose


def _name(names: Mapping[str, int], value: int) -> str:
    return next((name for name, number in names.items() if number == value), str(value))


def _camera_of(shown: Any) -> CameraPose | None:
    """The camera that an event shows; None where it shows none."""
    match shown:
        case {"position": [x, y, z], "target": [a, b, c], "up": [u, v, w], "fov": fov} if all(
            isinstance(each, int | float) for each in (x, y, z, a, b, c, u, v, w)
        ):
            return CameraPose((x, y, z), (a, b, c), (u, v, w), fov if isinstance(fov, int | float) else None)
    return None
