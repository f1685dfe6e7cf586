"""Runs the Octane actor under a Probe, for tests."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from actors.octane.actor import Octane, OctaneSettings
from actors.octane.client import MAX_MESSAGE, ClientSettings
from actors.system.probe import Probe


def watching(
    address: str,
    *,
    max_message: int = MAX_MESSAGE,
    stream_lifetime: float = 60.0,
    stored: Sequence[tuple[str, Mapping[str, Any]]] = (),
    **settings: Any,
) -> Probe:
    quick = OctaneSettings(address=address, reconnect=0.3, **settings)
    return Probe(
        lambda: Octane(quick, ClientSettings(stream_lifetime=stream_lifetime, max_message=max_message)), stored=stored
    )


def said(probe: Probe, kind: str) -> list[Any]:
    """The data of every event of a kind, in order."""
    return [data for subject, data in probe.emitted if subject == f"octane.main.{kind}"]


def statuses(probe: Probe) -> list[str]:
    """What the Octane was, one after the other."""
    return [status for status, _ in itertools.groupby(state["status"] for state in said(probe, "state"))]


def latest(probe: Probe) -> dict[str, Any]:
    """The newest state; empty before the first."""
    states = said(probe, "state")
    return dict(states[-1]) if states else {}


def pictures(probe: Probe) -> dict[int, dict[str, Any]]:
    """The headers of the different pictures by number."""
    return {header["seq"]: dict(header) for _, header, _ in probe.frames}
