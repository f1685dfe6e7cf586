"""Says how a simulated Octane refuses a call, and checks what calls name."""

from __future__ import annotations

from collections.abc import Container

import grpc

from protos import octane_types_pb2 as wire


class CallRefused(Exception):
    """a call that the simulated Octane refuses, with the status and text of a real one"""

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.code = code


def invalid(text: str) -> CallRefused:
    """The refusal of an argument."""
    return CallRefused(grpc.StatusCode.INVALID_ARGUMENT, text)


def require_node(reference: wire.ObjectRef, known: Container[int]) -> None:
    """Refuses a reference to anything but a node that exists, or none. Raises CallRefused."""
    if reference.handle and (reference.type != wire.ObjectRef.ApiNode or reference.handle not in known):
        raise invalid("invalid pointer type")
