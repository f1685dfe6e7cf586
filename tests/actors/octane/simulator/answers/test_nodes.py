"""Tests of actors/octane/simulator/answers/nodes.py, over the wire."""

from __future__ import annotations

from dataclasses import replace

import grpc
import pytest

from actors.octane.simulator.pins import CAMERA, CONNECTED, FILM, IMAGER
from actors.octane.simulator.settings import OctaneGeneration
from actors.octane.simulator.simulator import TARGET, node
from protos import octane_node_pb2 as nodes
from tests.actors.octane.simulation import LONG, simulated
from tests.actors.octane.simulator.asking import ask, channel_to
from tests.waiting import eventually

ALPHA = replace(LONG, generation=OctaneGeneration.ALPHA_5)


async def test_the_nodes_behind_the_pins_of_the_target_are_found_and_others_have_none() -> None:
    async with simulated(LONG) as octane, channel_to(octane.address) as channel:
        for pin, handle in CONNECTED.items():
            assert (await ask(channel, "connectedNode", objectPtr=node(TARGET), pinId=pin)).result == node(handle)

        for holder, pin in ((TARGET, nodes.P_EXPOSURE), (CAMERA, nodes.P_IMAGER)):
            assert not (await ask(channel, "connectedNode", objectPtr=node(holder), pinId=pin)).result.handle
        with pytest.raises(grpc.aio.AioRpcError, match="invalid pointer type"):
            await ask(channel, "connectedNode", objectPtr=node(77), pinId=nodes.P_IMAGER)


async def test_an_imagers_pin_keeps_the_render_and_any_other_starts_it_anew() -> None:
    async with simulated(LONG) as octane, channel_to(octane.address) as channel:
        await eventually(lambda: octane.render.samples > 1)
        exposure = {"item_ref": node(IMAGER), "pin_id": nodes.P_EXPOSURE}
        assert (await ask(channel, "setPinValueByPinID", **exposure, float_value=2.5)).success
        assert (await ask(channel, "getPinValueByPinID", **exposure)).float_value == 2.5
        assert octane.render.wipes == 0

        offset = {"item_ref": node(FILM), "pin_id": nodes.P_REGION_OFFSET}
        await ask(channel, "setPinValueByPinID", **offset, int2_value=nodes.int32_2(x=4, y=3))

        assert (await ask(channel, "getPinValueByPinID", **offset)).int2_value == nodes.int32_2(x=4, y=3)
        assert octane.render.wipes == 1


@pytest.mark.parametrize(("fields", "text"), [({}, "no value"), ({"bool_value": True}, "another type")])
async def test_no_value_and_one_of_another_type_are_refused_and_change_nothing(
    fields: dict[str, bool], text: str
) -> None:
    async with simulated(LONG) as octane, channel_to(octane.address) as channel:
        with pytest.raises(grpc.aio.AioRpcError, match=text) as fault:
            await ask(channel, "setPinValueByPinID", item_ref=node(FILM), pin_id=nodes.P_REGION_SIZE, **fields)

        assert fault.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert octane.pins.get(FILM, nodes.P_REGION_SIZE) == (48, 27) and octane.render.wipes == 0


async def test_each_generation_knows_only_the_calls_of_its_own() -> None:
    exposure = {"objectPtr": node(IMAGER), "id": nodes.P_EXPOSURE}
    async with simulated(ALPHA) as octane, channel_to(octane.address) as channel:
        await ask(channel, "setPinValue1", **exposure, value=3.0)
        assert (await ask(channel, "getPinValue1", **exposure)).value == 3.0
        with pytest.raises(grpc.aio.AioRpcError) as fault:
            await ask(channel, "getPinValueByPinID", item_ref=node(IMAGER), pin_id=nodes.P_EXPOSURE)
        assert fault.value.code() is grpc.StatusCode.UNIMPLEMENTED

    async with simulated(LONG) as octane, channel_to(octane.address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as fault:
            await ask(channel, "setPinValue1", **exposure, value=3.0)
        assert fault.value.code() is grpc.StatusCode.UNIMPLEMENTED
        assert octane.pins.get(IMAGER, nodes.P_EXPOSURE) == 1.0
