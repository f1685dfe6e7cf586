"""The commands that move the camera, against the simulator over real gRPC."""

from __future__ import annotations

import math

import pytest

from actors.octane.simulator.simulator import Simulator
from actors.system.actor import Reject
from actors.system.probe import Probe
from tests.actors.octane.commanding import commanded
from tests.actors.octane.watching import said
from tests.waiting import eventually

START = {"position": [0.0, 2.0, 10.0], "target": [0.0, 1.0, 0.0], "up": [0.0, 1.0, 0.0], "fov": 40.0}


def near(one: list[float], two: list[float]) -> bool:
    return all(math.isclose(a, b, abs_tol=1e-3) for a, b in zip(one, two, strict=True))


async def begun(probe: Probe) -> dict[str, object]:
    answer = await probe.ask("set_camera", **START)
    assert all(near(answer["camera"][name], START[name]) for name in ("position", "target", "up"))
    return dict(answer)


async def rested(octane: Simulator, probe: Probe) -> None:
    """Waits until a drag is over, so that the next move is a step of its own."""
    clock = probe.clock
    await clock.sleep(0.6)


async def test_a_camera_that_is_set_is_read_back_and_applied():
    async with commanded() as (octane, probe):
        probe.caller = "ann"
        answer = await begun(probe)

        assert near(list(octane.view.position), START["position"]) and octane.view.fov == pytest.approx(40)
        assert answer["camera_by"] == "ann"
        assert said(probe, "controls")[-1]["camera_by"] == "ann"
        assert octane.calls["update"] == octane.calls["SetCamera"] == 1
        # What is not given stays.
        await probe.ask("set_camera", fov=55)
        await eventually(lambda: octane.view.fov == pytest.approx(55))
        assert near(list(octane.view.position), START["position"])


async def test_orbit_pan_dolly_and_presets_move_the_camera_from_where_octane_has_it():
    async with commanded() as (octane, probe):
        await begun(probe)
        radius = math.dist(START["position"], START["target"])

        answer = await probe.ask("preset_camera", view="left")
        assert near(answer["camera"]["position"], [-radius, 1, 0])
        answer = await probe.ask("preset_camera", view="front")
        assert near(answer["camera"]["position"], [0, 1, radius])
        await rested(octane, probe)
        answer = await probe.ask("orbit", dx=-math.pi / 2, dy=0)
        assert near(answer["camera"]["position"], [radius, 1, 0])
        await rested(octane, probe)
        answer = await probe.ask("dolly", factor=0.5)
        assert near(answer["camera"]["position"], [radius / 2, 1, 0])
        await rested(octane, probe)
        answer = await probe.ask("pan", dx=0, dy=0.1)
        assert near(answer["camera"]["target"], [0, 1 + radius / 20, 0])
        answer = await probe.ask("reset_camera")
        assert not near(answer["camera"]["position"], START["position"])


async def test_moves_that_come_faster_than_octane_takes_them_are_merged_and_none_is_lost():
    async with commanded() as (octane, probe):
        await begun(probe)
        await rested(octane, probe)
        sent = octane.calls["SetCamera"]
        began = probe.clock.now()
        answers = [await probe.ask("orbit", dx=0.01, dy=0) for _ in range(100)]
        took = probe.clock.now() - began

        def arrived() -> bool:
            x, _, z = octane.view.position
            return math.isclose(math.atan2(x, z), -1.0, abs_tol=1e-3)

        await eventually(arrived)
        assert octane.calls["SetCamera"] - sent <= took / 0.1 + 2
        assert any(answer.get("result") == {"merged": True} for answer in answers)
        # What was told last is what Octane has.
        await eventually(lambda: near(said(probe, "controls")[-1]["camera"]["position"], list(octane.view.position)))


async def test_a_drag_is_undone_as_one_and_the_moves_before_it_one_by_one():
    async with commanded() as (octane, probe):
        first = list(octane.view.position)
        await begun(probe)
        await rested(octane, probe)
        for _ in range(20):
            await probe.ask("orbit", dx=0.02, dy=0.01)

        assert near((await probe.ask("undo_camera"))["camera"]["position"], START["position"])
        answer = await probe.ask("undo_camera")
        assert near(answer["camera"]["position"], first) and answer["result"] == {"steps": 0}
        with pytest.raises(Reject, match="no move of the camera can be undone"):
            await probe.ask("undo_camera")


async def test_the_last_one_moves_and_the_others_see_who():
    async with commanded() as (octane, probe):
        await begun(probe)
        probe.caller = "ann"
        await probe.ask("orbit", dx=0.1, dy=0)
        probe.caller = "bob"
        await probe.ask("set_camera", position=[5, 5, 5])
        await eventually(lambda: near(list(octane.view.position), [5, 5, 5]))
        await eventually(lambda: said(probe, "controls")[-1]["camera_by"] == "bob")

        # Another client of this Octane has no name here.
        octane.look((0.0, 3.0, 9.0), (0.0, 0.0, 0.0), None)
        await eventually(lambda: near(said(probe, "controls")[-1]["camera"]["position"], [0, 3, 9]))
        assert said(probe, "controls")[-1]["camera_by"] is None
        # A drag begins where that client left the camera.
        await rested(octane, probe)
        answer = await probe.ask("dolly", factor=1)
        assert near(answer["camera"]["position"], [0, 3, 9])


async def test_another_project_has_a_camera_of_its_own_to_reset_to():
    async with commanded() as (octane, probe):
        await begun(probe)
        octane.reset()
        await eventually(lambda: said(probe, "project_changed"))
        own = list(octane.view.position)
        await eventually(lambda: near(said(probe, "controls")[-1]["camera"]["position"], own))
        with pytest.raises(Reject, match="undone"):
            await probe.ask("undo_camera")

        await begun(probe)
        assert near((await probe.ask("reset_camera"))["camera"]["position"], own)


async def test_without_a_render_target_the_camera_is_not_moved_and_octanes_reason_is_told():
    async with commanded() as (octane, probe):
        await begun(probe)
        await probe.ask("stop")
        for command, given in (("orbit", {"dx": 0.1, "dy": 0}), ("reset_camera", {}), ("undo_camera", {})):
            with pytest.raises(Reject, match="failed_precondition: no render target"):
                await probe.ask(command, **given)

        # The camera that a stopped Octane makes up is not shown.
        assert near((await probe.ask("get_camera"))["camera"]["position"], START["position"])
        assert near(list(octane.view.position), START["position"])
    assert probe.crashes == []


async def test_the_move_behind_a_preset_begins_where_octane_has_put_the_camera():
    async with commanded() as (octane, probe):
        await begun(probe)
        await probe.ask("preset_camera", view="left")
        # What another client, or Octane itself, makes of it.
        octane.look((0.0, 1.0, 4.0), (0.0, 1.0, 0.0), None)
        await probe.ask("dolly", factor=0.5)

        await eventually(lambda: near(list(octane.view.position), [0, 1, 2]))
