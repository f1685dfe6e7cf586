"""What the statistics of a render say, and when they are published."""

from __future__ import annotations

from collections.abc import Callable

from actors.octane.client import Identity, OctaneClient
from actors.octane.simulator.simulator import SimulatedKind
from actors.octane.statistics import OctaneStatistics, StatisticsSettings, describe
from actors.system.actor import Actor
from actors.system.context import Context
from actors.system.probe import Probe
from protos import octane_types_pb2 as wire
from tests.actors.octane.simulation import LONG, simulated
from tests.actors.octane.watching import said, watching
from tests.waiting import eventually


def reported(state: int, **fields: object) -> wire.RenderResultStatistics:
    known: dict[str, object] = {
        "beautySamplesPerPixel": 50,
        "beautyMaxSamplesPerPixel": 200,
        "beautySamplesPerSecond": 4e6,
        "renderTime": 12.5,
        "estimatedRenderTime": 50.0,
        "usedSize": wire.uint32_2(x=640, y=360),
    }
    return wire.RenderResultStatistics(state=state, **{**known, **fields})  # type: ignore[arg-type]


def test_speed_and_estimate_are_those_of_a_render_that_goes_on():
    going = describe(reported(wire.RSTATE_RENDERING))
    paused = describe(reported(wire.RSTATE_PAUSED))

    assert going["samples_per_second"] == 4e6 and going["estimated_render_time"] == 50.0
    assert "samples_per_second" not in paused and paused["estimated_render_time"] == 50.0


def test_a_render_that_was_stopped_or_failed_has_neither_speed_nor_estimate():
    stopped = describe(reported(wire.RSTATE_STOPPED))
    failed = describe(reported(wire.RSTATE_RENDERING), failed=True)

    for report in (stopped, failed):
        assert "samples_per_second" not in report and "estimated_render_time" not in report
        assert report["samples"] == 50 and report["render_time"] == 12.5


def test_the_passes_that_can_be_watched_are_named_by_their_tracks():
    passes = wire.ApiArrayRenderPassId(data=[wire.RENDER_PASS_BEAUTY, 3, 9999, 3])

    assert describe(reported(wire.RSTATE_RENDERING, renderPasses=passes))["passes"] == [
        "beauty",
        "diffuse",
        "pass-9999",
    ]


class Asking(Actor):
    """Publishes an Octane's statistics, and repeats them after 0.3 s."""

    name = "octane"

    def __init__(self, address: str) -> None:
        self._address = address

    async def start(self, ctx: Context) -> None:
        async def run(beat: Callable[[], None]) -> None:
            settings = StatisticsSettings(interval=0.05, idle=0.1, repeat=0.3)
            async with OctaneClient(self._address) as client:
                await OctaneStatistics(client, Identity("Octane", "", True), settings, ctx, beat).run()

        ctx.source("statistics", run, silence=None)


async def test_statistics_that_hold_are_repeated_before_the_store_forgets_them():
    async with simulated(LONG) as octane, Probe(lambda: Asking(octane.address)) as probe:
        await eventually(lambda: said(probe, "statistics") and said(probe, "statistics")[-1]["state"] == "rendering")
        octane.render.pause()
        await eventually(lambda: said(probe, "statistics")[-1]["state"] == "paused")
        held = said(probe, "statistics")[-1]

        await eventually(lambda: said(probe, "statistics").count(held) >= 3)


async def test_statistics_of_a_render_that_fails_lose_their_speed_until_it_goes_on():
    async with simulated(LONG) as octane, watching(octane.address) as probe:
        await eventually(lambda: said(probe, "statistics") and "samples_per_second" in said(probe, "statistics")[-1])

        octane.fail(wire.RENDER_ERROR_KERNEL_FAILED)
        await eventually(lambda: said(probe, "render_failure"))
        await eventually(lambda: "samples_per_second" not in said(probe, "statistics")[-1])
        assert "estimated_render_time" not in said(probe, "statistics")[-1]

        octane.aim(octane.target)
        octane.tell(SimulatedKind.NEW_STATISTICS)
        await eventually(lambda: "samples_per_second" in said(probe, "statistics")[-1])


async def test_statistics_name_the_project():
    async with simulated(LONG) as octane, watching(octane.address) as probe:
        await eventually(lambda: said(probe, "statistics"))

        assert "project" in said(probe, "statistics")[-1] and said(probe, "statistics")[-1]["simulated"] is True
