"""Watches a connected Octane: receives its events, fetches its pictures and statistics."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import aclosing
from dataclasses import asdict

from actors.octane.announcing import tell
from actors.octane.client import CallbackKind, Identity, OctaneClient
from actors.octane.errors import Disconnected
from actors.octane.pictures import OctanePictures, PictureSettings
from actors.octane.statistics import OctaneStatistics, StatisticsSettings
from actors.system.context import Context


class OctaneWatch:
    """One connection to an Octane, from the registration of callbacks to its end."""

    def __init__(
        self,
        client: OctaneClient,
        identity: Identity,
        pictures: PictureSettings,
        ctx: Context,
        beat: Callable[[], None],
        numbers: Iterator[int],
        project_changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._client, self._identity, self._ctx, self._beat = client, identity, ctx, beat
        self._project_changed = project_changed
        self._pictures = OctanePictures(client, identity, pictures, ctx, numbers)
        self._statistics = OctaneStatistics(client, identity, StatisticsSettings(), ctx, beat)

    async def run(self) -> None:
        """Watches until the Octane is gone. Raises Disconnected."""
        await self._client.tone_map()
        await self._client.register()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._listen())
                tasks.create_task(self._pictures.run())
                tasks.create_task(self._statistics.run())
        except BaseExceptionGroup as faults:
            gone, other = faults.split(Disconnected)
            if gone is None or other is not None:
                raise
            raise Disconnected(str(_first(gone))) from None

    def look(self) -> None:
        """Asks for statistics and a picture now: something was changed."""
        self._pictures.announce()
        self._statistics.ask()

    async def _listen(self) -> None:
        async with aclosing(self._client.signals()) as signals:
            async for signal in signals:
                self._beat()
                match signal.kind:
                    case CallbackKind.NEW_IMAGE:
                        self._pictures.announce(signal.images)
                        self._statistics.ask()
                    case CallbackKind.OPENED:
                        self.look()
                    case CallbackKind.NEW_STATISTICS:
                        self._statistics.ask()
                    case CallbackKind.RENDER_FAILURE:
                        await self._tell_failure()
                    case CallbackKind.PROJECT_CHANGED:
                        self._project_changed()
                        await tell(
                            self._ctx, self._beat, "project_changed", {"project": await self._client.current_project()}
                        )
                        self._statistics.project_changed()
                        self.look()

    async def _tell_failure(self) -> None:
        """Publishes why the render failed; the event itself does not say, the devices do."""
        self._statistics.failed()
        faults = await self._client.device_faults()
        reason = "; ".join(f"{fault.name}: {fault.message or fault.error}" for fault in faults)
        await tell(
            self._ctx,
            self._beat,
            "render_failure",
            {
                "reason": reason or "octane gave no reason",
                "devices": [asdict(fault) for fault in faults],
                "simulated": self._identity.simulated,
            },
        )
        self._statistics.ask()


def _first(group: BaseExceptionGroup[Disconnected]) -> BaseException:
    fault: BaseException = group
    while isinstance(fault, BaseExceptionGroup):
        fault = fault.exceptions[0]
    return fault
