"""An Alertmanager's webhook format (version 4) becomes alerts: its fingerprint is their key, and its resolved ends them."""

from __future__ import annotations

from typing import Any

import pytest

from router.broker import Broker
from tests.edge.conftest import RunningEdge
from tests.waiting import eventually


def notice(entity: str, status: str = "firing", **alert: Any) -> dict[str, Any]:
    """What an Alertmanager 0.25 posted, as it stands in its log, with one alert."""
    one = {
        "status": status,
        "labels": {"alertname": "DiskFull", "instance": entity, "severity": "page"},
        "annotations": {"summary": "The disk is full", "description": "97 %"},
        "startsAt": "2026-11-20T10:00:00.123Z",
        "endsAt": "2026-11-20T11:00:00Z" if status == "resolved" else "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus:9090/graph?g0.expr=up",
        "fingerprint": f"f{entity}",
        **alert,
    }
    return {
        "receiver": "callboard",
        "status": status,
        "alerts": [one],
        "groupLabels": {"alertname": "DiskFull"},
        "commonLabels": one["labels"],
        "commonAnnotations": one["annotations"],
        "externalURL": "http://alertmanager:9093",
        "version": "4",
        "groupKey": '{}:{alertname="DiskFull"}',
        "truncatedAlerts": 0,
    }


async def posted(edge: RunningEdge, body: Any) -> dict[str, int]:
    answer = await edge.http.post("/alerts/alertmanager", json=body)
    assert answer.status_code == 200, answer.text
    return {name: count for name, count in answer.json().items() if count}


async def told(store: Broker, entity: str) -> list[tuple[str, str]]:
    records = (await store.read("alert.alertmanager.*", 0, limit=1000)).records
    events = [record.event for record in records if record.event and record.event.data["entity"] == entity]
    return [(event.type, str(event.data["severity"])) for event in events]


async def test_an_alert_begins_once_and_ends(edge: RunningEdge, store: Broker, entity: str) -> None:
    assert await posted(edge, notice(entity)) == {"firing": 1}
    assert await posted(edge, notice(entity)) == {"unchanged": 1}, "an Alertmanager repeats itself"
    assert await posted(edge, notice(entity, "resolved")) == {"resolved": 1}
    assert await posted(edge, notice(entity, "resolved")) == {"unchanged": 1}
    assert await posted(edge, notice(entity)) == {"unchanged": 1}, "an episode that has ended"
    assert await posted(edge, notice(entity, startsAt="2026-11-20T12:00:00Z")) == {"firing": 1}

    assert await told(store, entity) == [("firing", "critical"), ("resolved", "critical"), ("firing", "critical")]
    last = (await store.read("alert.alertmanager.firing", 0, limit=1000)).records[-1].event
    assert last is not None
    assert (last.data["title"], last.data["message"]) == ("The disk is full", "97 %")
    assert last.data["actions"] == [{"label": "Show the query", "url": "http://prometheus:9090/graph?g0.expr=up"}]


async def test_what_somebody_resolved_here_and_an_alertmanager_repeats_fires_anew(
    edge: RunningEdge, store: Broker, entity: str
) -> None:
    seen = set()
    assert await posted(edge, notice(entity)) == {"firing": 1}
    for _ in range(2):
        [alert] = await eventually(lambda: _active(edge, entity))
        seen.add(alert["id"])
        assert (await edge.http.post(f"/alerts/{alert['id']}/resolve")).status_code == 200
        assert await posted(edge, notice(entity)) == {"firing": 1}
        assert await posted(edge, notice(entity)) == {"unchanged": 1}
    assert await posted(edge, notice(entity, "resolved")) == {"resolved": 1}
    assert await posted(edge, notice(entity)) == {"unchanged": 1}, "an Alertmanager itself has ended it"

    assert len(seen) == 2
    assert [type for type, _ in await told(store, entity)] == ["firing", "resolved"] * 3


async def _active(edge: RunningEdge, entity: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await edge.http.get(f"/alerts?state=active&entity={entity}")).json()["alerts"]
    return found


async def test_an_audience_in_its_annotations_is_told_and_nobody_else(
    edge: RunningEdge, store: Broker, entity: str
) -> None:
    annotations = {"callboard_audience": f"{entity}, bob@x.org"}
    assert await posted(edge, notice(entity, annotations=annotations)) == {"firing": 1}
    assert await told(store, entity) == []
    assert len((await store.read(f"alert._{entity}.alertmanager.firing", 0)).records) == 1


async def test_our_own_alerts_that_come_back_are_known(edge: RunningEdge, store: Broker, entity: str) -> None:
    ours = {"labels": {"source": "callboard", "instance": entity}, "annotations": {"callboard_id": "x"}}
    assert await posted(edge, notice(entity, **ours)) == {"unchanged": 1}
    assert await told(store, entity) == []


@pytest.mark.parametrize(
    "change",
    [
        {"version": "3"},
        {"alerts": "none"},
        {"alerts": [{}]},
        {"alerts": [{"status": "odd", "labels": {}}]},
        {"alerts": [{"status": "firing", "labels": {"a": 1}}]},
        {"alerts": [{"status": "firing", "labels": {}, "startsAt": "yesterday"}]},
        {"alerts": [{"status": "firing", "labels": {}, "annotations": {"callboard_audience": "a b"}}]},
    ],
)
async def test_what_is_no_notice_is_refused_and_changes_nothing(
    edge: RunningEdge, store: Broker, entity: str, change: dict[str, Any]
) -> None:
    good = notice(entity)
    body = {**good, **change}
    if isinstance(change.get("alerts"), list):
        body["alerts"] = [*good["alerts"], *change["alerts"]]
    answer = await edge.http.post("/alerts/alertmanager", json=body)
    assert (answer.status_code, answer.json()["code"]) == (
        422,
        "bad_body" if "{}" not in str(change) else answer.json()["code"],
    )
    assert await told(store, entity) == []
