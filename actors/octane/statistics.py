"""Asks an Octane for its statistics, and publishes them as long as they change; EVENTS keeps the latest only."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from actors.octane.announcing import publish
from actors.octane.client import Identity, OctaneClient
from actors.octane.devices import OctaneEquipment
from actors.octane.errors import CallUnanswered, Declined
from actors.octane.observations import STATISTICS, Observe, RenderProgress, Sampled, ServiceRefused
from actors.octane.passes import pass_names
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
# The states in which the estimate of the time and the speed are those of the present.
_ESTIMATED = frozenset({wire.RSTATE_RENDERING, wire.RSTATE_PAUSED, wire.RSTATE_FINISHED})
_FAST = frozenset({wire.RSTATE_RENDERING, wire.RSTATE_FINISHED})


@dataclass(frozen=True, slots=True)
class StatisticsSettings:
    """How often statistics are asked for, in seconds."""

    interval: float = 0.25
    # Statistics without a new picture: they are the heartbeat of the connection, and show a pause. A fault is to be
    # seen within 3 s, and a call waits up to 1.2 s before Octane is called busy.
    idle: float = 1.0
    # Only the latest statistics count, so EVENTS keeps each for this long; those that hold are published again before.
    kept: float = 60.0
    repeat: float = 20.0


class OctaneStatistics:
    """The statistics of one connection. `on_report` is called with each report, whether or not it is published."""

    def __init__(
        self,
        client: OctaneClient,
        identity: Identity,
        settings: StatisticsSettings,
        ctx: Context,
        beat: Callable[[], None],
        on_report: Callable[[dict[str, Any], int], None] | None = None,
        observe: Observe = lambda _: None,
        on_read: Callable[[wire.RenderResultStatistics], None] = lambda _: None,
    ) -> None:
        self._observe, self._on_read = observe, on_read
        self._client, self._identity, self._settings, self._ctx, self._beat = client, identity, settings, ctx, beat
        self._equipment = OctaneEquipment(client, ctx.now)
        self._on_report = on_report
        self._asked = asyncio.Event()
        self._failed_at: tuple[int, int] | None = None
        self._seen = (0, 0)
        self._complaint = ""

    def ask(self) -> None:
        """Asks now: something has changed."""
        self._asked.set()

    def project_changed(self) -> None:
        """Asks for the project and what belongs to it, too."""
        self._equipment.forget()
        self.ask()

    def failed(self) -> None:
        """Leaves speed and remaining time out from now on, until there are further samples."""
        self._failed_at = self._seen
        self.ask()

    async def run(self) -> None:
        """Publishes statistics after new pictures and now and then, as long as they change."""
        last: dict[str, Any] = {}
        published = -math.inf
        while True:
            await within(self._settings.idle, self._asked.wait())
            self._asked.clear()
            report = await self._report() or last
            self._beat()
            if report and (report != last or self._ctx.now() - published >= self._settings.repeat):
                try:
                    await publish(self._ctx, "statistics", report, key=self._ctx.instance, ttl=self._settings.kept)
                    last, published = report, self._ctx.now()
                except BrokerError as fault:
                    # The next ones are newer, and take their place.
                    self._complain(str(fault))
            await self._ctx.sleep(self._settings.interval)

    async def _report(self) -> dict[str, Any]:
        """The data of one event; nothing where Octane refuses. Raises Disconnected."""
        try:
            statistics = await self._client.statistics()
            self._on_read(statistics)
            self._observe(sample_of(statistics))
            equipment = await self._equipment.known()
        except Declined as fault:
            self._observe(ServiceRefused(STATISTICS, str(fault)))
            return {}
        except CallUnanswered:
            # The state says that Octane is busy; the next call finds out whether it still is.
            return {}
        self._seen = (statistics.beautyWipeCount, statistics.beautySamplesPerPixel)
        if self._failed_at is not None and self._seen != self._failed_at:
            self._failed_at = None
        report = describe(statistics, failed=self._failed_at is not None) | equipment
        report["simulated"] = self._identity.simulated
        if self._on_report is not None:
            self._on_report(report, self._equipment.target)
        return report

    def _complain(self, reason: str) -> None:
        """Logs a reason once, not each time."""
        if reason != self._complaint:
            self._complaint = reason
            logger.warning(
                "Octane's statistics cannot be published", extra={"reason": reason, "octane": self._ctx.instance}
            )


def describe(statistics: wire.RenderResultStatistics, *, failed: bool = False) -> dict[str, Any]:
    """What people want to know of a render's statistics.

    Octane keeps the speed and the estimate of a render that failed or was stopped; they are left out.
    """
    samples, most = statistics.beautySamplesPerPixel, statistics.beautyMaxSamplesPerPixel
    size = statistics.usedSize if statistics.usedSize.x else statistics.setSize
    report = {
        "state": _STATES.get(statistics.state, str(statistics.state)),
        "samples": samples,
        "max_samples": most,
        "denoised_samples": statistics.denoisedSamplesPerPixel,
        "region_samples": statistics.regionSamplesPerPixel,
        "progress": min(1.0, samples / most) if most else 0.0,
        "render_time": round(statistics.renderTime, 3),
        "width": size.x,
        "height": size.y,
        "change_level": statistics.changeLevel.value,
        "wipes": statistics.beautyWipeCount,
        "passes": pass_names(statistics),
    }
    if not failed and statistics.state in _ESTIMATED:
        report["estimated_render_time"] = round(statistics.estimatedRenderTime, 3)
    if not failed and statistics.state in _FAST:
        report["samples_per_second"] = statistics.beautySamplesPerSecond
    return report


def sample_of(statistics: wire.RenderResultStatistics) -> Sampled:
    """What the statistics say of the picture: whether it should be a newer one by now."""
    progress = RenderProgress(
        change_level=statistics.changeLevel.value,
        wipes=statistics.beautyWipeCount,
        samples=statistics.beautySamplesPerPixel,
        region_samples=statistics.regionSamplesPerPixel,
    )
    return Sampled(
        progress, rendering=statistics.state == wire.RSTATE_RENDERING, stopped=statistics.state == wire.RSTATE_STOPPED
    )
