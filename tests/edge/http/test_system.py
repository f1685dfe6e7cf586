"""Probes, metrics and the console page."""

from __future__ import annotations

import re

from edge.http.system import CONSOLE, POLICY, inline_source
from router.version import VERSION
from tests.edge.conftest import RunningEdge


async def test_health_and_metrics_tell(edge: RunningEdge, entity: str) -> None:
    session = await edge.session(subjects=[f"job.{entity}.>"])
    async with edge.socket(session) as socket:
        await edge.numbers(entity, 3)
        await socket.events(3)
        ready = await edge.http.get("/readyz")
        text = (await edge.http.get("/metrics")).text
        openmetrics = await edge.http.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})

    assert (await edge.http.get("/livez")).json() == {"status": "ok", "version": VERSION}
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


async def test_the_console_s_files_are_compressed_for_who_takes_that_and_revalidated_all_the_same(
    edge: RunningEdge,
) -> None:
    path = "/client/index.js"

    plain = await edge.http.get(path, headers={"Accept-Encoding": "identity"})
    small = await edge.http.get(path, headers={"Accept-Encoding": "gzip"})
    again = await edge.http.get(path, headers={"Accept-Encoding": "gzip", "If-None-Match": small.headers["etag"]})

    assert "content-encoding" not in plain.headers
    assert small.headers["content-encoding"] == "gzip" and small.text == plain.text
    assert int(small.headers["content-length"]) * 2 < int(plain.headers["content-length"])
    assert small.headers["vary"] == "Accept-Encoding" and small.headers["cache-control"] == "no-cache"
    assert small.headers["content-type"] == plain.headers["content-type"]
    assert again.status_code == 304


def test_the_pages_have_one_inline_script_which_the_policy_lets_run() -> None:
    pages = [page for page in CONSOLE.rglob("*.html") if "vendor" not in page.parts]

    sources = {inline_source(page) for page in pages}

    assert len(pages) == 5 and len(sources) == 1
    assert f"script-src 'self' {sources.pop()};" in POLICY
    assert all(page.read_text().count("<script>") == 1 for page in pages)
