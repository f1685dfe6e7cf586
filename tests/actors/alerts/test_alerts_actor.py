"""The alerts actor: rules from a file, thresholds and cooldowns by the events' own time, one alert an episode."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from actors.alerts.actor import SHIPPED, Alerts, AlertsSettings
from actors.alerts.rules import BadRules, parse, read
from actors.system.probe import Probe
from router.event import Event

SECOND = 1_000_000_000

HOT = """
rules:
  - name: too-hot
    when: "data.celsius > 80"
    severity: critical
    category: heat
    title: "{entity} is at {data.celsius} degrees"
    message: "{count} times"
    value: "data.celsius"
    cooldown: 60
    resolve_when: "data.celsius < 60"
    actions: [{label: Open, url: "/machines/{entity}"}]
"""


def _alerts(tmp_path: Path, rules: str) -> Probe:
    file = tmp_path / "rules.yaml"
    file.write_text(rules)
    return Probe(lambda: Alerts(AlertsSettings(rules_file=str(file))))


async def _heat(probe: Probe, celsius: Any, at: float = 0.0, entity: str = "m1") -> None:
    await probe.receive(Event.new(f"metric.{entity}.heat", {"celsius": celsius}, time_ns=int((1000 + at) * SECOND)))


def _said(probe: Probe) -> list[str]:
    return [event.subject for event in probe.events]


async def test_a_rule_fires_once_in_its_cooldown_and_resolves(tmp_path: Path) -> None:
    async with _alerts(tmp_path, HOT) as alerts:
        await _heat(alerts, 70)
        await _heat(alerts, 91.5, 1)
        await _heat(alerts, 95, 2)
        await _heat(alerts, 50, 3)
        await _heat(alerts, 50, 4)

        assert _said(alerts) == ["alert.too-hot.firing", "alert.too-hot.resolved"]
        data = alerts.events[0].data
        assert (data["severity"], data["category"], data["entity"], data["value"]) == ("critical", "heat", "m1", 91.5)
        assert data["title"] == "m1 is at 91.5 degrees"
        assert data["actions"] == [{"label": "Open", "url": "/machines/m1"}]
        assert alerts.events[1].data["alert"] == data["alert"]


async def test_after_the_cooldown_it_is_said_again_and_every_entity_has_its_own(tmp_path: Path) -> None:
    async with _alerts(tmp_path, HOT) as alerts:
        await _heat(alerts, 90, 0)
        await _heat(alerts, 90, 1, entity="m2")
        await _heat(alerts, 90, 59)
        await _heat(alerts, 90, 61)

        assert [(event.data["entity"], event.data["count"]) for event in alerts.events] == [
            ("m1", 1),
            ("m2", 1),
            ("m1", 3),
        ]


async def test_a_threshold_counts_within_its_time(tmp_path: Path) -> None:
    rules = HOT.replace("    cooldown: 60", "    cooldown: 0\n    threshold: {count: 3, within: 10}")
    async with _alerts(tmp_path, rules) as alerts:
        for at in (0, 8, 16):
            await _heat(alerts, 90, at)
        assert _said(alerts) == []
        await _heat(alerts, 90, 17)

        assert _said(alerts) == ["alert.too-hot.firing"]


async def test_an_event_delivered_twice_changes_nothing(tmp_path: Path) -> None:
    async with _alerts(tmp_path, HOT.replace("cooldown: 60", "cooldown: 0")) as alerts:
        event = Event.new("metric.m.heat", {"celsius": 90})
        await alerts.receive(event)
        await alerts.receive(event)

        assert _said(alerts) == ["alert.too-hot.firing"]
        assert alerts.events[0].cause == event.id


async def test_data_of_another_shape_is_no_match_and_no_crash(tmp_path: Path) -> None:
    async with _alerts(tmp_path, HOT) as alerts:
        for celsius in ("hot", None, [], {}, True):
            await _heat(alerts, celsius)
        await alerts.receive("metric.m.heat", {})

        assert _said(alerts) == [] and alerts.crashes == []


async def test_a_changed_file_is_read_and_a_broken_one_is_told_and_not_taken(tmp_path: Path) -> None:
    async with _alerts(tmp_path, HOT) as alerts:
        (tmp_path / "rules.yaml").write_text(HOT.replace("80", "30").replace("too-hot", "too-warm"))
        await alerts.tick()
        await _heat(alerts, 40)
        assert _said(alerts) == ["alert.too-warm.firing"]
        (tmp_path / "rules.yaml").write_text("rules: [{name: 7, when: 'x >'}]")
        await alerts.tick()

        rejected = alerts.events[-1]
        assert rejected.subject == "system.alerts.rules_rejected" and len(rejected.data["mistakes"]) >= 2
        assert [rule["name"] for rule in await alerts.ask("rules")] == ["too-warm"]


async def test_what_fires_is_known_again_after_a_restart(tmp_path: Path) -> None:
    async with _alerts(tmp_path, HOT) as first:
        await _heat(first, 90, 0)
        stored = list(first.events)
    async with Probe(lambda: Alerts(AlertsSettings(rules_file=str(tmp_path / "rules.yaml"))), stored=stored) as second:
        firing = await second.ask("firing")
        await _heat(second, 50, 5)

        assert [alert["alert"] for alert in firing] == [stored[0].data["alert"]]
        assert second.events[-1].subject == "alert.too-hot.resolved"


def test_every_mistake_of_a_file_is_said_at_once() -> None:
    with pytest.raises(BadRules) as fault:
        parse(
            """
rules:
  - {name: Bad Name, when: "data.x >", title: "{nothing}"}
  - {name: good, when: "true", severity: loud, cooldown: -1, colour: red}
  - {name: good, when: "true"}
""",
            "mine.yaml",
        )

    text = str(fault.value)
    for part in ("Bad Name", "when", "title", "severity", "cooldown", "colour", "another rule of that name"):
        assert part in text, text
    assert all(line.startswith("mine.yaml: ") for line in text.splitlines())


async def test_the_rules_that_come_along_are_valid_and_see_a_failed_job() -> None:
    assert len(read(SHIPPED)) >= 5
    async with Probe(Alerts) as alerts:
        await alerts.receive("job.j.completion", {"success": False, "error": "exit code 3"})
        await alerts.receive("job.k.completion", {"success": False, "status": "cancelled"})
        await alerts.receive("camera.main.state", {"status": "failed", "reason": "no such file"})
        await alerts.receive("octane.main.render_failure", {"reason": "out of memory"})

        assert _said(alerts) == ["alert.run-failed.firing", "alert.camera-failed.firing", "alert.render-failed.firing"]
        assert alerts.events[0].data["title"] == "j failed"
        assert alerts.events[0].data["message"] == "exit code 3"


async def test_an_alert_never_causes_an_alert(tmp_path: Path) -> None:
    async with _alerts(tmp_path, 'rules: [{name: all, when: "true"}]') as alerts:
        await alerts.receive("alert.x.firing", {"entity": "y"})
        assert _said(alerts) == []
