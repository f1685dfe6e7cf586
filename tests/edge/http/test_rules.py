"""Rules by HTTP: the alerts actor says what they mean, follows them, and is needed for both."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from actors.alerts.actor import Alerts, AlertsSettings
from router.broker import Broker
from router.codec import to_json
from router.event import Event
from tests.actors.alerts.readings import written
from tests.actors.system.running import running_actor
from tests.edge.conftest import RunningEdge
from tests.waiting import eventually


@pytest.fixture
async def alerting(store: Broker) -> AsyncIterator[None]:
    """The alerts actor, with the rules that are shipped."""
    async with running_actor(Alerts, store):
        yield


def rule(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "subjects": [f"metric.{name}.*"], "when": "data.celsius > 80", "cooldown": 0, **more}


async def told(store: Broker, name: str) -> list[str]:
    return [record.event.type for record in (await store.read(f"alert.{name}.*", 0)).records if record.event]


async def in_force(edge: RunningEdge, name: str) -> bool:
    return (await edge.http.get(f"/rules/{name}")).json()["in_force"]


@pytest.mark.usefixtures("alerting")
async def test_a_rule_is_made_judges_is_changed_and_deleted_without_a_restart(
    edge: RunningEdge, store: Broker, entity: str
) -> None:
    made = await edge.http.post("/rules", json=rule(entity))
    assert (made.status_code, made.headers["location"], made.headers["etag"]) == (201, f"/rules/{entity}", '"1"')
    await eventually(lambda: in_force(edge, entity))
    await store.publish(Event.new(f"metric.{entity}.temperature", {"celsius": 90}))
    await eventually(lambda: _said(store, entity, ["firing"]))

    changed = await edge.http.put(
        f"/rules/{entity}", json=rule(entity, resolve_when="data.celsius < 50"), headers={"If-Match": '"1"'}
    )
    assert (changed.status_code, changed.json()["version"]) == (200, 2)
    shown = await eventually(lambda: _shown(edge, entity, "data.celsius < 50"))
    assert (shown["source"], shown["enabled"], shown["by"]) == ("api", True, None)
    await store.publish(Event.new(f"metric.{entity}.temperature", {"celsius": 40}))
    await eventually(lambda: _said(store, entity, ["firing", "resolved"]))

    await store.publish(Event.new(f"metric.{entity}.temperature", {"celsius": 95}))
    await eventually(lambda: _said(store, entity, ["firing", "resolved", "firing"]))
    assert (await edge.http.delete(f"/rules/{entity}")).status_code == 204
    await eventually(lambda: _said(store, entity, ["firing", "resolved", "firing", "resolved"]))
    assert (await edge.http.get(f"/rules/{entity}")).status_code == 404


async def _said(store: Broker, name: str, kinds: list[str]) -> bool:
    return await told(store, name) == kinds


async def _shown(edge: RunningEdge, name: str, resolve_when: str) -> dict[str, Any] | None:
    found = (await edge.http.get(f"/rules/{name}")).json()
    return found if (found["rule"] or {}).get("resolve_when") == resolve_when else None


@pytest.mark.usefixtures("alerting")
async def test_versions_are_kept_a_stale_one_is_refused_and_a_disabled_rule_is_silent(
    edge: RunningEdge, entity: str
) -> None:
    assert (await edge.http.post("/rules", json=rule(entity))).status_code == 201
    path = f"/rules/{entity}"
    disabled = await edge.http.post(f"{path}/disable")
    assert (disabled.status_code, disabled.json()["enabled"], disabled.json()["version"]) == (200, False, 2)
    for stale in (
        await edge.http.put(path, json=rule(entity), headers={"If-Match": '"1"'}),
        await edge.http.delete(path, headers={"If-Match": "1"}),
        await edge.http.post(f"{path}/enable", headers={"If-Match": '"1"'}),
    ):
        assert (stale.status_code, stale.json()["code"]) == (412, "rule_changed")
    assert (await edge.http.post(f"{path}/disable")).json()["version"] == 2, "a repeat is no new version"
    text = f"name: {entity}\nwhen: 'true'  # all of them\n"
    yaml = await edge.http.put(path, content=text, headers={"Content-Type": "application/yaml"})
    assert (yaml.status_code, yaml.json()["text"]) == (200, text)

    versions = (await edge.http.get(f"{path}/versions")).json()["versions"]
    assert [(each["version"], each["enabled"]) for each in versions] == [(3, False), (2, False), (1, True)]
    assert not await in_force(edge, entity)
    twice = await edge.http.post("/rules", json=rule(entity))
    assert (twice.status_code, twice.json()["code"]) == (409, "rule_exists")
    renamed = await edge.http.put(path, json=rule(f"{entity}x"))
    assert (renamed.status_code, renamed.json()["code"]) == (422, "bad_rule")
    await edge.http.delete(path)


@pytest.mark.usefixtures("alerting")
async def test_a_rule_that_is_disabled_says_by_what_and_how_it_is_enabled(edge: RunningEdge, entity: str) -> None:
    path = f"/rules/{entity}"
    made = (await edge.http.post("/rules", json=rule(entity, enabled=False))).json()

    shown = await eventually(lambda: _disabled_by_text(edge, path))
    (listed,) = [each for each in (await edge.http.get("/rules")).json()["rules"] if each["name"] == entity]
    assert (made["disabled_by"], made["in_force"], listed["disabled_by"]) == ("text", False, "text")
    assert shown["enabled"] and "`enabled: false` in its text" in shown["reason"]

    assert (await edge.http.put(path, json=rule(entity))).json()["disabled_by"] is None
    await eventually(lambda: in_force(edge, entity))
    assert (await edge.http.post(f"{path}/disable")).json()["disabled_by"] == "switch"
    await eventually(lambda: _out_of_force(edge, entity))
    shown = (await edge.http.get(path)).json()
    assert shown["disabled_by"] == "switch" and f"POST {path}/enable" in shown["reason"]


async def _disabled_by_text(edge: RunningEdge, path: str) -> dict[str, Any] | None:
    found: dict[str, Any] = (await edge.http.get(path)).json()
    return found if found["disabled_by"] == "text" else None


async def _out_of_force(edge: RunningEdge, name: str) -> bool:
    return not await in_force(edge, name)


@pytest.mark.usefixtures("alerting")
async def test_rules_of_the_file_are_listed_and_cannot_be_changed(edge: RunningEdge, entity: str) -> None:
    await edge.http.post("/rules", json=rule(entity))
    await eventually(lambda: in_force(edge, entity))
    seen: dict[str, str] = {}
    cursor = ""
    while True:
        page = (await edge.http.get(f"/rules?limit=3{cursor}")).json()
        seen |= {each["name"]: each["source"] for each in page["rules"]}
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert len(seen) == page["total"]
    assert (seen["run_failed"], seen[entity]) == ("file", "api")
    for answer in (
        await edge.http.post("/rules", json=rule("run_failed")),
        await edge.http.put("/rules/run_failed", json=rule("run_failed")),
        await edge.http.delete("/rules/run_failed"),
        await edge.http.post("/rules/run_failed/disable"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (409, "rule_in_file")
    shown = (await edge.http.get("/rules/run_failed")).json()
    assert (shown["version"], shown["rule"]["severity"]) == (0, "warning")
    await edge.http.delete(f"/rules/{entity}")


async def test_a_rule_whose_name_the_file_takes_over_says_why_it_is_not_in_force(
    edge: RunningEdge, store: Broker, entity: str, tmp_path: Path
) -> None:
    file = written(tmp_path, "rules: []\n")
    async with running_actor(lambda: Alerts(AlertsSettings(rules_file=str(file))), store):
        made = await edge.http.post("/rules", json=rule(entity))
        assert made.json()["reason"] is None
        await eventually(lambda: in_force(edge, entity))
        written(tmp_path, f"rules: [{{name: {entity}, when: 'false'}}]\n")
        loaded = await eventually(lambda: _loaded(store, entity))
        assert [each for each in loaded if f"{entity}: the file rules.yaml has a rule of that name" in each]

        shown = (await edge.http.get(f"/rules/{entity}")).json()
        assert (shown["source"], shown["in_force"]) == ("api", False)
        assert "rules file" in shown["reason"]
        assert (await _file(edge)) == {"name": "rules.yaml", "in_force": True, "mistakes": []}
        written(tmp_path, "rules: [{name: x, when: '1 +'}]\n")
        rejected = await eventually(lambda: _rejected(edge))
        assert [each for each in rejected["mistakes"] if each.startswith("rules.yaml:1:")]
        await edge.http.delete(f"/rules/{entity}")


async def _file(edge: RunningEdge) -> dict[str, Any]:
    found: dict[str, Any] = (await edge.http.get("/rules?limit=1")).json()["file"]
    return found


async def _rejected(edge: RunningEdge) -> dict[str, Any] | None:
    found = await _file(edge)
    return None if found["in_force"] else found


async def _loaded(store: Broker, name: str) -> list[str] | None:
    """The mistakes that are told with the rules of a file that has a rule of this name."""
    said = [each.event for each in (await store.read("system.alerts.rules_loaded", 0)).records if each.event]
    return next((each.data["mistakes"] for each in said if name in each.data["rules"]), None)


async def test_a_cursor_that_no_page_gave_is_refused(edge: RunningEdge) -> None:
    for cursor in ("zzz", "/api", "x/nowhere", "a/api/b"):
        answer = await edge.http.get(f"/rules?cursor={cursor}")
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_cursor"), cursor


@pytest.mark.usefixtures("alerting")
async def test_rules_are_taken_in_as_a_bare_curl_d_sends_them(edge: RunningEdge, entity: str) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    body = to_json(rule(entity))

    made = await edge.http.post("/rules", content=body, headers=form)
    assert (made.status_code, made.json()["text"]) == (201, body.decode())
    assert (await edge.http.put(f"/rules/{entity}", content=body, headers=form)).status_code == 200
    assert (await edge.http.post("/rules/validate", content=body, headers=form)).json()["valid"]
    await edge.http.delete(f"/rules/{entity}")


@pytest.mark.usefixtures("alerting")
async def test_mistakes_in_a_rule_are_listed_and_nothing_is_stored(edge: RunningEdge, entity: str) -> None:
    bad = {"name": entity, "when": "data.celsius >", "severty": "info"}
    refused = await edge.http.post("/rules", json=bad)
    assert (refused.status_code, refused.json()["code"]) == (422, "bad_rule")
    assert len(refused.json()["mistakes"]) == 2
    assert {"rule", "field", "reason", "line", "column"} <= set(refused.json()["mistakes"][0])
    assert (await edge.http.get(f"/rules/{entity}")).status_code == 404

    tried = (await edge.http.post("/rules/validate", json=bad)).json()
    assert (tried["valid"], tried["rule"], len(tried["mistakes"])) == (False, None, 2)
    assert (await edge.http.post("/rules/validate", json=rule(entity))).json()["valid"]
    for content, kind, status in (
        (b"\xff", "application/yaml", 400),
        (b"{}", "image/png", 415),
        (b"x" * 20_000, "text/yaml", 413),
    ):
        answer = await edge.http.post("/rules", content=content, headers={"Content-Type": kind})
        assert answer.status_code == status


async def test_without_an_alerts_actor_nothing_is_stored_and_stored_rules_are_still_listed(
    edge: RunningEdge, entity: str
) -> None:
    refused = await edge.http.post("/rules", json=rule(entity))
    assert (refused.status_code, refused.json()["code"]) == (503, "alerts_unavailable")
    assert "retry-after" in refused.headers
    listed = await edge.http.get("/rules")
    assert (listed.status_code, listed.json()["file"]) == (200, None)
    for method, path in (("GET", ""), ("PUT", ""), ("DELETE", ""), ("POST", "/disable"), ("GET", "/versions")):
        unknown = await edge.http.request(method, f"/rules/{entity}{path}")
        assert (unknown.status_code, unknown.json()["code"]) == (503, "alerts_unavailable"), "it may be one of the file"
