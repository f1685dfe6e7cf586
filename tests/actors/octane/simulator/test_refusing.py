"""Tests of actors/octane/simulator/refusing.py: which references a call is refused for, and as what."""

from __future__ import annotations

import grpc
import pytest

from actors.octane.simulator.refusing import CallRefused, invalid, require_node
from protos import octane_types_pb2 as wire

KNOWN = frozenset({7})


def test_a_node_that_exists_and_no_node_at_all_are_taken() -> None:
    require_node(wire.ObjectRef(handle=7, type=wire.ObjectRef.ApiNode), KNOWN)
    require_node(wire.ObjectRef(), KNOWN)


@pytest.mark.parametrize(
    "reference",
    [
        wire.ObjectRef(handle=8, type=wire.ObjectRef.ApiNode),
        wire.ObjectRef(handle=7),
        wire.ObjectRef(handle=7, type=wire.ObjectRef.ApiSharedSurface),
    ],
)
def test_an_unknown_node_and_one_of_another_type_are_refused(reference: wire.ObjectRef) -> None:
    with pytest.raises(CallRefused, match="invalid pointer type") as refused:
        require_node(reference, KNOWN)

    assert refused.value.code is grpc.StatusCode.INVALID_ARGUMENT


def test_a_refused_argument_says_what_is_wrong() -> None:
    refusal = invalid("no value")

    assert (refusal.code, str(refusal)) == (grpc.StatusCode.INVALID_ARGUMENT, "no value")
