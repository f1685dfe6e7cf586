"""Rules, events and a ledger for tests of alerts."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from actors.alerts.actor import Alerts, AlertsSettings
from actors.alerts.ledger import Transition
from actors.system.probe import Probe
from router.alerts import AlertRecord, confirm, events
from router.clock import wall
from router.codec import encode
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


class ListedAlerts:
    """A ledger in a map, which outlives the actor; what its alerts tell is published by the probe of `probed`."""

    def __init__(self) -> None:
        self.known: dict[str, AlertRecord] = {}
        self.probe: Probe | None = None

    async def change_entry(self, key: str, transition: Transition) -> AlertRecord | None:
        before = self.known.get(key)
        record = transition(before)
        if record is None or record is before:
            return record
        assert self.probe is not None
        for pending in record.outbox:
            for event in events(pending):
                await self.probe.publish(event, encode(event))
        self.known[key] = confirm(record, record.outbox)
        return self.known[key]

    async def publish_left(self) -> int:
        return 0


def probed(
    file: Path | None = None,
    now: Callable[[], int] | None = None,
    alerts: ListedAlerts | None = None,
    **more: Any,
) -> Probe:
    """The actor with the rules of a file, or with those that are shipped."""
    ledger = alerts or ListedAlerts()
    clock = now or (wall.now_ns if file is None else lambda: START)
    settings = AlertsSettings(rules_file=str(file) if file else None, **more)
    ledger.probe = Probe(lambda: Alerts(settings, clock, ledger))
    return ledger.probe


def said(alerts: Probe) -> list[str]:
    return [subject for subject, _ in alerts.emitted]


def told(alerts: Probe) -> list[Mapping[str, Any]]:
    return [data for _, data in alerts.emitted]
