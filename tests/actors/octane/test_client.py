"""The client's side of the wire, against the simulator and servers that misbehave."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from actors.octane.callbacks import CallbackRegistration
from actors.octane.client import ClientSettings, OctaneClient
from actors.octane.errors import CallUnanswered, Declined, Disconnected
from actors.octane.tonemap import OctaneTonemap
from protos import octane_types_pb2 as wire
from router.nats.embedded import free_port
from tests.actors.octane.simulation import LONG, serving, simulated
from tests.waiting import PATIENCE, eventually


async def test_it_learns_who_is_there_and_that_it_is_simulated():
    async with simulated() as octane, OctaneClient(octane.address) as client:
        identity = await client.identify()

    assert (identity.simulated, identity.version) == (True, "15.0.0.8")
    assert identity.name == "Callboard simulator of Octane"


async def test_an_address_where_nobody_listens_is_found_out_at_once():
    # Without an answer a call would go on for an hour.
    settings = ClientSettings(call_timeout=3600.0)
    async with OctaneClient(f"127.0.0.1:{free_port()}", settings) as client, asyncio.timeout(PATIENCE):
        with pytest.raises(Disconnected):
            await client.identify()


async def test_a_picture_larger_than_grpcs_own_limit_arrives_and_is_released():
    async with simulated(replace(LONG, height=1100, pitch=1200)) as octane, OctaneClient(octane.address) as client:
        await eventually(lambda: octane.render.samples)

        (image,) = await client.grab()

        assert len(image.buffer.data) == 1100 * 1200 * 4 > 4 << 20
        assert octane.releases == 1


async def test_before_the_first_sample_there_is_nothing_to_grab_or_release():
    async with simulated(replace(LONG, samples_per_second=0.1)) as octane, OctaneClient(octane.address) as client:
        assert await client.grab() == []
        assert octane.releases == 0


async def test_the_devices_say_why_a_render_failed():
    async with simulated(LONG) as octane, OctaneClient(octane.address) as client:
        assert await client.device_faults() == []
        octane.fail(wire.RENDER_ERROR_NOT_ENOUGH_DEVICE_MEMORY)

        (fault,) = await client.device_faults()

    assert (fault.index, fault.state, fault.error) == (0, "active_failed", "not_enough_device_memory")
    assert fault.name and fault.message


async def test_a_server_that_knows_no_call_is_answered_with_patience():
    async with serving() as address, OctaneClient(address) as client:
        identity = await client.identify()
        await CallbackRegistration(client, lambda _: None).ask()
        await OctaneTonemap().begin(client)
        assert (identity.name, identity.version, identity.simulated) == ("Octane", "", False)
        assert await client.device_faults() == [] and await client.current_project() == ""
        with pytest.raises(Declined, match="unimplemented"):
            await client.grab()


async def test_a_call_whose_channel_another_task_closes_is_not_taken_for_a_cancelled_task():
    async with simulated(LONG) as octane:
        gate = asyncio.Event()

        async def never() -> None:
            await gate.wait()

        octane.image = never  # type: ignore[method-assign, assignment]
        async with OctaneClient(octane.address) as client:
            calling = asyncio.create_task(client.grab())
            await eventually(lambda: octane.grabs)

        with pytest.raises(Disconnected):
            await calling
        assert not calling.cancelled()


async def test_a_server_that_does_not_answer_is_given_up():
    async with simulated(LONG) as octane:
        octane.image = asyncio.Event().wait  # type: ignore[method-assign, assignment]
        async with OctaneClient(octane.address, ClientSettings(call_timeout=0.2)) as client:
            with pytest.raises(CallUnanswered):
                await client.grab()
