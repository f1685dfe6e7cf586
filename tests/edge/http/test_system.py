"""Probes, metrics and the console page."""

from __future__ import annotations

import re

from tests.edge.conftest import RunningEdge


async def test_health_and_metrics_tell(edge: RunningEdge, entity: str) -> None:
    session = await edge.session(subjects=[f"job.{entity}.>"])
    async with edge.socket(session) as socket:
        await edge.numbers(entity, 3)
        await socket.events(3)
        ready = await edge.http.get("/readyz")
        text = (await edge.http.get("/metrics")).text
        openmetrics = await edge.http.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})

    assert (await edge.http.get("/livez")).json() == {"status": "ok"}
    assert ready.json()["checks"] == {
        "not_draining": True,
        "nats": True,
        "subscriptions": True,
        "events": True,
        "sessions": True,
        "store": True,
    }
    assert 'edge_delivered_events_total{transport="websocket"}' in text
    assert 'edge_readers{transport="websocket"} 1.0' in text
    assert openmetrics.text.rstrip().endswith("# EOF")


async def test_the_console_is_served_under_a_strict_policy(edge: RunningEdge) -> None:
    page = await edge.http.get("/")

    assert page.status_code == 200 and "Callboard" in page.text
    assert "default-src 'self'" in page.headers["content-security-policy"]
    for asset in set(re.findall(r'"(/console/[^"]+)"', page.text)):
        assert (await edge.http.get(asset)).status_code == 200, asset
