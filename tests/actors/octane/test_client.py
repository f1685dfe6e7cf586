"""The client's side of the wire, against the simulator and servers that misbehave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Any

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty

from actors.octane.client import CallbackKind, ClientSettings, OctaneClient, read_signal
from actors.octane.errors import Declined, Disconnected
from actors.octane.simulator.simulator import Generation
from actors.octane.simulator.simulator import SimulatedKind as Told
from protos import octane_stream_pb2_grpc as stream_rpc
from protos import octane_types_pb2 as wire
from router.nats.embedded import free_port
from tests.actors.octane.simulation import LONG, QUICK, simulated
from tests.waiting import PATIENCE, eventually


@asynccontextmanager
async def serving(*parts: tuple[Any, Any]) -> AsyncIterator[str]:
    """A gRPC server with only these services."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    for add, servicer in parts:
        add(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


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


async def test_the_stream_is_opened_again_when_its_time_is_up():
    settings = ClientSettings(stream_lifetime=0.4, stream_shortest=0.0)
    async with simulated(LONG) as octane, OctaneClient(octane.address, settings) as client:
        await client.register()
        opened = images = 0
        async with aclosing(client.signals()) as signals:
            async for signal in signals:
                opened += signal.kind is CallbackKind.OPENED
                images += signal.kind is CallbackKind.NEW_IMAGE
                if opened >= 3 and images >= 5:
                    break

        assert octane.streams_opened >= 2
        await eventually(lambda: not octane.listeners)


async def test_leaving_takes_the_registrations_back():
    async with simulated(LONG) as octane:
        async with OctaneClient(octane.address) as client:
            await client.register()
            assert set(octane.registered) == {Told.NEW_IMAGE, Told.NEW_STATISTICS, Told.RENDER_FAILURE}

        assert octane.registered == {}


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
        await client.register()
        await client.tone_map()
        assert (identity.name, identity.version, identity.simulated) == ("Octane", "", False)
        assert await client.device_faults() == [] and await client.current_project() == ""
        with pytest.raises(Declined, match="unimplemented"):
            await client.grab()


class Shut(stream_rpc.StreamCallbackServiceServicer):
    """A stream that ends before it has begun."""

    async def callbackChannel(self, request: Empty, context: Any) -> AsyncIterator[Any]:
        return
        yield


async def test_a_stream_that_ends_at_once_is_no_reason_to_spin():
    only = (stream_rpc.add_StreamCallbackServiceServicer_to_server, Shut())
    async with serving(only) as address, OctaneClient(address) as client, aclosing(client.signals()) as signals:
        assert (await anext(signals)).kind is CallbackKind.OPENED
        with pytest.raises(Disconnected):
            await anext(signals)


async def test_a_server_that_dies_ends_the_stream():
    async with simulated(LONG) as octane:
        client = OctaneClient(octane.address)
        await client.__aenter__()
        signals = client.signals()
        await anext(signals)
        waiting = asyncio.ensure_future(anext(signals))
        await eventually(lambda: octane.listeners)

    with pytest.raises(Disconnected):
        await waiting
    await client.__aexit__(None, None, None)


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
            with pytest.raises(Disconnected):
                await client.grab()


@pytest.mark.parametrize(
    ("payload", "kind", "images"),
    [
        ("5200", CallbackKind.NEW_IMAGE, 0),
        ("52020807", CallbackKind.NEW_IMAGE, 0),
        ("5a00", CallbackKind.RENDER_FAILURE, 0),
        ("6200", CallbackKind.NEW_STATISTICS, 0),
        ("6a00", CallbackKind.PROJECT_CHANGED, 0),
        ("52240a04677270631003180722180a162a040802100130023a0c0a0800010203040506071008", CallbackKind.NEW_IMAGE, 1),
    ],
)
def test_events_of_both_generations_are_read(payload, kind, images):
    signal = read_signal(bytes.fromhex(payload))

    assert signal is not None and (signal.kind, len(signal.images)) == (kind, images)


@pytest.mark.parametrize("payload", [b"", b"\xff\xff\xff", bytes.fromhex("7200")])
def test_what_is_no_event_is_passed_over(payload):
    assert read_signal(payload) is None


async def test_alpha_5_brings_its_images_along():
    older = replace(QUICK, generation=Generation.ALPHA_5)
    async with simulated(older) as octane, OctaneClient(octane.address) as client:
        await client.register()
        async with aclosing(client.signals()) as signals:
            async for signal in signals:
                if signal.images:
                    break

    assert signal.images[0].size.x == QUICK.width
