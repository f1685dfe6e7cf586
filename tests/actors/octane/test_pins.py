"""Values of pins over the node service of either generation."""

from __future__ import annotations

from dataclasses import replace

import pytest

from actors.octane.client import OctaneClient
from actors.octane.errors import Declined
from actors.octane.link import OctaneLink
from actors.octane.pins import AUTOFOCUS, EXPOSURE, FOCAL_DEPTH, GAMMA, REGION_SIZE, WHITE_BALANCE, OctanePins, Pin
from actors.octane.simulator.settings import OctaneGeneration
from actors.octane.simulator.simulator import TARGET
from protos import octane_node_pb2 as node
from tests.actors.octane.commanding import STEADY
from tests.actors.octane.simulation import simulated


@pytest.mark.parametrize("generation", [OctaneGeneration.BETA_2, OctaneGeneration.ALPHA_5])
async def test_values_of_every_type_are_set_and_read_back(generation):
    async with simulated(replace(STEADY, generation=generation)) as octane, OctaneClient(octane.address) as client:
        link = OctaneLink(octane.address)
        link.connected(client, lambda: None)
        pins, target = OctanePins(link), (TARGET, 17)
        for pin, value in (
            (EXPOSURE, 2.5),
            (GAMMA, 1.5),
            (FOCAL_DEPTH, 3.0),
            (AUTOFOCUS, False),
            (REGION_SIZE, (20, 10)),
            (WHITE_BALANCE, (1.0, 0.5, 0.25)),
        ):
            await pins.set(target, pin, value)
            assert await pins.get(target, pin) == value

        # The generation is found out once, by the first call that is unknown.
        beta = octane.calls["setPinValueByPinID"]
        assert beta == (6 if generation is OctaneGeneration.BETA_2 else 1)
        with pytest.raises(Declined, match="no such pin"):
            await pins.get(target, Pin(node.P_IMAGER, node.P_AUTOFOCUS, AUTOFOCUS.type))
        with pytest.raises(Declined, match="another type"):
            await pins.set(target, Pin(node.P_IMAGER, node.P_EXPOSURE, AUTOFOCUS.type), True)


async def test_a_target_without_such_a_node_has_no_value():
    async with simulated(STEADY) as octane, OctaneClient(octane.address) as client:
        link = OctaneLink(octane.address)
        link.connected(client, lambda: None)
        unknown = Pin(node.P_RESOLUTION, node.P_EXPOSURE, EXPOSURE.type)

        assert await OctanePins(link).get((TARGET, 17), unknown) is None
        with pytest.raises(Declined, match="no such node"):
            await OctanePins(link).set((TARGET, 17), unknown, 1.0)
