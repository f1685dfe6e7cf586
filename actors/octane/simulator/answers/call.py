"""Declares one call to a simulated Octane, and what answers it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from actors.octane.simulator.simulator import Simulator


@dataclass(frozen=True, slots=True)
class RpcCall:
    """One call: its request, who made it, and the Octane that is to answer."""

    octane: Simulator
    request: Any
    peer: str


# The fields of the response; None where it has none. Raises CallRefused.
Fields = Mapping[str, Any] | None
Answer = Callable[[RpcCall], Fields | Awaitable[Fields]]


def result(value: Any) -> Fields:
    """The response of most calls: one field of that name."""
    return {"result": value}
