"""Ends a connection at once, without the closing that ASGI waits for."""

from __future__ import annotations

from starlette.types import Scope

from edge import metrics
from edge.disconnect import SLOW

# What a connection's scope has where it can be aborted.
ABORT = "callboard.abort"


def abort(scope: Scope, transport: str) -> None:
    """Aborts the connection of a client that takes nothing: it will not read why, nor what still waits for it."""
    metrics.disconnects.labels(transport, SLOW.reason).inc()
    cut(scope)


def cut(scope: Scope) -> None:
    """Cuts a connection off, so that its client does not take the end of the answer for that of what it is about."""
    if (now := (scope.get("extensions") or {}).get(ABORT)) is not None:
        now()
