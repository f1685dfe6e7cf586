"""Asks an Octane as a client that knows nothing but the wire."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
from google.protobuf.empty_pb2 import Empty

from actors.octane.simulator.services import SERVICES
from protos import octane_render_pb2 as render
from protos import octane_stream_alpha_pb2 as alpha
from tests.waiting import PATIENCE

STREAM = "/octaneapi.StreamCallbackService/callbackChannel"
_OPTIONS = [("grpc.max_receive_message_length", 64 << 20), ("grpc.use_local_subchannel_pool", 1)]


def channel_to(address: str) -> grpc.aio.Channel:
    """A connection of its own."""
    return grpc.aio.insecure_channel(address, options=_OPTIONS)


async def call(address: str, rpc: str, *, timeout: float = 30.0, **fields: Any) -> Any:
    """Makes one call of any service, on a connection of its own; `fields` are those of its request."""
    async with channel_to(address) as channel:
        return await ask(channel, rpc, timeout=timeout, **fields)


async def ask(channel: grpc.aio.Channel, rpc: str, *, timeout: float = 30.0, **fields: Any) -> Any:
    """Makes one call on a connection that is there."""
    for service, (declared, answers) in SERVICES.items():
        if rpc in answers:
            method = declared.DESCRIPTOR.services_by_name[service.partition(".")[2]].methods_by_name[rpc]
            request, response = method.input_type._concrete_class, method.output_type._concrete_class
            unary = channel.unary_unary(
                f"/{service}/{rpc}",
                request_serializer=request.SerializeToString,
                response_deserializer=response.FromString,
            )
            return await unary(request(**fields), timeout=timeout)
    raise LookupError(f"no service has an rpc {rpc}")


async def register(channel: grpc.aio.Channel, user_data: int = 0, kind: str = "NewImage") -> Any:
    """Registers for a kind of callback: NewImage, NewStatistics or RenderFailure."""
    callback = getattr(render, f"On{kind}CallbackT")(callbackSource="grpc", callbackId=1)
    return await ask(channel, f"setOn{kind}Callback", callback=callback, userData=user_data)


def events_of(channel: grpc.aio.Channel) -> Any:
    """Opens a callback stream; its events are read with the layout of the Alphas, which reads Beta 2's too."""
    method = channel.unary_stream(
        STREAM,
        request_serializer=Empty.SerializeToString,
        response_deserializer=alpha.StreamCallbackRequestAlpha.FromString,
    )
    return method(Empty())


async def end_of(events: Any) -> grpc.StatusCode:
    """The status that a stream ends with. What it says before has to be read: gRPC hands the status over last."""
    async with asyncio.timeout(PATIENCE):
        try:
            while await events.read() is not grpc.aio.EOF:
                pass
        except grpc.aio.AioRpcError:
            pass
        code: grpc.StatusCode = await events.code()
        return code


@asynccontextmanager
async def listening(address: str, user_data: int = 0) -> AsyncIterator[tuple[grpc.aio.Channel, Any]]:
    """A client that has registered for images and reads its stream."""
    async with channel_to(address) as channel:
        events = events_of(channel)
        await register(channel, user_data)
        try:
            yield channel, events
        finally:
            events.cancel()
