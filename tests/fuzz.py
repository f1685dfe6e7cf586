"""Generates msgpack that another client may publish as an event: well-formed, odd, and broken."""

from __future__ import annotations

from typing import Any

import msgpack
from hypothesis import strategies as st

LAST_SECOND = 253_402_300_799

TIMESTAMPS = st.builds(
    msgpack.Timestamp,
    st.integers(-(2**63), 2**63 - 1)
    | st.sampled_from([LAST_SECOND, LAST_SECOND + 1, -62_135_596_800, -62_135_596_801, 0]),
    st.integers(0, 999_999_999) | st.sampled_from([0, 999_999_499, 999_999_500, 999_999_999]),
)
EXTS = st.builds(msgpack.ExtType, st.integers(0, 127), st.binary(max_size=8))
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=8)
    | st.binary(max_size=8)
    | TIMESTAMPS
    | EXTS
)
KEYS = st.text(max_size=5) | SCALARS.filter(lambda value: value == value) | st.tuples(SCALARS)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=8
)
DATA = st.dictionaries(st.sampled_from(["n", "m", "at", "text"]) | KEYS, VALUES, max_size=4)


def packed(event: dict[str, Any]) -> bytes:
    """The bytes of an event of which any field may be anything."""
    # The C packer takes a key of any type; `tuple` is an array.
    return bytes(msgpack.packb(event, use_bin_type=True))


@st.composite
def odd_fields(draw: st.DrawFn) -> dict[str, Any]:
    """The fields of an event, with odd data, and now and then another odd field."""
    event: dict[str, Any] = {"id": "x1", "type": "output", "source": "fuzz", "subject": "job.fuzz.output", "time": 1}
    event["data"] = draw(DATA)
    for name in draw(st.lists(st.sampled_from(["id", "type", "source", "time", "key", "cause", "trace"]), max_size=2)):
        event[name] = draw(SCALARS)
    return event


@st.composite
def mutated_events(draw: st.DrawFn) -> bytes:
    """The bytes of an event with odd data, of which some bytes may be others."""
    payload = bytearray(packed(draw(odd_fields())))
    for _ in range(draw(st.integers(0, 3))):
        payload[draw(st.integers(0, len(payload) - 1))] = draw(st.integers(0, 255))
    return bytes(payload)
