"""Finds the id of a render pass by the name that its pictures carry."""

from __future__ import annotations

import re

from actors.system.actor import Reject
from protos import octane_types_pb2 as wire

_NUMBERED = re.compile(r"pass-(\d{1,9})")


def pass_id(name: str) -> int:
    """The id of `beauty`, `z_depth` or `pass-501`. Raises Reject."""
    if numbered := _NUMBERED.fullmatch(name):
        return int(numbered[1])
    try:
        return wire.RenderPassId.Value(f"RENDER_PASS_{name.upper()}")
    except ValueError:
        raise Reject(
            f"argument 'passes': no render pass is called {name[:40]!r}; names are such as beauty, z_depth or pass-501"
        ) from None
