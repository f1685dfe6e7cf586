"""The real-time guide's components with the real React, in a browser, at a running edge with the demonstration's producers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from playwright.async_api import Route

from edge.http.system import CLIENT
from ops.demo.agents import serve_demo
from router.broker import Broker
from tests.browser.conftest import Tab
from tests.edge.conftest import EdgeFactory, RunningEdge, edge_factory
from tests.npm import node_with
from tests.router.firings import raised
from tests.waiting import eventually, unhurried

__all__ = ["edge_factory"]

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

PACKAGES = ("react@19.1.0", "react-dom@19.1.0", "esbuild@0.25.5")
PAGE = Path(__file__).with_name("realtime_guide.tsx")
TRANSCRIPT = "Do you want 3 secrets? Buy now. You only have today."


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page's script; the names under which the guide imports its hooks are those of our package."""
    folder = tmp_path_factory.mktemp("guide")
    node = node_with(folder, *PACKAGES, str(CLIENT))
    (folder / "page.tsx").write_text(PAGE.read_text())
    hooks = [f"--alias:@/hooks/{name}=callboard-client/react" for name in ("useSSE", "useWebSocket", "useAgentStream")]
    options = ("--bundle", "--format=esm", "--jsx=automatic", "--preserve-symlinks", "--outfile=page.js")
    made = subprocess.run(
        [node, "node_modules/esbuild/bin/esbuild", "page.tsx", *options, *hooks],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    return (folder / "page.js").read_text()


@contextlib.asynccontextmanager
async def demonstrating(store: Broker) -> AsyncIterator[None]:
    """The demonstration's agents: a council, an evaluation, a render, a campaign."""
    ready, stop = asyncio.Event(), asyncio.Event()
    serving = asyncio.ensure_future(serve_demo(store, lambda _served: ready.set(), stop))
    await ready.wait()
    try:
        yield
    finally:
        stop.set()
        await asyncio.gather(serving, return_exceptions=True)


async def start(edge: RunningEdge, agent: str, **order: object) -> None:
    answer = await edge.http.post(f"/commands/{agent}/main/start", json=order)
    assert answer.status_code == 200, answer.text


async def open_page(tab: Tab, edge: RunningEdge, bundle: str, **given: str) -> None:
    """Opens the page at the edge's own address, where the guide's hooks read."""

    async def generate(route: Route) -> None:
        # The reader's own route: it starts a job and says its id.
        assert route.request.method == "POST"
        await start(edge, "render", run=given["jobId"], domain="job", input={"frames": 12})
        said = {"jobId": given["jobId"], "websocketUrl": f"/ws?jobId={given['jobId']}"}
        await route.fulfill(content_type="application/json", body=json.dumps(said))

    await tab.page.route("**/api/generate-video", generate)
    # A page that the edge really serves: a browser lets no other one connect to this machine.
    await tab.page.goto(f"{edge.url}/livez?{urlencode(given)}")
    await tab.page.add_script_tag(content=bundle, type="module")


async def shows(tab: Tab, section: str, text: str) -> None:
    found = "([section, text]) => document.querySelector(section)?.textContent.includes(text)"
    await tab.until(found, [f"#{section}", text])


async def test_the_guide_s_components_show_what_real_producers_publish(
    tab: Tab, edge_factory: EdgeFactory, nats_server: str, bundle: str, entity: str
) -> None:
    job, campaign, user = f"job-{entity}", f"campaign-{entity}", f"user-{entity}"
    async with (
        edge_factory() as edge,
        Broker(unhurried(nats_server), "guide") as store,
        demonstrating(store),
    ):
        await raised(store, f"rule-{entity}", "all", title=f"for all {entity}")
        ids = {"campaignId": campaign, "userId": user, "jobId": job, "threadId": entity}
        await open_page(tab, edge, bundle, videoUrl="test", transcript=TRANSCRIPT, **ids)

        # An alert that fired before the page was opened, without an audience; then one of the user, and one of a producer.
        await shows(tab, "alerts", f"for all {entity}")
        await raised(store, f"rule-{entity}", "mine", title="mine", audience=(user,))
        await raised(store, f"rule-{entity}", "other", title="another's", audience=("another",))
        alert = {"type": "alert", "severity": "warning", "title": "High CPC Detected", "message": "Over $5.00"}
        await edge.publish({"channel": {"type": "alerts", "userId": user}, "event": {**alert, "alertId": "cpc"}})
        await shows(tab, "alerts", "High CPC Detected")
        await shows(tab, "alerts", "mine")
        shown = await tab.page.inner_text("#alerts")
        assert "another's" not in shown
        assert await tab.page.locator("#alerts .alert-warning").count() >= 3

        await tab.page.click("text=Generate Video")
        await shows(tab, "video", "Progress: 100.0%")
        await shows(tab, "video", "Frame: 12 / 12")
        await shows(tab, "video", "ETA: 0s")
        await shows(tab, "patterns", '"status":"completed"')

        await shows(tab, "addresses", '"sse":"complete","isConnected":true')
        await shows(tab, "addresses", '"types":"connected,subscribed,video_render_progress"')

        await edge.http.post(f"/thread/{entity}/agent/start", json={"message": "How do webhooks work?"})
        await shows(tab, "addresses", '"status":"completed"')
        await shows(tab, "addresses", "Webhooks: Each event is posted at least once")

        await tab.page.click("text=Evaluate")
        await shows(tab, "council", "Final Score: ")
        council = await tab.page.inner_text("#council")
        assert (
            "heuristic:hook" in council and "Score: 1" in council and "Looking: the opening has a question" in council
        )

        await tab.page.click("text=Start Live Updates")
        await start(edge, "campaign", run=f"sim-{entity}", input={"campaign": campaign, "seconds": 1})
        await shows(tab, "campaign", "Impressions: ")
        figures = await tab.page.inner_text("#campaign")
        assert "(+undefined)" not in figures and "NaN" not in figures and "%" in figures

        event = {"type": "live_metric_update", "metric": "ctr", "value": 0.05, "delta": 0.01, "deltaPercent": 25}
        await edge.publish({"channel": {"type": "live_metrics", "id": campaign}, "event": event})
        await shows(tab, "patterns", '"ctr":0.05')

        # Dismissed for everybody, and not only on this page.
        await tab.page.click(f"#alerts div:has(> h4:text('for all {entity}')) > button")

        async def dismissed() -> bool:
            listed = (await edge.http.get(f"/alerts?rule=rule-{entity}&state=dismissed")).json()["alerts"]
            return [each["title"] for each in listed] == [f"for all {entity}"]

        await eventually(dismissed)
        assert f"for all {entity}" not in await tab.page.inner_text("#alerts")
        # It looks for the worker that a bundler leaves out.
        assert [each for each in tab.complaints if "404" not in each] == []
        await tab.page.close()
