"""Asks an Octane for its statistics, and publishes them as long as they change."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from actors.octane.announcing import publish
from actors.octane.client import Identity, OctaneClient
from actors.octane.errors import Declined
from actors.octane.waiting import within
from actors.system.context import Context
from protos import octane_types_pb2 as wire
from router.errors import BrokerError

logger = logging.getLogger(__name__)

_STATES = {
    wire.RSTATE_STOPPED: "stopped",
    wire.RSTATE_WAITING_FOR_DATA: "waiting",
    wire.RSTATE_RENDERING: "rendering",
    wire.RSTATE_PAUSED: "paused",
    wire.RSTATE_FINISHED: "finished",
}


@dataclass(frozen=True, slots=True)
class StatisticsSettings:
    """How often statistics are asked for, in seconds."""

    interval: float = 0.25
    # Statistics without a new picture: they are the heartbeat of the connection, and show a pause.
    idle: float = 2.0


class OctaneStatistics:
    """The statistics of one connection."""

    def __init__(
        self,
        client: OctaneClient,
        identity: Identity,
        settings: StatisticsSettings,
        ctx: Context,
        beat: Callable[[], None],
    ) -> None:
        self._client, self._identity, self._settings, self._ctx, self._beat = client, identity, settings, ctx, beat
        self._asked = asyncio.Event()
        self._complaint = ""

    def ask(self) -> None:
        """Asks now: something has changed."""
        self._asked.set()

    async def run(self) -> None:
        """Publishes statistics after new pictures and now and then, as long as they change."""
        last: dict[str, Any] = {}
        while True:
            await within(self._settings.idle, self._asked.wait())
            self._asked.clear()
            try:
                report = describe(await self._client.statistics()) | {"simulated": self._identity.simulated}
            except Declined as fault:
                self._complain(str(fault))
                report = last
            self._beat()
            if report != last:
                try:
                    await publish(self._ctx, "statistics", report, key=self._ctx.instance)
                    last = report
                except BrokerError as fault:
                    # The next ones are newer, and take their place.
                    self._complain(str(fault))
            await self._ctx.sleep(self._settings.interval)

    def _complain(self, reason: str) -> None:
        """Logs a reason once, not each time."""
        if reason != self._complaint:
            self._complaint = reason
            logger.warning(
                "Octane's statistics cannot be published", extra={"reason": reason, "octane": self._ctx.instance}
            )


def describe(statistics: wire.RenderResultStatistics) -> dict[str, Any]:
    """What people want to know of a render's statistics."""
    samples, most = statistics.beautySamplesPerPixel, statistics.beautyMaxSamplesPerPixel
    size = statistics.usedSize if statistics.usedSize.x else statistics.setSize
    return {
        "state": _STATES.get(statistics.state, str(statistics.state)),
        "samples": samples,
        "max_samples": most,
        "denoised_samples": statistics.denoisedSamplesPerPixel,
        "progress": min(1.0, samples / most) if most else 0.0,
        "samples_per_second": statistics.beautySamplesPerSecond,
        "render_time": round(statistics.renderTime, 3),
        "estimated_render_time": round(statistics.estimatedRenderTime, 3),
        "width": size.x,
        "height": size.y,
        "change_level": statistics.changeLevel.value,
        "wipes": statistics.beautyWipeCount,
    }
