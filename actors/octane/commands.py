"""Gathers the commands of one Octane, and sees to it that none of them ends the actor's incarnation."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from actors.octane.camera_commands import CameraCommands
from actors.octane.client import OctaneClient
from actors.octane.controls import OctaneControls
from actors.octane.imager import ImagerCommands
from actors.octane.link import COMMAND_SECONDS, OctaneLink
from actors.octane.picking import PickCommands
from actors.octane.pins import OctanePins
from actors.octane.rendering import RenderCommands
from actors.octane.reports import ReportCommands
from actors.octane.saving import SaveCommands
from actors.system.context import Context

# 25 s: a large picture on a slow disk. A caller at the edge gives such a `timeout`; other commands wait meanwhile.
SAVE_SECONDS = 25.0

CommandMethod = Callable[..., Awaitable[Any]]


class OctaneCommands:
    """The commands of one Octane, by name; each answers what the Octane is set to afterwards."""

    def __init__(self, address: str) -> None:
        self.link = OctaneLink(address)
        self.controls = OctaneControls(self.link)
        self.camera = CameraCommands(self.controls)
        pins = OctanePins(self.link)
        self.imager = ImagerCommands(self.controls, pins)
        render, camera, imager = RenderCommands(self.controls), self.camera, self.imager
        pick, reports = PickCommands(self.controls, pins, imager), ReportCommands(self.controls)
        quick: tuple[CommandMethod, ...] = (
            *(render.start, render.pause, render.stop, render.restart),
            *(render.set_priority, render.set_sub_sampling, render.set_clay_mode),
            *(render.set_region, render.clear_region, render.set_passes),
            *(camera.get_camera, camera.set_camera, camera.orbit, camera.pan, camera.dolly),
            *(camera.reset_camera, camera.undo_camera, camera.preset_camera),
            *(imager.set_tonemap, imager.set_film_region, imager.clear_film_region, pick.pick),
            *(reports.resource_statistics, reports.device_statistics, reports.geometry_statistics),
            *(reports.texture_statistics, reports.is_compiling),
        )
        self._commands = {method.__name__: self._guarded(method, COMMAND_SECONDS) for method in quick}
        self._commands["save_image"] = self._guarded(SaveCommands(self.controls).save_image, SAVE_SECONDS)

    def by_name(self) -> Mapping[str, CommandMethod]:
        """All commands."""
        return self._commands

    async def begin(self, ctx: Context) -> None:
        """Begins to keep and publish the controls."""
        await self.controls.begin(ctx)
        self.camera.begin(ctx)

    def connected(self, client: OctaneClient, look: Callable[[], None]) -> None:
        """Lets commands through to an Octane that has answered."""
        self.link.connected(client, look)
        self.imager.forget()
        self.controls.ask()

    def gone(self, reason: str = "") -> None:
        """Refuses commands until there is an Octane again."""
        self.link.gone(reason)

    def project_changed(self) -> None:
        """Forgets what belonged to another project: its target, its camera."""
        self.controls.state.target = None
        self.camera.forget()
        self.imager.forget()
        self.controls.ask()

    def _guarded(self, method: CommandMethod, seconds: float) -> CommandMethod:
        @functools.wraps(method)
        async def guarded(**given: Any) -> Any:
            self.link.reach()
            self.controls.command_begins()
            try:
                async with self.link.patiently(seconds):
                    return await method(**given)
            finally:
                self.controls.command_ends()

        return guarded
