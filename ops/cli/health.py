"""Asks a process on this machine whether it is ready: what a container's health check runs."""

from __future__ import annotations

import sys
from typing import Any

from ops.cli.interruptible import run_interruptibly
from ops.cli.sessions import edge_of
from ops.process.http import get
from ops.process.ports import reachable, url_of
from ops.settings import Settings
from router.codec import from_json
from router.errors import BadEvent

# A health check that takes longer is itself a finding.
REQUEST_TIMEOUT = 2.0


def run_health(settings: Settings) -> int:
    """Says whether the process is ready; exit code 1 where it is not."""
    host, port = where(settings)
    try:
        answer = run_interruptibly(get(host, port, "/readyz", timeout=REQUEST_TIMEOUT))
    except OSError as fault:
        print(f"{url_of(host, port)}: {fault.strerror or fault}", file=sys.stderr)
        return 1
    if answer.status == 200:
        print("ready")
        return 0
    print(f"not ready: {_missing(answer.body)}", file=sys.stderr)
    return 1


def where(settings: Settings) -> tuple[str, int]:
    """Finds whom to ask: the internal port where there is one, else the edge."""
    if settings.internal.port is not None:
        return reachable(settings.internal.host), settings.internal.port
    return edge_of(settings)


def store_text(store: Any) -> str:
    """Says which streams take no writes and why, as `/readyz` has it; nothing where all do."""
    try:
        streams = store["streams"]
        told = [f"{name}: {each['text']}" for name, each in streams.items()]
        return f" ({store['code']}: {'; '.join(told)})" if streams else ""
    except (KeyError, TypeError, AttributeError):
        return ""


def _missing(body: bytes) -> str:
    try:
        answer = from_json(body)
        missing = [name for name, well in answer["checks"].items() if not well]
        return ", ".join(missing) + store_text(answer.get("store"))
    except (BadEvent, KeyError, TypeError, AttributeError):
        return "what answers there is not Callboard"
