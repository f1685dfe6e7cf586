"""Reads and changes the log levels of a running process: what `callboard logs` does."""

from __future__ import annotations

import json as jsonlib
import sys
from urllib.parse import urlencode

from ops.cli.health import where
from ops.cli.interruptible import run_interruptibly
from ops.process.http import get
from ops.process.ports import url_of
from ops.settings import Mistakes, Settings
from router.codec import from_json
from router.errors import BadEvent

REQUEST_TIMEOUT = 5.0


def run_levels(settings: Settings, logger: str | None, level: str | None, *, json: bool) -> int:
    """Sets a level where one is given, and prints those in force; exit code 1 where nobody answers."""
    if settings.internal.port is None:
        settings.one_is_meant()
        raise Mistakes(["logs: needs CALLBOARD_INTERNAL_PORT, the port on which the process answers"])
    host, port = where(settings)
    method, path = "GET", "/logs"
    if logger is not None:
        method, path = "PUT", f"/logs?{urlencode({'logger': logger, 'level': level or ''})}"
    try:
        answer = run_interruptibly(get(host, port, path, timeout=REQUEST_TIMEOUT, method=method))
        said = from_json(answer.body)
    except (OSError, BadEvent) as fault:
        print(f"callboard: {url_of(host, port)}: {fault}", file=sys.stderr)
        return 1
    if answer.status != 200:
        print(f"callboard: {said.get('detail', 'refused')}", file=sys.stderr)
        return 2
    if json:
        print(jsonlib.dumps(said))
    else:
        print("\n".join(f"{name} {each}" for name, each in said["levels"].items()))
    return 0
