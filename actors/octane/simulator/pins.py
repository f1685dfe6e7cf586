"""Holds the values of the pins of a simulated render target's nodes."""

from __future__ import annotations

from typing import Any

from actors.octane.simulator.refusing import invalid
from protos import octane_node_pb2 as node

# Handles of the nodes that are connected to the render target, by the target's pins.
IMAGER, FILM, CAMERA = 1000010, 1000011, 1000008
CONNECTED: dict[int, int] = {node.P_IMAGER: IMAGER, node.P_FILM_SETTINGS: FILM, node.P_CAMERA: CAMERA}

Pair = tuple[int, int]
Colour = tuple[float, float, float]


class PinValues:
    """The pins that can be set, with what an Octane begins with. Each keeps its type."""

    def __init__(self, width: int, height: int) -> None:
        self._values: dict[tuple[int, int], Any] = {
            (IMAGER, node.P_EXPOSURE): 1.0,
            (IMAGER, node.P_GAMMA): 1.0,
            (IMAGER, node.P_WHITE_BALANCE): (1.0, 1.0, 1.0),
            (FILM, node.P_RESOLUTION): (width, height),
            (FILM, node.P_REGION_OFFSET): (0, 0),
            (FILM, node.P_REGION_SIZE): (width, height),
            (CAMERA, node.P_AUTOFOCUS): True,
            (CAMERA, node.P_FOCAL_DEPTH): 10.0,
        }

    def get(self, handle: int, pin: int) -> Any:
        """The value of a pin. Raises CallRefused where the node has no such pin."""
        if (handle, pin) not in self._values:
            raise invalid("the node has no such pin")
        return self._values[handle, pin]

    def set(self, handle: int, pin: int, value: Any) -> None:
        """Sets a pin. Raises CallRefused where it has another type, or does not exist."""
        now = self.get(handle, pin)
        if type(now) is not type(value) or (isinstance(now, tuple) and type(now[0]) is not type(value[0])):
            raise invalid("the pin has another type")
        self._values[handle, pin] = value

    @property
    def gains(self) -> Colour:
        """What the imager multiplies red, green and blue with: the exposure, and what makes its white point white."""
        exposure, white = self._values[IMAGER, node.P_EXPOSURE], self._values[IMAGER, node.P_WHITE_BALANCE]
        red, green, blue = (exposure / max(each, 1e-3) for each in white)
        return red, green, blue

    @property
    def gamma(self) -> float:
        """The imager's gamma."""
        return float(self._values[IMAGER, node.P_GAMMA])
