"""Rules are tried on events of a request and on stored history: the same firings, and nothing is told."""

from __future__ import annotations

from typing import Any

import pytest

from router.broker import Broker
from router.event import Event
from tests.edge.conftest import RunningEdge
from tests.edge.http.test_rules import alerting, rule  # noqa: F401
from tests.router.firings import raised
from tests.waiting import eventually

HOT = """
rules:
  - name: hot
    subjects: [metric.*.temperature]
    when: data.celsius > 80
    resolve_when: data.celsius < 70
    cooldown: 0
"""


@pytest.mark.usefixtures("alerting")
async def test_rules_are_tried_on_events_and_nothing_is_told(edge: RunningEdge, store: Broker, entity: str) -> None:
    before = (await store.state()).last
    events = [
        {"subject": f"metric.{entity}.temperature", "data": {"celsius": celsius}, "time": f"2026-01-01T00:00:0{at}Z"}
        for at, celsius in enumerate((60, 90, 95, 60))
    ]
    tried = await edge.http.post("/rules/test", json={"rules": HOT, "events": events})
    assert tried.status_code == 200, tried.text
    [fired] = tried.json()["fired"]
    assert (fired["rule"], fired["at"], fired["resolved"]) == (
        "hot",
        "2026-01-01T00:00:01.000000Z",
        "2026-01-01T00:00:03.000000Z",
    )
    assert (tried.json()["events"], tried.json()["by_rule"]) == (4, {"hot": 1})
    one = {"rules": '{"name": "any", "when": "true"}', "events": events[:1]}
    assert (await edge.http.post("/rules/test", json=one)).json()["by_rule"] == {"any": 1}
    assert "run_failed" in (await edge.http.post("/rules/test", json={"events": events})).json()["by_rule"]
    # The server is shared: rules in force may tell of what other tests have published.
    stored = (await store.read(">", before)).records
    assert not [record for record in stored if entity in repr(record)]


@pytest.mark.usefixtures("alerting")
@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("test", {"events": []}, "bad_body"),
        ("test", {"events": [{"subject": "a.*.b"}]}, "bad_event"),
        ("test", {"events": [{"subject": "a.b.c", "time": "soon"}]}, "bad_body"),
        ("test", {"rules": "rules: [{name: hot, when: 1 +}]", "events": [{"subject": "a.b.c"}]}, "bad_rule"),
        ("backtests", {}, "missing_field"),
        ("backtests", {"since": "soon"}, "bad_body"),
        ("backtests", {"since": "1h", "until": "2h"}, "bad_body"),
        ("backtests", {"since": "2026-01-02T00:00:00Z", "until": "2026-01-01T00:00:00+01:00"}, "bad_body"),
        ("backtests", {"since": "2099-01-01T00:00:00Z"}, "bad_body"),
        ("backtests", {"since": "1h", "rules": "rules: 5"}, "bad_rule"),
    ],
)
async def test_what_cannot_be_tried_is_refused(edge: RunningEdge, path: str, body: Any, code: str) -> None:
    refused = await edge.http.post(f"/rules/{path}", json=body)
    assert (refused.status_code, refused.json()["code"]) == (422, code), refused.text


@pytest.mark.usefixtures("alerting")
async def test_a_backtest_says_what_would_have_fired_since_then(edge: RunningEdge, store: Broker, entity: str) -> None:
    for celsius in (60, 90, 95, 60, 85):
        await store.publish(Event.new(f"metric.{entity}.temperature", {"celsius": celsius}))
    await raised(store, entity)
    text = HOT.replace("metric.*", f"metric.{entity}")
    begun = await edge.http.post("/rules/backtests", json={"since": "1h", "rules": text})
    assert begun.status_code == 202, begun.text
    path = begun.headers["location"]

    async def done() -> dict[str, Any] | None:
        found: dict[str, Any] = (await edge.http.get(path)).json()
        return found if found["state"] == "done" else None

    report = await eventually(done)
    assert (report["events"], report["alerts"]) == (5, 2)
    assert [(each["value"], each["resolved"] is None, each["repeats"]) for each in report["fired"]] == [
        (None, False, 1),
        (None, True, 0),
    ]
    assert (await edge.http.delete(path)).json()["state"] == "done"
    for method in ("GET", "DELETE"):
        unknown = await edge.http.request(method, "/rules/backtests/nope")
        assert (unknown.status_code, unknown.json()["code"]) == (404, "backtest_not_found")
        other = f"{'0' * 8}{path.removeprefix('/rules/backtests/')[8:]}"  # of an actor before this one
        gone = await edge.http.request(method, f"/rules/backtests/{other}")
        assert (gone.status_code, gone.json()["code"]) == (410, "backtest_gone")
        assert "restarted" in gone.json()["detail"]
