"""How the simulator listens and ends."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty

from actors.octane.errors import AddressBusy
from actors.octane.simulator.server import serve
from protos import octane_stream_pb2_grpc as stream_rpc
from tests.actors.octane.simulation import QUICK, simulated
from tests.waiting import eventually, in_time


async def test_a_busy_port_is_one_clear_line():
    async with simulated() as octane:
        port = int(octane.address.rpartition(":")[2])

        with pytest.raises(AddressBusy, match=rf"cannot listen on 127\.0\.0\.1:{port}: another program") as refused:
            await serve(replace(QUICK, port=port))

    assert isinstance(refused.value, OSError) and "\n" not in str(refused.value)


async def test_cancelling_frees_the_port_while_a_stream_is_open():
    async with simulated() as octane:
        channel = grpc.aio.insecure_channel(octane.address)
        events = stream_rpc.StreamCallbackServiceStub(channel).callbackChannel(Empty())
        await eventually(lambda: octane.listeners)
    with pytest.raises(grpc.aio.AioRpcError):
        while True:
            assert await events.read() is not grpc.aio.EOF
    await channel.close()

    host, _, port = octane.address.rpartition(":")
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind((host, int(port)))


async def test_serve_tells_its_address_and_ends_when_cancelled():
    told: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve(QUICK, told.set_result))
    address = await in_time(told)
    assert address.startswith("127.0.0.1:") and not address.endswith(":0")

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
