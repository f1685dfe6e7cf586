"""Lists the actors. Reading the list imports none of them; `load` imports one."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from actors.system.actor import Actor


class CatalogEntry(NamedTuple):
    """One actor: where its class is, where its settings are (None where it takes none), and what it does."""

    actor: str
    settings: str | None
    about: str

    def load(self) -> type[Actor]:
        """Imports the actor's class."""
        found: type[Actor] = _named(self.actor)
        return found


ACTORS: Mapping[str, CatalogEntry] = {
    "octane": CatalogEntry(
        "actors.octane.actor:Octane",
        "actors.octane.actor:OctaneSettings",
        "follows an Octane render over gRPC",
    ),
    "camera": CatalogEntry(
        "actors.camera.actor:Camera",
        "actors.camera.settings:CameraSettings",
        "streams a camera's pictures while somebody watches",
    ),
    "agent": CatalogEntry(
        "actors.agent.actor:Agent",
        "actors.agent.actor:AgentSettings",
        "keeps the latest state of every run, job and thread",
    ),
    "alerts": CatalogEntry(
        "actors.alerts.actor:Alerts",
        "actors.alerts.actor:AlertsSettings",
        "watches all events and raises alerts by rules",
    ),
    "metrics": CatalogEntry(
        "actors.metrics.actor:Metrics",
        "actors.metrics.actor:MetricsSettings",
        "keeps the latest metrics of every entity",
    ),
}


def _named(where: str) -> Any:
    module, _, name = where.partition(":")
    return getattr(importlib.import_module(module), name)
