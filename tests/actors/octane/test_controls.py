"""What an Octane is set to, as it is read and told."""

from __future__ import annotations

import pytest

from tests.actors.octane.commanding import commanded
from tests.actors.octane.watching import said, watching
from tests.waiting import eventually


async def test_what_somebody_sets_in_octane_itself_is_shown():
    async with commanded() as (octane, probe):
        octane.controls.clay = 1
        octane.controls.priority = 0

        await eventually(lambda: said(probe, "controls")[-1]["clay_mode"] == "grey")
        assert said(probe, "controls")[-1]["priority"] == "low"


async def test_an_actor_recalls_target_and_camera_of_an_earlier_incarnation():
    told = {
        "target": {"handle": 7, "type": 17},
        "camera": {"position": [1, 2, 3], "target": [0, 0, 0], "up": [0, 1, 0], "fov": 40.0},
        "camera_by": "ann",
    }
    async with watching("127.0.0.1:1", stored=[("octane.main.controls", told)]) as probe:
        state = probe.actor._commands.controls.state

        assert state.target == (7, 17) and state.camera_by == "ann"
        assert state.camera is not None and state.camera.position == (1, 2, 3)


async def test_answers_and_events_say_which_of_two_is_newer_over_a_restart_as_well():
    later = 9_000_000_000_000
    told = {"camera_by": "ann", "revision": later}
    async with watching("127.0.0.1:1", stored=[("octane.main.controls", told)]) as probe:
        controls = probe.actor._commands.controls

        first, second = controls.shown(), controls.shown()

    assert later < first["revision"] < second["revision"]


async def test_controls_that_are_no_such_thing_are_not_recalled():
    told = {"target": "7", "camera": {"position": [1]}, "camera_by": 3}
    async with watching("127.0.0.1:1", stored=[("octane.main.controls", told)]) as probe:
        state = probe.actor._commands.controls.state

        assert (state.target, state.camera, state.camera_by) == (None, None, None)


async def test_what_a_drag_leads_to_is_told_for_good_once_it_is_over():
    async with commanded() as (_, probe):
        controls = probe.actor._commands.controls
        await probe.ask("orbit", dx=0.5, dy=0)
        assert controls._brief
        told = len(said(probe, "controls"))

        await eventually(lambda: not controls._brief)
        assert said(probe, "controls")[told:][-1]["camera"] == said(probe, "controls")[told - 1]["camera"]


async def test_controls_that_did_not_change_are_not_told_again(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("actors.octane.controls.READ_SECONDS", 0.2)
    async with commanded() as (octane, probe):
        await eventually(lambda: said(probe, "controls")[-1]["render"] == "rendering")
        told, read = len(said(probe, "controls")), octane.calls["GetCamera"]
        await eventually(lambda: octane.calls["GetCamera"] > read + 1)

        assert len(said(probe, "controls")) == told
