"""Reads and sets values of the pins of a render target's nodes, over the node service of either generation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from google.protobuf.empty_pb2 import Empty

from actors.octane.errors import Declined
from actors.octane.link import OctaneLink, is_unknown_call
from protos import octane_node_pb2 as node
from protos import octane_types_pb2 as wire
from protos.octane_node_pb2 import PinId

Node = node.ApiNode
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PinType(Generic[T]):
    """How the values of a type travel: Beta 2's field for them, and the number of Alpha 5's calls."""

    field: str
    number: str
    write: Callable[[T], Any]
    read: Callable[[Any], T]


FLOAT: PinType[float] = PinType("float_value", "1", float, float)
BOOL: PinType[bool] = PinType("bool_value", "", bool, bool)
COLOUR: PinType[tuple[float, float, float]] = PinType(
    "float3_value",
    "3",
    lambda value: wire.float_3(x=value[0], y=value[1], z=value[2]),
    lambda value: (value.x, value.y, value.z),
)
PAIR: PinType[tuple[int, int]] = PinType(
    "int2_value", "6", lambda value: node.int32_2(x=value[0], y=value[1]), lambda value: (value.x, value.y)
)


@dataclass(frozen=True, slots=True)
class Pin(Generic[T]):
    """A pin of a node that is connected to the render target."""

    node: PinId
    id: PinId
    type: PinType[T]


EXPOSURE = Pin(node.P_IMAGER, node.P_EXPOSURE, FLOAT)
GAMMA = Pin(node.P_IMAGER, node.P_GAMMA, FLOAT)
WHITE_BALANCE = Pin(node.P_IMAGER, node.P_WHITE_BALANCE, COLOUR)
RESOLUTION = Pin(node.P_FILM_SETTINGS, node.P_RESOLUTION, PAIR)
REGION_OFFSET = Pin(node.P_FILM_SETTINGS, node.P_REGION_OFFSET, PAIR)
REGION_SIZE = Pin(node.P_FILM_SETTINGS, node.P_REGION_SIZE, PAIR)
AUTOFOCUS = Pin(node.P_CAMERA, node.P_AUTOFOCUS, BOOL)
FOCAL_DEPTH = Pin(node.P_CAMERA, node.P_FOCAL_DEPTH, FLOAT)


class OctanePins:
    """The pins of the render target's nodes. Which generation answers is found out by the first call."""

    def __init__(self, link: OctaneLink) -> None:
        self._link = link
        self._alpha = False

    async def get(self, target: tuple[int, int], pin: Pin[T]) -> T | None:
        """The value of a pin; None where the target has no such node. Raises Reject, Declined or Disconnected."""
        found = await self._node(target, pin.node)
        if found is None:
            return None
        if not self._alpha:
            try:
                request = Node.getPinValueByIDRequest(item_ref=found, pin_id=pin.id)
                answer = await self._link.nodes("getPinValueByPinID", request, Node.getPinValueByXResponse)
                return pin.type.read(getattr(answer, pin.type.field)) if answer.HasField(pin.type.field) else None
            except Declined as fault:
                if not is_unknown_call(fault):
                    raise
        name = f"getPinValue{pin.type.number}"
        request = getattr(Node, f"{name}Request")(objectPtr=found, id=pin.id)
        answer = await self._link.nodes(name, request, getattr(Node, f"{name}Response"))
        self._alpha = True
        return pin.type.read(answer.value)

    async def set(self, target: tuple[int, int], pin: Pin[T], value: T) -> None:
        """Sets the value of a pin. Raises Reject, Declined or Disconnected."""
        found = await self._node(target, pin.node)
        if found is None:
            raise Declined("the render target has no such node")
        written = pin.type.write(value)
        if not self._alpha:
            try:
                request = Node.setPinValueByIDRequest(
                    item_ref=found, pin_id=pin.id, evaluate=True, **{pin.type.field: written}
                )
                answer = await self._link.nodes("setPinValueByPinID", request, Node.setPinValueResponse)
            except Declined as fault:
                if not is_unknown_call(fault):
                    raise
            else:
                # Some servers leave `success` out; a reason beside it is a failure for certain.
                if answer.error_message:
                    raise Declined(answer.error_message[:300])
                return
        name = f"setPinValue{pin.type.number}"
        request = getattr(Node, f"{name}Request")(objectPtr=found, id=pin.id, value=written, evaluate=True)
        await self._link.nodes(name, request, Empty)
        self._alpha = True

    def forget(self) -> None:
        """Another Octane may answer, of the other generation."""
        self._alpha = False

    async def _node(self, target: tuple[int, int], pin: PinId) -> wire.ObjectRef | None:
        of = reference(target)
        # ApiNode: a call of the node service takes no other type, and a target is one whatever its reference says.
        of.type = wire.ObjectRef.ApiNode
        request = Node.connectedNodeRequest(objectPtr=of, pinId=pin, enterWrapperNode=True)
        answer = await self._link.nodes("connectedNode", request, Node.connectedNodeResponse)
        return answer.result if answer.result.handle else None


def reference(target: tuple[int, int]) -> wire.ObjectRef:
    """The reference to an object, of its handle and type."""
    found = wire.ObjectRef(handle=target[0])
    # A type that this proto does not name is still a number that Octane gave.
    found.type = target[1]  # type: ignore[assignment]
    return found
