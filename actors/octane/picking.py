"""Carries out the command that looks up what is at a pixel of the picture."""

from __future__ import annotations

import math
from typing import Any

from actors.octane.arguments import PickKind, Pixel
from actors.octane.controls import OctaneControls
from actors.octane.errors import Declined
from actors.octane.imager import ImagerCommands
from actors.octane.live_link import apply_changes
from actors.octane.pins import AUTOFOCUS, FOCAL_DEPTH, OctanePins
from actors.system.actor import Reject
from protos import octane_render_pb2 as render
from protos import octane_types_pb2 as wire


class PickCommands:
    """Picks: focus and white point are applied too, where this Octane lets them be set."""

    def __init__(self, controls: OctaneControls, pins: OctanePins, imager: ImagerCommands) -> None:
        self._controls, self._link, self._pins, self._imager = controls, controls.link, pins, imager

    async def pick(self, x: Pixel, y: Pixel, what: PickKind) -> dict[str, Any]:
        """Tells what is at a pixel; `focus` focuses the camera there, `white_point` makes its colour white."""
        width, height = self._controls.state.size
        if width and x >= width:
            raise Reject(f"x must be less than {width}, the width of the picture")
        if height and y >= height:
            raise Reject(f"y must be less than {height}, the height of the picture")
        if what == "white_point":
            result = await self._white_point(x, y)
        else:
            answer = await self._link.engine(
                "pick", x=x, y=y, filterDuplicateMaterialPins=what == "material", intersectionsSize=1
            )
            if not answer.result:
                return await self._controls.answer({"x": x, "y": y, "what": what, "found": False})
            result = await self._described(answer.intersections)
            if what == "focus":
                result |= await self._focus(result["distance"])
        return await self._controls.answer({"x": x, "y": y, "what": what, "found": True, **result})

    async def _described(self, found: render.ApiRenderEngine.ApiRenderEngine_PickIntersection) -> dict[str, Any]:
        position = _vector(found.position)
        camera = self._controls.state.camera
        return {
            "node": {"handle": found.node.handle, "type": int(found.node.type)},
            "material_pin": found.materialPinIx,
            "position": position,
            "normal": _vector(found.smoothedNormal),
            "geometric_normal": _vector(found.geometricNormal),
            "depth": round(found.depth, 6),
            # From the camera; without one, the depth is all that is known.
            "distance": round(math.dist(camera.position, position) if camera else found.depth, 6),
        }

    async def _focus(self, distance: float) -> dict[str, Any]:
        """Focuses the camera at a distance. It says whether it could; the pick itself is answered all the same."""
        target = self._controls.state.target
        if target is None:
            return {"applied": False, "reason": "octane has no render target"}
        try:
            await self._pins.set(target, AUTOFOCUS, False)
            await self._pins.set(target, FOCAL_DEPTH, distance)
            await apply_changes(self._link)
            found = await self._pins.get(target, FOCAL_DEPTH)
        except Declined as fault:
            return {"applied": False, "reason": f"not available on this Octane: {fault}"}
        applied = found is not None and math.isclose(found, distance, rel_tol=1e-3)
        return {"applied": applied} if applied else {"applied": False, "reason": f"octane focuses at {found}"}

    async def _white_point(self, x: int, y: int) -> dict[str, Any]:
        answer = await self._link.engine("pickWhitePoint", x=x, y=y)
        if not answer.result:
            raise Reject("octane found no white point there: it needs a rendered pixel that is not black")
        colour = _vector(answer.whitePoint)
        most = max(colour)
        try:
            white = (colour[0] / most, colour[1] / most, colour[2] / most) if most > 0 else (1.0, 1.0, 1.0)
            await self._imager.set_tonemap(white_balance=white)
        except (Declined, Reject) as fault:
            return {"white_point": colour, "applied": False, "reason": str(fault)}
        return {"white_point": colour, "applied": True}


def _vector(vector: wire.float_3) -> tuple[float, float, float]:
    return round(vector.x, 6), round(vector.y, 6), round(vector.z, 6)
