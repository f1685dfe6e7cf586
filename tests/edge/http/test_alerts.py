"""GET /alerts is complete, in pages and by filters; people acknowledge, snooze, dismiss and resolve."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from router.broker import Broker
from router.clock import wall
from tests.edge.conftest import RunningEdge
from tests.router.firings import raised
from tests.waiting import eventually


async def listed(edge: RunningEdge, entity: str, query: str = "", count: int | None = None) -> list[dict[str, Any]]:
    """The alerts of one category, once there are so many of them."""

    async def read() -> list[dict[str, Any]]:
        answer = await edge.http.get(f"/alerts?category={entity}&limit=1000{query}")
        assert answer.status_code == 200, answer.text
        return answer.json()["alerts"]

    if count is not None:
        await eventually(lambda: _is(_length(read()), count))
    return await read()


async def _length(found: Any) -> int:
    return len(await found)


async def test_all_alerts_are_listed_page_by_page_whatever_else_the_stream_holds(
    edge: RunningEdge, store: Broker, entity: str
) -> None:
    made = [await raised(store, entity, f"k{n}", category=entity) for n in range(25)]
    await listed(edge, entity, count=25)

    seen: list[str] = []
    cursor = ""
    while True:
        page = (await edge.http.get(f"/alerts?category={entity}&limit=10{cursor}")).json()
        assert page["total"] == 25
        seen += [alert["id"] for alert in page["alerts"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"

    assert seen == [record.id for record in sorted(made, key=lambda each: (each.since, each.id), reverse=True)]


async def test_alerts_are_filtered_by_state_severity_audience_and_entity(
    edge: RunningEdge, store: Broker, entity: str
) -> None:
    one = await raised(store, entity, "1", category=entity, severity="critical", entity="left")
    two = await raised(
        store, entity, "2", category=entity, audience=(f"alice-{entity}", f"bob-{entity}"), entity="right"
    )
    assert (await edge.http.post(f"/alerts/{one.id}/resolve")).status_code == 200

    async def ids(query: str) -> list[str]:
        return [alert["id"] for alert in await listed(edge, entity, query)]

    await eventually(lambda: _is(ids("&state=resolved"), [one.id]))
    assert await ids("&state=active") == await ids("&state=firing,snoozed") == [two.id]
    assert await ids("&severity=critical,info") == await ids("&entity=left") == [one.id]
    assert await ids(f"&audience=bob-{entity}") == await ids(f"&rule={entity}&severity=warning") == [two.id]
    assert await ids(f"&audience=carol-{entity}") == []
    for bad in ("state=odd", "state=,", "severity=criticial", "severity=info,odd", "cursor=x", "limit=0", "wrong=1"):
        answer = await edge.http.get(f"/alerts?{bad}")
        assert answer.status_code == 400, bad


async def _is(found: Any, wanted: list[str]) -> bool:
    return await found == wanted


async def test_an_alert_is_acknowledged_snoozed_and_dismissed_and_its_history_says_by_whom(
    edge: RunningEdge, store: Broker, entity: str
) -> None:
    record = await raised(store, entity)
    path = f"/alerts/{record.id}"
    acknowledged = await edge.http.post(f"{path}/acknowledge", json={"comment": "on it"})
    assert (acknowledged.status_code, acknowledged.json()["state"]) == (200, "acknowledged")
    snoozed = await edge.http.post(f"{path}/snooze", json={"for": 600})
    assert snoozed.json()["state"] == "snoozed" and snoozed.json()["snoozed_until"] > snoozed.json()["updated"]
    dismissed = await edge.http.post(f"{path}/dismiss")
    assert dismissed.json()["state"] == "dismissed"
    refused = await edge.http.post(f"{path}/acknowledge")
    assert (refused.status_code, refused.json()["code"]) == (409, "alert_refused")
    await edge.http.post(f"{path}/resolve", json={"comment": "done"})
    for what, body in (("acknowledge", {}), ("snooze", {"for": 60}), ("dismiss", {})):
        late = await edge.http.post(f"{path}/{what}", json=body)
        assert (late.status_code, late.json()["code"]) == (409, "alert_resolved"), what

    shown = (await edge.http.get(path)).json()
    assert (shown["state"], shown["status"], shown["reason"]) == ("resolved", "resolved", "person")
    assert [(step["what"], step.get("by"), step.get("comment")) for step in shown["history"]] == [
        ("fired", None, None),
        ("acknowledged", "anonymous", "on it"),
        ("snoozed", "anonymous", None),
        ("dismissed", "anonymous", None),
        ("resolved", "anonymous", "done"),
    ]
    said = [each.event for each in (await store.read(f"alert.{entity}.*", 0)).records if each.event]
    assert [event.type for event in said] == ["firing", "acknowledged", "snoozed", "dismissed", "resolved"]
    assert {event.data["alert"] for event in said} == {record.id} and said[1].data["by"] == "anonymous"


@pytest.mark.parametrize(
    ("what", "body", "code"),
    [
        ("snooze", {}, "missing_field"),
        ("snooze", {"for": 60, "until": "2099-01-01T00:00:00Z"}, "missing_field"),
        ("snooze", {"for": 0}, "bad_body"),
        ("snooze", {"for": 1e12}, "bad_body"),
        ("snooze", {"for": "soon"}, "bad_body"),
        ("snooze", {"for": "10m5"}, "bad_body"),
        ("snooze", {"for": "0s"}, "bad_body"),
        ("snooze", {"for": "31d"}, "bad_body"),
        ("snooze", {"until": "2001-01-01T00:00:00Z"}, "bad_body"),
        ("snooze", {"until": "soon"}, "bad_body"),
        ("acknowledge", {"comment": "x" * 501}, "bad_body"),
        ("acknowledge", {"for": 60}, "unknown_field"),
        ("dismiss", {"by": "the pope"}, "unknown_field"),
        ("resolve", [], "bad_body"),
    ],
)
async def test_a_wish_that_cannot_be_followed_is_refused_and_changes_nothing(
    edge: RunningEdge, store: Broker, entity: str, what: str, body: Any, code: str
) -> None:
    record = await raised(store, entity)
    refused = await edge.http.post(f"/alerts/{record.id}/{what}", json=body)

    assert (refused.status_code, refused.json()["code"]) == (422, code)
    assert (await edge.http.get(f"/alerts/{record.id}")).json()["state"] == "firing"


async def test_a_snooze_takes_seconds_and_durations_and_its_fields_are_named_as_they_are_sent(
    edge: RunningEdge, store: Broker, entity: str
) -> None:
    path = f"/alerts/{(await raised(store, entity)).id}/snooze"
    for given, seconds in ((600, 600), ("600", 600), ("10m", 600), ("1h30m", 5400), ("90s", 90)):
        before = wall.now()
        answer = await edge.http.post(path, json={"for": given})
        assert answer.status_code == 200, answer.text
        until = datetime.fromisoformat(answer.json()["snoozed_until"]).timestamp()
        assert before + seconds - 0.01 <= until <= wall.now() + seconds + 0.01, given
    wrong = (await edge.http.post(path, json={"seconds": 600})).json()
    assert (wrong["code"], wrong["field"]) == ("unknown_field", "seconds")
    assert "comment, for, until" in wrong["detail"]
    assert (await edge.http.post(path, json={"for": []})).json()["field"] == "for"


async def test_an_unknown_alert_and_one_of_an_older_episode_are_a_404(
    edge: RunningEdge, store: Broker, entity: str
) -> None:
    record = await raised(store, entity)
    await edge.http.post(f"/alerts/{record.id}/resolve")
    anew = await raised(store, entity)
    assert anew.id != record.id
    for id in (record.id, "x", f"{entity}.{'0' * 32}.{'0' * 12}", "a" * 3000):
        for answer in (await edge.http.get(f"/alerts/{id}"), await edge.http.post(f"/alerts/{id}/dismiss")):
            assert (answer.status_code, answer.json()["code"]) == (404, "alert_not_found")
    assert (await edge.http.get(f"/alerts/{anew.id}")).json()["state"] == "firing"
