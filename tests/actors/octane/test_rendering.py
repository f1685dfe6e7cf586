"""How an Octane renders: start, stop, region, priority, passes; against the simulator over real gRPC."""

from __future__ import annotations

from dataclasses import replace

import pytest

from actors.octane.simulator.settings import OctaneGeneration
from actors.system.actor import Reject
from protos import octane_types_pb2 as wire
from tests.actors.octane.commanding import GOING, STEADY, commanded
from tests.actors.octane.simulation import simulated
from tests.actors.octane.watching import said, watching
from tests.waiting import eventually

both = pytest.mark.parametrize("generation", [OctaneGeneration.BETA_2, OctaneGeneration.ALPHA_5])


@both
async def test_settings_are_set_read_back_and_shown(generation):
    async with commanded(replace(STEADY, generation=generation, passes=4)) as (octane, probe):
        for priority in ("low", "high", "normal"):
            assert (await probe.ask("set_priority", priority=priority))["priority"] == priority
        for mode in ("2x2", "4x4", "none"):
            assert (await probe.ask("set_sub_sampling", mode=mode))["sub_sampling"] == mode
        for mode in ("grey", "colour", "none"):
            assert (await probe.ask("set_clay_mode", mode=mode))["clay_mode"] == mode
        await probe.ask("set_priority", priority="high")
        assert octane.controls.priority == 2
        shown = said(probe, "controls")[-1]
        assert (shown["priority"], shown["sub_sampling"], shown["clay_mode"]) == ("high", "none", "none")


async def test_passes_are_chosen_by_name_with_beauty_always_among_them():
    async with commanded(replace(STEADY, passes=4)) as (octane, probe):
        enabled = octane.enabled_passes
        assert len(enabled) == 4
        name = wire.RenderPassId.Name(enabled[1]).removeprefix("RENDER_PASS_").lower()

        answer = await probe.ask("set_passes", passes=[name])
        assert answer["passes"] == ["beauty", name]
        answer = await probe.ask("set_passes", passes=[])
        assert answer["passes"] == ["beauty"]


async def test_each_command_about_the_render_answers_the_state_that_it_led_to():
    async with commanded() as (octane, probe):
        assert (await probe.ask("pause"))["render"] == "paused"
        assert (await probe.ask("start"))["render"] in GOING
        assert (await probe.ask("stop"))["render"] == "stopped"
        assert (await probe.ask("start"))["render"] in GOING
        assert (await probe.ask("stop"))["render"] == "stopped"
        assert (await probe.ask("restart"))["render"] in GOING
        wipes = octane.render.wipes
        assert (await probe.ask("restart"))["render"] in GOING
        assert octane.render.wipes == wipes + 1
        assert probe.crashes == []


async def test_a_render_that_octane_stopped_by_itself_can_be_started():
    async with commanded() as (octane, probe):
        octane.render.stop()
        await eventually(lambda: said(probe, "controls")[-1]["render"] == "stopped")

        assert (await probe.ask("start"))["render"] in GOING


async def test_a_render_that_an_earlier_incarnation_stopped_can_be_restarted():
    async with simulated(STEADY) as octane:
        async with watching(octane.address) as first:
            await eventually(lambda: said(first, "controls"))
            await first.ask("stop")
        told = said(first, "controls")[-1]
        assert told["target"]["handle"] and told["render"] == "stopped"

        async with watching(octane.address, stored=[("octane.main.controls", told)]) as second:
            await eventually(lambda: said(second, "controls"))
            assert (await second.ask("restart"))["render"] in GOING


async def test_a_stopped_render_whose_target_nobody_knows_is_refused_with_the_reason():
    async with simulated(STEADY) as octane:
        octane.render.stop()
        async with watching(octane.address) as probe:
            await eventually(lambda: said(probe, "controls"))
            for command in ("start", "restart"):
                with pytest.raises(Reject, match="no render target is known"):
                    await probe.ask(command)


async def test_an_octane_that_does_not_do_what_it_accepted_is_refused_with_the_state_it_is_in():
    async with commanded() as (octane, probe):
        octane.render.pause = octane.render.stop = lambda: None  # type: ignore[method-assign]

        with pytest.raises(Reject, match="did not pause: the render is still rendering"):
            await probe.ask("pause")
        with pytest.raises(Reject, match="did not stop: the render is still rendering"):
            await probe.ask("stop")


async def test_a_region_is_set_read_back_shown_and_cleared():
    async with commanded() as (octane, probe):
        answer = await probe.ask("set_region", left=1, top=2, right=30, bottom=20, feather=3)

        assert answer["region"] == {"left": 1, "top": 2, "right": 30, "bottom": 20, "feather": 3}
        assert octane.region.active and (octane.region.regionMax.x, octane.region.regionMax.y) == (30, 20)
        assert said(probe, "controls")[-1]["region"] == answer["region"]
        assert (await probe.ask("clear_region"))["region"] is None
        assert not octane.region.active


async def test_a_region_that_is_none_is_refused_by_name_and_reaches_no_octane():
    async with commanded() as (octane, probe):
        for edges, named in (
            ((-1, 0, 5, 5), "^left.* must .*>= 0"),
            ((5, 0, 5, 5), "^left must be less than right"),
            ((0, 9, 5, 3), "^top must be less than bottom"),
            ((0, 0, 49, 5), "^right must be at most 48"),
            ((0, 0, 5, 28), "^bottom must be at most 27"),
            ((0, 0, 5, 1 << 40), "^bottom.* must .*65536"),
            ((0, 0.5, 5, 5), "^top.* must "),
            ((0, True, 5, 5), "^top.* must "),
        ):
            with pytest.raises(Reject, match=named):
                await probe.ask("set_region", **dict(zip(("left", "top", "right", "bottom"), edges, strict=True)))

        assert octane.calls["setRenderRegion"] == 0


async def test_a_pause_right_behind_a_restart_is_not_lost_while_the_render_loads():
    async with commanded() as (_, probe):
        for _ in range(8):
            await probe.ask("restart")
            assert (await probe.ask("pause"))["render"] == "paused"
