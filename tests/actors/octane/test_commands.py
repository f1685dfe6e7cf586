"""The commands of the Octane actor under the Probe, against the simulator over real gRPC."""

from __future__ import annotations

import pytest

from actors.system.actor import Reject
from router.nats.embedded import free_port
from tests.actors.octane.commanding import GOING, STEADY, commanded
from tests.actors.octane.simulation import simulated
from tests.actors.octane.watching import said, watching
from tests.waiting import eventually


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


@pytest.mark.parametrize(
    ("edges", "named"),
    [
        ((-1, 0, 5, 5), "'left'.*>= 0"),
        ((5, 0, 5, 5), "'left' and 'right'"),
        ((0, 9, 5, 3), "'top' and 'bottom'"),
        ((0, 0, 49, 5), "'right': at most 48"),
        ((0, 0, 5, 28), "'bottom': at most 27"),
        ((0, 0, 5, 1 << 40), "'bottom'.*65536"),
        ((0, 0.5, 5, 5), "'top'"),
        ((0, True, 5, 5), "'top'"),
    ],
)
async def test_a_region_that_is_none_is_refused_by_name_and_reaches_no_octane(edges, named):
    async with commanded() as (octane, probe):
        with pytest.raises(Reject, match=named):
            await probe.ask("set_region", **dict(zip(("left", "top", "right", "bottom"), edges, strict=True)))

        assert not octane.region.active


@pytest.mark.parametrize(
    ("command", "given", "named"),
    [
        ("set_priority", {"priority": "urgent"}, "'priority'.*high, low, normal"),
        ("set_sub_sampling", {"mode": "8x8"}, "'mode'.*none"),
        ("set_clay_mode", {}, "'mode' is missing"),
        ("preset_camera", {"view": "inside"}, "'view'.*front"),
        ("set_camera", {"position": [1, 2]}, "'position'.*3"),
        ("set_camera", {"fov": 180}, "'fov'"),
        ("set_camera", {"position": [0, 0, float("nan")]}, "'position'"),
        ("set_camera", {}, "at least one of"),
        ("set_camera", {"position": [1, 1, 1], "target": [1, 1, 1]}, "apart"),
        ("orbit", {"dx": "left", "dy": 0}, "'dx'"),
        ("dolly", {"factor": 0}, "'factor'"),
        ("set_passes", {"passes": ["nonsense"]}, "nonsense"),
        ("pause", {"really": True}, "unknown argument 'really'"),
    ],
)
async def test_a_bad_argument_is_refused_by_name_and_changes_nothing(command, given, named):
    async with commanded() as (octane, probe):
        before = octane.view

        with pytest.raises(Reject, match=named):
            await probe.ask(command, **given)

        assert octane.view == before and octane.camera is None


async def test_commands_without_an_octane_are_refused_with_its_address():
    port = free_port()
    async with watching(f"127.0.0.1:{port}") as probe:
        for command in ("start", "pause", "get_camera"):
            with pytest.raises(Reject, match=str(port)):
                await probe.ask(command)
    assert probe.crashes == []
