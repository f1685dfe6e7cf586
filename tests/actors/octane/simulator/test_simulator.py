"""Tests of actors/octane/simulator/simulator.py, without a network."""

from __future__ import annotations

from actors.octane.simulator.simulator import SimulatedKind, Simulator
from protos import octane_types_pb2 as wire
from tests.actors.octane.simulation import QUICK


async def test_only_registered_kinds_are_sent_but_project_changes_always() -> None:
    simulator = Simulator(QUICK)

    with simulator.listening() as listener:
        simulator.tell(SimulatedKind.NEW_IMAGE)
        simulator.reset()

        assert await listener.next() is SimulatedKind.PROJECT_CHANGED
    assert not simulator.listeners


async def test_a_failed_device_stops_its_render_until_it_gets_a_target_again() -> None:
    simulator = Simulator(QUICK)
    target = simulator.aimed_at()

    simulator.fail(wire.RENDER_ERROR_KERNEL_FAILED)
    assert (simulator.error, simulator.aimed_at()) == (wire.RENDER_ERROR_KERNEL_FAILED, wire.ObjectRef())
    simulator.aim(target)

    assert (simulator.error, simulator.aimed_at()) == (wire.RENDER_ERROR_NONE, target)


def test_a_camera_that_is_moved_keeps_what_is_not_given() -> None:
    simulator = Simulator(QUICK)
    before = simulator.view

    simulator.look(None, (1.0, 2.0, 3.0), None)

    assert (simulator.view.position, simulator.view.fov) == (before.position, before.fov)
    assert simulator.view.target == (1.0, 2.0, 3.0)
