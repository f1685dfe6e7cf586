"""Serves a simulated Octane's answers and its callback stream over gRPC, under the names of the real services."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Mapping
from typing import Any

import grpc
from google.protobuf.empty_pb2 import Empty

from actors.octane.simulator.answers.call import Answer, RpcCall
from actors.octane.simulator.answers.devices import DEVICES
from actors.octane.simulator.answers.nodes import NODE_ANSWERS
from actors.octane.simulator.answers.picking import PICKING
from actors.octane.simulator.answers.pictures import PICTURES
from actors.octane.simulator.answers.project import CHANGES, INFO, LIVELINK, PROJECT
from actors.octane.simulator.answers.rendering import RENDERING
from actors.octane.simulator.faults import OctaneFault
from actors.octane.simulator.listeners import Listener, SimulatedKind, StreamEnd
from actors.octane.simulator.refusing import CallRefused
from actors.octane.simulator.settings import OctaneGeneration
from actors.octane.simulator.simulator import Simulator
from protos import octane_livelink_pb2 as livelink
from protos import octane_node_pb2 as node
from protos import octane_project_pb2 as project
from protos import octane_render_pb2 as render
from protos import octane_stream_alpha_pb2 as alpha
from protos import octane_stream_pb2 as stream
from protos import octane_types_pb2 as wire

Context = grpc.aio.ServicerContext[Any, Any]

# By the name of each service: the file that declares it, and the answers to its calls.
SERVICES: dict[str, tuple[Any, Mapping[str, Answer]]] = {
    "octaneapi.ApiRenderEngineService": (render, RENDERING | PICTURES | DEVICES | PICKING),
    "octaneapi.ApiInfoService": (project, INFO),
    "octaneapi.ApiProjectManagerService": (project, PROJECT),
    "octaneapi.ApiChangeManagerService": (project, CHANGES),
    "octaneapi.ApiNodeService": (node, NODE_ANSWERS),
    "livelinkapi.LiveLinkService": (livelink, LIVELINK),
}

_CODES = {StreamEnd.BROKEN: grpc.StatusCode.UNAVAILABLE, StreamEnd.UNKNOWN: grpc.StatusCode.UNKNOWN}


def add_services(server: grpc.aio.Server, simulator: Simulator) -> None:
    """Lets a server answer for a simulator."""
    handlers = [
        grpc.method_handlers_generic_handler(
            service,
            {
                rpc: _unary(simulator, declared.DESCRIPTOR.services_by_name[service.partition(".")[2]], rpc, answer)
                for rpc, answer in answers.items()
            },
        )
        for service, (declared, answers) in SERVICES.items()
    ]
    channel = {"callbackChannel": _stream(simulator)}
    handlers.append(grpc.method_handlers_generic_handler("octaneapi.StreamCallbackService", channel))
    server.add_generic_rpc_handlers(handlers)


def _unary(simulator: Simulator, service: Any, rpc: str, answer: Answer) -> Any:
    """The handler of one unary call: it is counted, waits while the Octane hangs, and is answered or refused."""
    declared = service.methods_by_name[rpc]
    request_type, response_type = declared.input_type._concrete_class, declared.output_type._concrete_class

    async def handle(request: Any, context: Context) -> Any:
        simulator.calls[rpc] += 1
        await simulator.faults.over(OctaneFault.HANG)
        try:
            fields = answer(RpcCall(simulator, request, context.peer()))
            fields = await fields if inspect.isawaitable(fields) else fields
        except CallRefused as refused:
            await context.abort(refused.code, str(refused))
        return _of_generation(simulator, rpc, response_type(**(fields or {})))

    return grpc.unary_unary_rpc_method_handler(
        handle, request_deserializer=request_type.FromString, response_serializer=_serialize
    )


def _of_generation(simulator: Simulator, rpc: str, response: Any) -> Any:
    """The response as the generation lays it out."""
    if simulator.settings.generation is not OctaneGeneration.ALPHA_3 or not rpc.endswith("Statistics"):
        return response
    if isinstance(response, render.ApiRenderEngine.getRenderStatisticsResponse):
        # In Alpha 3 this field is an enum.
        response.statistics.ClearField("upSamplingRatio")
        inner = response.statistics.SerializeToString() + b"\x20\x01"
        later = wire.RenderResultStatistics.FromString(inner)
        return render.ApiRenderEngine.getRenderStatisticsResponse(statistics=later)
    return response


def _serialize(message: Any) -> bytes:
    return bytes(message.SerializeToString())


def _stream(simulator: Simulator) -> Any:
    """The handler of the callback stream: of one direction, but for Alpha 3, which wants to hear of each image."""

    async def one_way(request: Empty, context: Context) -> AsyncIterator[Any]:
        async for kind in _events(simulator, context):
            yield await _event(simulator, kind)

    async def both_ways(answers: AsyncIterator[Any], context: Context) -> AsyncIterator[Any]:
        number = 0
        async for kind in _events(simulator, context):
            if kind is not SimulatedKind.NEW_IMAGE:
                continue  # Alpha 3 knows no other event
            number += 1
            event = alpha.StreamCallbackRequestAlpha3(request_id=str(number))
            event.newImage.CopyFrom((await _embedded(simulator, kind)).newImage)
            yield event
            # An Empty is an answer to nothing; the client that sent it, and has no more to say, is left.
            async for answer in answers:
                if answer.request_id == event.request_id:
                    break
            else:
                return

    if simulator.settings.generation is OctaneGeneration.ALPHA_3:
        return grpc.stream_stream_rpc_method_handler(
            both_ways,
            request_deserializer=alpha.StreamCallbackResponseAlpha3.FromString,
            response_serializer=_serialize,
        )
    return grpc.unary_stream_rpc_method_handler(
        one_way, request_deserializer=Empty.FromString, response_serializer=_serialize
    )


async def _events(simulator: Simulator, context: Context) -> AsyncIterator[SimulatedKind]:
    """What one stream is told, until it ends. Faults of streams happen here."""
    simulator.calls["callbackChannel"] += 1
    await simulator.faults.over(OctaneFault.HANG)
    with simulator.listening(context.peer(), context.time_remaining()) as listener:
        if OctaneFault.UNKNOWN_STATUS in simulator.faults:
            listener.close(StreamEnd.UNKNOWN)
        while (kind := await listener.next()) is not None:
            await simulator.faults.over(OctaneFault.HANG)
            yield kind
            if OctaneFault.DUPLICATE in simulator.faults:
                yield kind
        await _end(listener, context)


async def _end(listener: Listener, context: Context) -> None:
    """Ends a stream as its fault wants it; who lost the slot sees a plain end."""
    if listener.end in _CODES:
        await context.abort(_CODES[listener.end], listener.end.value)


async def _event(simulator: Simulator, kind: SimulatedKind) -> Any:
    if simulator.embeds_images:
        return await _embedded(simulator, kind)
    user_data = simulator.registered.get(kind, 0)
    return stream.StreamCallbackRequest(**{kind.value: {"user_data": user_data}})


async def _embedded(simulator: Simulator, kind: SimulatedKind) -> Any:
    """An event of the Alphas, which brings its images along."""
    registration = simulator.slot.registrations.get(kind)
    values: dict[str, Any] = {"callback_source": "grpc", "callback_id": registration.callback_id if registration else 0}
    values["user_data"] = registration.user_data if registration else 0
    if kind is SimulatedKind.NEW_IMAGE and (images := await simulator.images()):
        values["render_images"] = wire.ApiArrayApiRenderImage(data=images)
    return alpha.StreamCallbackRequestAlpha(**{kind.value: values})
