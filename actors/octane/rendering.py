"""Carries out the commands that start and stop a render, and that set how it renders."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from actors.octane.arguments import ClayMode, Feather, PassName, Pixel, Priority, SubSampling
from actors.octane.controls import CLAY_MODES, PRIORITIES, SUB_SAMPLINGS, OctaneControls
from actors.octane.passes import MAX_TRACKS, pass_id
from actors.octane.pins import reference
from actors.system.actor import Reject
from protos import octane_types_pb2 as wire

# 1.5 s: Octane takes a command at the end of the samples it is computing; with the calls this stays under COMMAND_SECONDS.
CHECK_SECONDS = 1.5
CHECK_INTERVAL = 0.05
REPEAT_SECONDS = 0.25

_GOING = (wire.RSTATE_RENDERING, wire.RSTATE_WAITING_FOR_DATA, wire.RSTATE_FINISHED)

StatisticsCheck = Callable[[wire.RenderResultStatistics], bool]


class RenderCommands:
    """The commands about the render as a whole. Each is checked afterwards: some Octanes accept calls and do nothing."""

    def __init__(self, controls: OctaneControls) -> None:
        self._controls, self._link = controls, controls.link

    async def start(self) -> dict[str, Any]:
        """Starts the render, or goes on with a paused one; also after a stop."""
        statistics = await self._controls.read_render()
        if statistics.state == wire.RSTATE_STOPPED:
            await self._begin_again()
        else:
            await self._link.engine("continueRendering")
        await self._check("start", lambda now: now.state in _GOING)
        return await self._controls.answer()

    async def pause(self) -> dict[str, Any]:
        """Halts the render where it is; it keeps its devices."""
        await self._controls.read_render()
        await self._link.engine("pauseRendering")
        # A render that has only just begun may be loading, and some Octanes forget a pause meanwhile.
        await self._check("pause", lambda now: now.state == wire.RSTATE_PAUSED, again="pauseRendering")
        return await self._controls.answer()

    async def stop(self) -> dict[str, Any]:
        """Ends the render and frees its devices; `start` and `restart` begin it again."""
        # Also learns the target, which a stopped Octane has forgotten.
        await self._controls.read_render()
        await self._link.engine("stopRendering")
        await self._check("stop", lambda now: now.state == wire.RSTATE_STOPPED)
        return await self._controls.answer()

    async def restart(self) -> dict[str, Any]:
        """Renders from no samples; also after a stop."""
        before = await self._controls.read_render()
        if before.state == wire.RSTATE_STOPPED:
            await self._begin_again()
            await self._check("restart", lambda now: now.state in _GOING)
            return await self._controls.answer()
        await self._link.engine("restartRendering")
        await self._check("restart", lambda now: now.state in _GOING and _began_anew(before, now))
        return await self._controls.answer()

    async def set_priority(self, priority: Priority) -> dict[str, Any]:
        """Sets how much of its devices the render takes from the rest of the machine."""
        await self._link.engine("setRenderPriority", priority=PRIORITIES[priority])
        return await self._settled("priority", priority)

    async def set_sub_sampling(self, mode: SubSampling) -> dict[str, Any]:
        """Renders every second or fourth pixel in each direction only, for quicker pictures while one works."""
        await self._link.engine("setSubSampleMode", mode=SUB_SAMPLINGS[mode])
        return await self._settled("sub_sampling", mode)

    async def set_clay_mode(self, mode: ClayMode) -> dict[str, Any]:
        """Shows the scene's shapes without its materials, in grey or in their colours."""
        await self._link.engine("setClayMode", mode=CLAY_MODES[mode])
        return await self._settled("clay_mode", mode)

    async def set_region(
        self, left: Pixel, top: Pixel, right: Pixel, bottom: Pixel, feather: Feather = 0
    ) -> dict[str, Any]:
        """Renders only a part of the picture: from left and top up to right and bottom, feathered at its edges."""
        check_rectangle(left, top, right, bottom, self._controls.state.size)
        region = {"left": left, "top": top, "right": right, "bottom": bottom, "feather": feather}
        await self._link.engine(
            "setRenderRegion",
            active=True,
            regionMin=wire.uint32_2(x=left, y=top),
            regionMax=wire.uint32_2(x=right, y=bottom),
            featherWidth=feather,
        )
        return await self._settled("region", region)

    async def clear_region(self) -> dict[str, Any]:
        """Renders the whole picture again."""
        await self._link.engine("setRenderRegion", active=False)
        return await self._settled("region", None)

    async def set_passes(self, passes: list[PassName]) -> dict[str, Any]:
        """Chooses the render passes that are tone-mapped, and so can be watched; `beauty` is always one of them."""
        if len(passes) > MAX_TRACKS:
            raise Reject(f"passes must be at most {MAX_TRACKS} names")
        ids: dict[int, None] = {wire.RENDER_PASS_BEAUTY: None}
        for name in passes:
            if (found := pass_id(name)) is None:
                raise Reject(
                    f"passes must be names of render passes, such as beauty, z_depth or pass-501, and not {name[:40]!r}"
                )
            ids[found] = None
        pinned, before = self._link.pinned, self._link.pinned.ids
        try:
            await self._tonemap_passes(pinned.choose(ids), passes)
        except BaseException:
            pinned.choose(before)
            raise
        return await self._controls.answer()

    async def _tonemap_passes(self, ids: list[int], names: list[str]) -> None:
        """Has passes tone-mapped. Raises Reject where the ones of these names are not afterwards."""
        chosen = wire.ApiArrayRenderPassId(data=ids)  # type: ignore[arg-type] # numbers that the enum has no name for
        answer = await self._link.engine("setAsyncTonemapRenderPasses", tonemapPasses=chosen)
        if not answer.result:
            raise Reject(
                f"octane did not take the passes {', '.join(names)}; they must be enabled in its render target"
            )
        await self._controls.read_render()
        if missing := [name for name in names if name not in self._controls.state.passes]:
            raise Reject(f"octane did not switch on {', '.join(missing)}; it must be enabled in its render target")

    async def _begin_again(self) -> None:
        """Renders the target that was rendered last. Raises Reject where none is known, or where Octane does not take it."""
        now = await self._link.engine_knows("getRenderTargetNode")
        if now is not None and now.result.handle:
            await self._link.engine("restartRendering")
            return
        target = self._controls.state.target
        if target is None:
            raise Reject("octane renders nothing, and no render target is known here; choose one in Octane")
        answer = await self._link.engine("setRenderTargetNode", targetNode=reference(target))
        if not answer.result:
            raise Reject("octane did not take the render target of before; choose one in Octane")

    async def _check(self, what: str, done: StatisticsCheck, again: str | None = None) -> None:
        """Waits until the statistics show that a command was carried out. Raises Reject where they do not.

        `again` is a call that is repeated now and then until they do.
        """
        repeated = time.monotonic()
        deadline = repeated + CHECK_SECONDS
        while True:
            statistics = await self._controls.read_render()
            if done(statistics):
                return
            now = time.monotonic()
            if again is not None and now - repeated > REPEAT_SECONDS:
                repeated = now
                await self._link.engine(again)
            if now > deadline:
                raise Reject(f"octane did not {what}: the render is still {self._controls.state.render}")
            await asyncio.sleep(CHECK_INTERVAL)

    async def _settled(self, name: str, wanted: Any) -> dict[str, Any]:
        """Reads the settings back. Raises Reject where one is not what was wanted."""
        await self._controls.read_settings()
        found = getattr(self._controls.state, name)
        if found != wanted:
            raise Reject(f"octane did not take it: {name} is {found}")
        return await self._controls.answer()


def check_rectangle(left: int, top: int, right: int, bottom: int, size: tuple[int, int]) -> None:
    """Raises Reject for edges that are no rectangle inside a picture of this size; (0, 0) stands for an unknown size."""
    if left >= right:
        raise Reject(f"left must be less than right, which is {right}, and not {left}")
    if top >= bottom:
        raise Reject(f"top must be less than bottom, which is {bottom}, and not {top}")
    width, height = size
    if width and right > width:
        raise Reject(f"right must be at most {width}, the width of the picture")
    if height and bottom > height:
        raise Reject(f"bottom must be at most {height}, the height of the picture")


def _began_anew(before: wire.RenderResultStatistics, now: wire.RenderResultStatistics) -> bool:
    """Whether a render has begun from no samples between two readings."""
    return (
        now.beautyWipeCount != before.beautyWipeCount
        or now.beautySamplesPerPixel < before.beautySamplesPerPixel
        or not before.beautySamplesPerPixel
    )
