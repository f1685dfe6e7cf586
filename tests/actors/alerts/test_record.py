"""A rule with `record` lets a camera record: validated, back-tested, once for each alert, and told where that is refused."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from actors.alerts.actor import Alerts, AlertsSettings
from actors.alerts.parser import parse
from actors.alerts.rules import BadRules
from actors.alerts.trials import trial
from actors.system.supervisor import run_actor
from router.broker import Broker
from router.errors import NoResponders
from router.event import Event
from tests.actors.camera.recording.recorded import camera_on
from tests.waiting import eventually, in_time, unhurried

RULE = """
rules:
  - name: intruder
    subjects: [door.*.opened]
    when: data.night
    record: {{camera: "{camera}", seconds: {seconds}}}
"""


def test_what_a_rule_records_is_read_and_described() -> None:
    (rule,) = parse(RULE.format(camera="{data.camera}", seconds="90s"), "rules.yaml")

    assert rule.describe()["record"] == {"camera": "{data.camera}", "seconds": 90.0}
    (without,) = parse("rules: [{name: a, when: 'true', record: {camera: main}}]", "rules.yaml")
    assert without.describe()["record"] == {"camera": "main", "seconds": 60.0}


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ("main", "record"),
        ("{}", "camera"),
        ("{camera: main, seconds: 0}", "seconds"),
        ("{camera: main, seconds: 40 days}", "seconds"),
        ("{camera: main, fps: 3}", "fps"),
    ],
)
def test_what_it_cannot_record_is_a_mistake_with_its_place(record: str, said: str) -> None:
    with pytest.raises(BadRules) as refused:
        parse(f"rules: [{{name: a, when: 'true', record: {record}}}]", "rules.yaml")

    assert any(said in str(mistake) for mistake in refused.value.mistakes)


async def test_a_trial_says_what_would_be_recorded() -> None:
    rules = parse(RULE.format(camera="{entity}", seconds=30), "rules.yaml")
    events = [{"subject": "door.back.opened", "data": {"night": True}}]

    found = await trial(rules, events)

    assert found["fired"][0]["record"] == {"camera": "back", "seconds": 30.0}


async def test_an_alert_begins_one_recording_and_a_missing_camera_is_told(
    own_nats: str, tmp_path: Path, entity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.alerts.record.PATIENT_SECONDS", 1.0)
    file = tmp_path / "rules.yaml"
    file.write_text(RULE.format(camera="{data.camera}", seconds=60))
    stop = asyncio.Event()
    async with camera_on(own_nats, entity) as camera, Broker(unhurried(own_nats), "test") as broker:
        running = asyncio.ensure_future(
            run_actor(lambda: Alerts(AlertsSettings(rules_file=str(file))), broker, instance="main", stop=stop)
        )
        try:
            # A new consumer begins with what comes then.
            await eventually(lambda: _serves(broker))
            told = time.time() * 1000
            for number in range(3):
                data = {"night": True, "camera": entity, "n": number}
                await broker.publish(Event.new("door.back.opened", data, source="test"))

            (entry,) = await eventually(camera.files)
            assert entry.started_by == "rule intruder" and entry.label == "alert intruder"
            # The camera was asked between the event and now.
            assert entry.until is not None and told - 1000 <= entry.until - 60_000 <= time.time() * 1000 + 1000
            await broker.publish(Event.new("door.front.opened", {"night": True, "camera": "none"}, source="test"))

            refused = await eventually(lambda: broker.latest(["system.alerts.recording_refused"]))
            assert refused[0].event is not None
            assert refused[0].event.data["camera"] == "none" and "no camera 'none'" in refused[0].event.data["reason"]
            assert len(await camera.files()) == 1 and len(await camera.told()) == 1
        finally:
            stop.set()
            await in_time(running)


async def _serves(broker: Broker) -> bool:
    try:
        await broker.connection.ask("cmd.alerts.main.rules", b"{}", {"Content-Type": "application/json"})
    except NoResponders:
        return False
    return True
