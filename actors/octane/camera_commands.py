"""Carries out the commands that read and move the camera."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from actors.octane.arguments import Degrees, Factor, Fraction, Point3, Radians, View
from actors.octane.camera import CameraHistory, CameraPose, dolly, fault_of, orbit, pan, preset
from actors.octane.controls import ControlsState, OctaneControls
from actors.octane.live_link import set_camera
from actors.system.actor import Reject
from actors.system.caller import caller
from actors.system.context import Context

logger = logging.getLogger(__name__)

# 10 moves a second reach Octane: each restarts its render, and more would leave no time to render anything.
MOVE_SECONDS = 0.1


class CameraCommands:
    """The camera of one Octane. Moves that come faster than Octane takes them are merged: the newest wins."""

    def __init__(self, controls: OctaneControls) -> None:
        self._controls, self._link = controls, controls.link
        self._history = CameraHistory()
        # The camera that was there when the project was opened, or the connection made: `reset_camera` leads to it.
        self._home: CameraPose | None = None
        # Where the moves so far lead to; None where the camera has to be read first.
        self._wanted: CameraPose | None = None
        self._sent = -1e9
        self._waits = asyncio.Event()
        self._sending = asyncio.Lock()
        self._ctx: Context | None = None
        controls.readers.append(self._learn_from)

    def begin(self, ctx: Context) -> None:
        """Sends the last of many moves from now on."""
        self._ctx = ctx
        ctx.source("camera", self._keep_sending, None)

    def forget(self) -> None:
        """Forgets what it knows of the camera: another project was opened, or another Octane answers."""
        self._home = self._wanted = None
        self._history.clear()
        self._waits.clear()

    async def get_camera(self) -> dict[str, Any]:
        """Reads where the camera is, and what it looks at."""
        await self._controls.read_camera()
        return await self._controls.answer()

    async def set_camera(
        self,
        position: Point3 | None = None,
        target: Point3 | None = None,
        up: Point3 | None = None,
        fov: Degrees | None = None,
    ) -> dict[str, Any]:
        """Sets the camera; what is not given stays as it is."""
        given: dict[str, Any] = {"position": position, "target": target, "up": up, "fov": fov}
        given = {name: value for name, value in given.items() if value is not None}
        if not given:
            raise Reject("at least one of position, target, up and fov must be given")
        return await self._move(lambda pose: replace(pose, **given))

    async def orbit(self, dx: Radians, dy: Radians) -> dict[str, Any]:
        """Turns the camera around its target, as a pointer does that goes right by dx and down by dy."""
        return await self._move(lambda pose: orbit(pose, dx, dy))

    async def pan(self, dx: Fraction, dy: Fraction) -> dict[str, Any]:
        """Moves camera and target across the view, as a pointer does that goes right by dx and down by dy."""
        return await self._move(lambda pose: pan(pose, dx, dy))

    async def dolly(self, factor: Factor) -> dict[str, Any]:
        """Multiplies the camera's distance to its target; less than 1 goes nearer."""
        return await self._move(lambda pose: dolly(pose, factor))

    async def preset_camera(self, view: View) -> dict[str, Any]:
        """Looks at the target along one of the axes, from the same distance."""
        return await self._move(lambda pose: preset(pose, view), at_once=True)

    async def reset_camera(self) -> dict[str, Any]:
        """Puts the camera back to where it was when the project was opened or the connection made."""
        home = self._home
        if home is None:
            raise Reject("no camera to reset to is known: octane had none when the connection was made")
        return await self._move(lambda _: home, at_once=True)

    async def undo_camera(self) -> dict[str, Any]:
        """Takes back the last move of the camera, or the last drag."""
        before = self._history.undo()
        if before is None:
            raise Reject("no move of the camera can be undone")
        self._wanted = before
        try:
            await self._send(caller())
        except Exception:
            self._history.note(before, self._now(), None)
            raise
        self._wanted = None
        return await self._controls.answer({"steps": len(self._history)})

    async def _move(self, change: Callable[[CameraPose], CameraPose], *, at_once: bool = False) -> dict[str, Any]:
        """Moves the camera; a move too soon after the last one is sent a little later, merged with what follows it."""
        by = caller()
        pose = await self._pose(by)
        self._home = self._home or pose
        wanted = change(pose)
        if fault := fault_of(wanted):
            raise Reject(f"position, target and up must give a view: {fault}")
        # Where the render is stopped, Octane refuses moves; the caller is to hear that.
        at_once = at_once or self._controls.state.render == "stopped"
        if at_once or self._now() - self._sent >= MOVE_SECONDS:
            self._wanted = wanted
            await self._send(by)
            if at_once:
                # No drag: the next move begins where Octane has the camera, whatever it made of this one.
                self._wanted = None
            self._history.note(pose, self._now(), by)
            return await self._controls.answer(brief=True)
        self._history.note(pose, self._now(), by)
        self._wanted = wanted
        self._controls.state.camera, self._controls.state.camera_by = wanted, by
        self._waits.set()
        # Neither sent nor read back yet: it shows where the move leads to, and the event follows once it is sent.
        return {**self._controls.shown(), "result": {"merged": True}}

    async def _pose(self, by: str | None) -> CameraPose:
        """Where the camera is now: within a drag where its moves led to, else as Octane says."""
        if self._wanted is not None and (self._waits.is_set() or self._history.moves(self._now(), by)):
            return self._wanted
        return await self._controls.read_camera()

    async def _send(self, by: str | None) -> None:
        """Sends where the camera is to be, and reads it back. Raises Reject, Declined or Disconnected."""
        async with self._sending:
            self._waits.clear()
            wanted = self._wanted
            if wanted is None:
                return
            self._sent = self._now()
            try:
                await set_camera(self._link, wanted)
            except Exception:
                self._wanted = None
                raise
            if self._waits.is_set():
                # A newer move came meanwhile, and is what the controls show already.
                return
            found = await self._controls.read_camera()
            self._controls.state.camera_by = by
            if not found.near(wanted):
                logger.info("Octane put the camera elsewhere", extra={"wanted": wanted, "found": found})

    async def _keep_sending(self, beat: Callable[[], None]) -> None:
        """Sends the last of the moves that came too fast."""
        while True:
            await self._waits.wait()
            await asyncio.sleep(max(0.0, self._sent + MOVE_SECONDS - self._now()))
            beat()
            if not self._waits.is_set():
                continue
            self._controls.command_begins()
            try:
                async with self._link.patiently():
                    await self._send(self._controls.state.camera_by)
                await self._controls.publish(brief=True)
                self._link.look()
            except Reject as fault:
                self._waits.clear()
                # What was shown as the camera is not where it is.
                self._controls.ask()
                logger.warning("a move of the camera did not reach Octane", extra={"reason": str(fault)})
            finally:
                self._controls.command_ends()

    async def _learn_from(self, state: ControlsState) -> None:
        """Takes the camera of now for the one to reset to, where none is known yet."""
        if self._home is None and state.render != "stopped":
            self._home = state.camera

    def _now(self) -> float:
        assert self._ctx is not None
        return self._ctx.now()
