"""Answers the calls about pins of nodes, with those of the generation that is simulated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc

from actors.octane.simulator.answers.call import Answer, Fields, RpcCall, result
from actors.octane.simulator.pins import CONNECTED, FILM, IMAGER
from actors.octane.simulator.refusing import CallRefused, invalid, require_node
from actors.octane.simulator.settings import OctaneGeneration
from actors.octane.simulator.simulator import NODES, TARGET, node
from protos import octane_node_pb2 as nodes
from protos import octane_types_pb2 as wire

_KNOWN = NODES | {IMAGER, FILM}


def connected_node(call: RpcCall) -> Fields:
    """The node behind a pin of the render target; the others have none."""
    require_node(call.request.objectPtr, _KNOWN)
    found = CONNECTED.get(call.request.pinId) if call.request.objectPtr.handle == TARGET else None
    return result(wire.ObjectRef() if found is None else node(found))


def _of(*generations: OctaneGeneration) -> Callable[[Answer], Answer]:
    """Lets a call be unknown to all but these generations."""

    def limit(answer: Answer) -> Answer:
        def limited(call: RpcCall) -> Any:
            if call.octane.settings.generation not in generations:
                raise CallRefused(grpc.StatusCode.UNIMPLEMENTED, "unknown method")
            return answer(call)

        return limited

    return limit


_beta, _alpha = _of(OctaneGeneration.BETA_2), _of(OctaneGeneration.ALPHA_3, OctaneGeneration.ALPHA_5)


@_beta
def get_by_pin_id(call: RpcCall) -> Fields:
    require_node(call.request.item_ref, _KNOWN)
    value = call.octane.pins.get(call.request.item_ref.handle, call.request.pin_id)
    return {_FIELDS[type(value), len(value) if isinstance(value, tuple) else 1]: _written(value)}


@_beta
def set_by_pin_id(call: RpcCall) -> Fields:
    request = call.request
    require_node(request.item_ref, _KNOWN)
    name = request.WhichOneof("value")
    if name is None:
        raise invalid("no value")
    _set(call, request.item_ref.handle, request.pin_id, _read(getattr(request, name)))
    return {"success": True}


@_alpha
def get_value(call: RpcCall) -> Fields:
    require_node(call.request.objectPtr, _KNOWN)
    return {"value": _written(call.octane.pins.get(call.request.objectPtr.handle, call.request.id))}


@_alpha
def set_value(call: RpcCall) -> Fields:
    require_node(call.request.objectPtr, _KNOWN)
    _set(call, call.request.objectPtr.handle, call.request.id, _read(call.request.value))
    return None


def _set(call: RpcCall, handle: int, pin: int, value: Any) -> None:
    call.octane.pins.set(handle, pin, value)
    if handle != IMAGER:
        # The imager works on what is rendered; all else is rendered anew.
        call.octane.render.restart()


_FIELDS: dict[tuple[type, int], str] = {
    (bool, 1): "bool_value",
    (float, 1): "float_value",
    (tuple, 2): "int2_value",
    (tuple, 3): "float3_value",
}


def _written(value: Any) -> Any:
    if not isinstance(value, tuple):
        return value
    if len(value) == 2:
        return nodes.int32_2(x=value[0], y=value[1])
    return wire.float_3(x=value[0], y=value[1], z=value[2])


def _read(value: Any) -> Any:
    if isinstance(value, nodes.int32_2):
        return value.x, value.y
    return (value.x, value.y, value.z) if isinstance(value, wire.float_3) else value


NODE_ANSWERS: dict[str, Answer] = {
    "connectedNode": connected_node,
    "getPinValueByPinID": get_by_pin_id,
    "setPinValueByPinID": set_by_pin_id,
    **{f"getPinValue{number}": get_value for number in ("", "1", "3", "6")},
    **{f"setPinValue{number}": set_value for number in ("", "1", "3", "6")},
}
