"""Carries out the commands that set the render target's imager and film: tone mapping and film region."""

from __future__ import annotations

import math
import time
from typing import Any

from actors.octane.arguments import Exposure, Gamma, Pixel, White
from actors.octane.controls import ControlsState, OctaneControls
from actors.octane.errors import Declined
from actors.octane.live_link import apply_changes
from actors.octane.pins import EXPOSURE, GAMMA, REGION_OFFSET, REGION_SIZE, RESOLUTION, WHITE_BALANCE, OctanePins, Pin
from actors.octane.rendering import check_rectangle
from actors.system.actor import Reject

# 10 s: what is changed in Octane itself is seen this soon; it takes a dozen calls.
READ_SECONDS = 10.0


class ImagerCommands:
    """The commands about values of pins. Octane has no calls of its own for them, only those of the node service."""

    def __init__(self, controls: OctaneControls, pins: OctanePins) -> None:
        self._controls, self._link, self._pins = controls, controls.link, pins
        self._read_at = -math.inf
        controls.readers.append(self._read_now_and_then)

    def forget(self) -> None:
        """Reads with the next reading, whatever was read of another Octane or project."""
        self._read_at = -math.inf
        self._pins.forget()

    async def set_tonemap(
        self, exposure: Exposure | None = None, gamma: Gamma | None = None, white_balance: White | None = None
    ) -> dict[str, Any]:
        """Sets exposure, gamma and white balance of the camera's imager; what is not given stays as it is."""
        if exposure is None and gamma is None and white_balance is None:
            raise Reject("at least one of exposure, gamma and white_balance must be given")
        target = self._target()
        for pin, value in ((EXPOSURE, exposure), (GAMMA, gamma)):
            if value is not None:
                await self._pins.set(target, pin, value)
        if white_balance is not None:
            await self._pins.set(target, WHITE_BALANCE, white_balance)
        await apply_changes(self._link)
        await self._read(self._controls.state)
        found = self._controls.state.tonemap
        wanted: dict[str, Any] = {
            "exposure": exposure,
            "gamma": gamma,
            "white_balance": white_balance and list(white_balance),
        }
        for name, value in wanted.items():
            if value is not None and not _same(value, found.get(name)):
                raise Reject(f"octane did not take it: {name} is {found.get(name)}")
        return await self._controls.answer()

    async def set_film_region(self, left: Pixel, top: Pixel, right: Pixel, bottom: Pixel) -> dict[str, Any]:
        """Renders only this part of the film, and makes pictures of its size."""
        target = self._target()
        # The film, not the picture: that is as small as the film region of before.
        size = await self._pins.get(target, RESOLUTION)
        check_rectangle(left, top, right, bottom, size or (0, 0))
        return await self._set_film_region(target, (left, top), (right - left, bottom - top))

    async def clear_film_region(self) -> dict[str, Any]:
        """Renders the whole film again."""
        target = self._target()
        size = await self._pins.get(target, RESOLUTION)
        if size is None:
            raise Reject("not available on this Octane: it does not tell the resolution of its film")
        return await self._set_film_region(target, (0, 0), size)

    async def _set_film_region(
        self, target: tuple[int, int], offset: tuple[int, int], size: tuple[int, int]
    ) -> dict[str, Any]:
        await self._pins.set(target, REGION_OFFSET, offset)
        await self._pins.set(target, REGION_SIZE, size)
        await apply_changes(self._link)
        found = (await self._pins.get(target, REGION_OFFSET), await self._pins.get(target, REGION_SIZE))
        await self._read(self._controls.state)
        if found != (offset, size):
            raise Reject(f"octane did not take it: the film region has offset and size {found[0]} and {found[1]}")
        await self._controls.read_render()
        return await self._controls.answer()

    def _target(self) -> tuple[int, int]:
        """The render target's handle and type. Raises Reject where there is none."""
        target = self._controls.state.target
        if target is None:
            raise Reject("octane has no render target, so it has no imager and no film")
        return target

    async def _read_now_and_then(self, state: ControlsState) -> None:
        if state.target is None or time.monotonic() - self._read_at < READ_SECONDS:
            return
        self._read_at = time.monotonic()
        try:
            await self._read(state)
        except Declined:
            # It has no node service, or no such pins: what is not known is not shown.
            state.tonemap, state.film_region = {}, None

    async def _read(self, state: ControlsState) -> None:
        target = state.target
        if target is None:
            return
        white = await self._value(target, WHITE_BALANCE)
        exposure, gamma = await self._value(target, EXPOSURE), await self._value(target, GAMMA)
        shown: dict[str, Any] = {
            "exposure": _rounded(exposure),
            "gamma": _rounded(gamma),
            "white_balance": white and [_rounded(each) for each in white],
        }
        state.tonemap = {name: value for name, value in shown.items() if value is not None}
        state.film_region = await self._film_region(target)

    async def _film_region(self, target: tuple[int, int]) -> dict[str, int] | None:
        """The film region; None where it is the whole film, or Octane does not say."""
        film = await self._value(target, RESOLUTION)
        offset, size = await self._value(target, REGION_OFFSET), await self._value(target, REGION_SIZE)
        if film is None or offset is None or size is None or not all(size) or (offset == (0, 0) and size == film):
            return None
        return {"left": offset[0], "top": offset[1], "right": offset[0] + size[0], "bottom": offset[1] + size[1]}

    async def _value(self, target: tuple[int, int], pin: Pin[Any]) -> Any:
        """The value of a pin; None where this Octane declines to tell it."""
        try:
            return await self._pins.get(target, pin)
        except Declined:
            return None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _same(wanted: Any, found: Any) -> bool:
    if isinstance(wanted, list):
        return isinstance(found, list) and len(found) == len(wanted) and all(map(_same, wanted, found))
    return isinstance(found, int | float) and math.isclose(wanted, found, rel_tol=1e-4, abs_tol=1e-5)
