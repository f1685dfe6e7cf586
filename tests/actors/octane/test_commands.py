"""What all commands of the Octane actor have in common, against the simulator over real gRPC."""

from __future__ import annotations

import inspect

import pytest

from actors.octane.actor import Octane
from actors.octane.simulator.faults import OctaneFault
from actors.system.actor import Reject
from router.nats.embedded import free_port
from tests.actors.octane.commanding import commanded
from tests.actors.octane.watching import latest, watching
from tests.waiting import eventually

BAD = [
    ("set_priority", {"priority": "urgent"}, "^priority.* must .*high, low, normal"),
    ("set_sub_sampling", {"mode": "8x8"}, "^mode.* must .*none"),
    ("set_clay_mode", {}, "^mode must be given"),
    ("preset_camera", {"view": "inside"}, "^view.* must .*front"),
    ("set_camera", {"position": [1, 2]}, "^position.* must .*3"),
    ("set_camera", {"fov": 180}, "^fov.* must "),
    ("set_camera", {"position": [0, 0, float("nan")]}, "^position.* must "),
    ("set_camera", {}, "at least one of"),
    ("set_camera", {"position": [1, 1, 1], "target": [1, 1, 1]}, "apart"),
    ("orbit", {"dx": "left", "dy": 0}, "^dx.* must "),
    ("orbit", {"dx": True, "dy": 0}, "^dx.* must "),
    ("dolly", {"factor": 0}, "^factor.* must .*0.01"),
    ("set_tonemap", {}, "at least one of"),
    ("set_tonemap", {"exposure": -1}, "^exposure.* must "),
    ("set_tonemap", {"white_balance": [1, 1, 2]}, "^white_balance.* must "),
    ("set_passes", {"passes": ["nonsense"]}, "nonsense"),
    ("set_passes", {"passes": ["beauty"] * 40}, "at most 32"),
    ("resource_statistics", {"device": -1}, "^device.* must "),
    ("pause", {"really": True}, "unknown argument 'really'"),
]
# Calls that only read.
READS = ("get", "is", "GetCamera", "connectedNode", "octane", "device", "render", "clayMode", "grab", "release")


async def test_a_bad_argument_is_refused_by_name_and_reaches_no_octane():
    async with commanded() as (octane, probe):
        await eventually(lambda: octane.calls["connectedNode"])
        before = {rpc: count for rpc, count in octane.calls.items() if not rpc.startswith(READS)}

        for command, given, named in BAD:
            with pytest.raises(Reject, match=named):
                await probe.ask(command, **given)

        assert {rpc: count for rpc, count in octane.calls.items() if not rpc.startswith(READS)} == before
        assert octane.camera is None
    assert probe.crashes == []


async def test_commands_without_an_octane_are_refused_with_its_address():
    port = free_port()
    async with watching(f"127.0.0.1:{port}") as probe:
        for command in ("start", "pause", "get_camera"):
            with pytest.raises(Reject, match=str(port)):
                await probe.ask(command)
    assert probe.crashes == []


async def test_a_busy_octane_refuses_commands_with_the_reason_and_takes_them_again_later():
    async with commanded() as (octane, probe):
        octane.strike(OctaneFault.HANG)
        # The first may be the one that finds out: in less time than a caller at the edge waits.
        began = probe.clock.now()
        with pytest.raises(Reject, match=r"busy|did not answer"):
            await probe.ask("set_priority", priority="low")
        assert probe.clock.now() - began < 5
        await eventually(lambda: latest(probe)["status"] == "busy")
        began = probe.clock.now()
        with pytest.raises(Reject, match="busy"):
            await probe.ask("pause")
        assert probe.clock.now() - began < 1

        octane.clear()
        await eventually(lambda: latest(probe)["status"] == "connected")
        assert (await probe.ask("set_priority", priority="low"))["priority"] == "low"
    assert probe.crashes == []


def test_every_command_says_what_it_does_and_names_the_types_of_its_arguments():
    for name, method in Octane().commands().items():
        assert (inspect.getdoc(method) or "").endswith("."), name
        assert all(each.annotation is not each.empty for each in inspect.signature(method).parameters.values()), name
