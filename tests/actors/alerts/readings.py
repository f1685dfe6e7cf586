"""Rules and events for tests of alerts."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from actors.alerts.actor import Alerts, AlertsSettings
from actors.system.probe import Probe
from router.event import Event

START = 1_800_000_000_000_000_000


S = 1_000_000_000


HOT = """
rules:
  - name: hot
    when: data.celsius > 80
    title: "{entity} is hot"
    message: "{value} degrees, {count} times"
    value: data.celsius
    cooldown: 60
"""


def reading(celsius: float, at: float = 0, *, host: str = "lab-1", id: str | None = None) -> Event:
    return Event.new(f"metric.{host}.temperature", {"celsius": celsius}, time_ns=START + int(at * S), id=id)


def written(folder: Path, text: str) -> Path:
    """Writes a rules file that is newer than it was, however coarse the disk's clock is."""
    file = folder / "rules.yaml"
    before = file.stat().st_mtime_ns if file.exists() else START
    file.write_text(text)
    os.utime(file, ns=(before + S, before + S))
    return file


def made(file: Path, now: Callable[[], int] = lambda: START, **more: Any) -> Callable[[], Alerts]:
    return lambda: Alerts(AlertsSettings(rules_file=str(file), **more), now)


def said(alerts: Probe) -> list[str]:
    return [subject for subject, _ in alerts.emitted]
