"""Lists the sections of the settings: the class of each, and what its variables begin with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from actors.camera.sources.address import shown_address
from actors.catalog import ACTORS


@dataclass(frozen=True)
class CommandSettings:
    """What concerns the command itself and no part of the system."""

    debug: bool = False
    edge_url: str | None = None
    # The token that commands send to the edge.
    token: str | None = None
    # Of programs that use the SDK: where their runs send to (nats://… or http://…), and where they keep what is not stored
    # yet; without it callboard/spool in the user's state folder.
    url: str | None = None
    spool_dir: Path | None = None
    instance: str = "main"
    # Where running `callboard up` are registered; without it in the user's runtime folder.
    runtime_dir: Path | None = None


@dataclass(frozen=True)
class UpSettings:
    """Which processes `callboard up` starts: all, or only those named; with or without the simulated Octane."""

    only: tuple[str, ...] = ()
    demo: bool = True
    # Several Octanes, as NAME=HOST:PORT: an actor for each of them, with state, commands and pictures of its own.
    octanes: tuple[str, ...] = ()
    # Several cameras, as NAME=ADDRESS, one a line or separated by commas: an actor for each of them.
    cameras: tuple[str, ...] = field(default=(), repr=False, metadata={"shown": shown_address})


@dataclass(frozen=True)
class InternalSettings:
    """Where a process serves /livez, /readyz, /metrics and /logs; without a port, nowhere.

    /metrics is then no longer on the edge's public port. Of several processes of one tree each takes the next port; the
    workers of one edge are answered for by the process above them.
    """

    port: int | None = None
    host: str = "127.0.0.1"


@dataclass(frozen=True)
class LogSettings:
    """How much is logged, and in which form."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"
    # Of one text at most so many lines in a row, and then so many a second: a fault that repeats must not fill a disk.
    # What was left out is counted in the next line. 0 leaves nothing out.
    burst: int = 20
    per_second: float = 2.0


class Section(NamedTuple):
    """A settings class: where it is, and what its variables begin with."""

    prefix: str
    where: str
    renamed: Mapping[str, str] = {}


# In the order of `callboard settings`. The parts that every command needs come first.
SECTIONS: Mapping[str, Section] = {
    "broker": Section("NATS_", "router.nats.settings:BrokerSettings"),
    "embedded": Section("EMBEDDED_", "router.nats.embedded:EmbeddedSettings", {"data_dir": "DATA_DIR"}),
    "topology": Section("", "router.topology:TopologySettings"),
    "catalogue": Section("", "router.event_types.own:CatalogueSettings"),
    "log": Section("LOG_", "ops.sections:LogSettings"),
    "command": Section("", "ops.sections:CommandSettings"),
    "up": Section("UP_", "ops.sections:UpSettings", {"octanes": "OCTANES", "cameras": "CAMERAS"}),
    "internal": Section("INTERNAL_", "ops.sections:InternalSettings"),
    "otel": Section("OTEL_", "ops.process.tracing:TracingSettings"),
    "edge": Section("EDGE_", "edge.settings:EdgeSettings", {"webhooks": "WEBHOOK"}),
    "identity": Section(
        "JWT_",
        "edge.settings:IdentitySettings",
        {
            name: name.upper()
            for name in (
                "jwks_url",
                "jwks_max_age",
                "jwks_max_stale",
                "jwks_min_interval",
                "token_in_query",
                "ticket_ttl",
            )
        },
    ),
    "guard": Section("WEBHOOK_", "edge.webhooks.client.ssrf:GuardSettings"),
    **{name: Section(f"{name.upper()}_", part.settings) for name, part in ACTORS.items() if part.settings},
    "simulator": Section("SIMULATOR_", "actors.octane.simulator.simulator:SimulatorSettings"),
}
BASE = ("broker", "embedded", "topology", "catalogue", "log", "command", "up", "internal", "otel")
