"""Prints settings and versions."""

from __future__ import annotations

import json as jsonlib
import platform
import subprocess
import sys

from ops.settings import Settings
from ops.terminal import Paint, table
from router.errors import EmbeddedError
from router.nats.embedded import binary
from router.version import VERSION


def run_settings(settings: Settings, *, json: bool) -> int:
    """Prints every setting, its value and its source; secrets are starred."""
    rows = settings.rows()
    if json:
        listed = [
            {"variable": row.variable, "value": row.value, "source": row.source, "section": row.section} for row in rows
        ]
        print(jsonlib.dumps(listed, indent=2, default=str))
        return 0
    paint = Paint.of(sys.stdout)
    lines = []
    for row in rows:
        styles = ("dim",) if row.source == "default" else ("bold",)
        lines.append((paint(row.variable, *styles), paint(_plain(row.value), *styles), paint(row.source, "dim")))
    print(table(lines, ("setting", "value", "from"), paint))
    return 0


def _plain(value: object) -> str:
    match value:
        case None:
            return "–"
        case bool():
            return "true" if value else "false"
        case tuple() | list():
            return ",".join(map(str, value)) or "–"
        case float():
            return f"{value:g}"
    return str(value)


def versions() -> dict[str, str | None]:
    """Finds out what is installed; None for what is not."""
    try:
        said = subprocess.run([binary(), "--version"], capture_output=True, text=True, timeout=5, check=False).stdout
        server = said.rsplit("v", 1)[-1].strip() or None
    except (EmbeddedError, OSError, subprocess.TimeoutExpired):
        server = None
    return {"callboard": VERSION, "python": platform.python_version(), "nats-server": server}


def run_version(*, json: bool) -> int:
    """Prints the versions of what matters."""
    found = versions()
    print(
        jsonlib.dumps(found)
        if json
        else "\n".join(f"{name} {version or 'not found'}" for name, version in found.items())
    )
    return 0
