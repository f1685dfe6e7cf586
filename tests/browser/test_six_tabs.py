"""Six tabs of one browser with every React hook open at a real edge over HTTP/1.1: they share connections, and requests are answered."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.async_api import Browser, async_playwright

from tests.browser.conftest import ARGUMENTS, Tab
from tests.browser.test_react import bundle
from tests.edge.conftest import RunningEdge, edge, edge_factory, store
from tests.edge.surfaces.conftest import Serving, serving
from tests.waiting import PATIENCE, eventually, in_time

__all__ = ["bundle", "edge", "edge_factory", "serving", "store"]

pytestmark = [pytest.mark.browser, pytest.mark.slow]

TABS, COMPONENTS, RENDERS = 6, 3, 1000


@dataclass
class Profile:
    """A browser's tabs at one origin."""

    browser: Browser
    url: str
    bundle: str
    tabs: list[Tab] = field(default_factory=list)

    async def open(self, count: int) -> None:
        context = await self.browser.new_context()
        context.set_default_timeout(PATIENCE * 1000)
        # Beside the client's own modules: the worker that a bundler leaves out is found there.
        script = f"{self.url}/client/page.js"
        await context.route(script, lambda route: route.fulfill(body=self.bundle, content_type="text/javascript"))
        for _ in range(count):
            tab = Tab(await context.new_page())
            tab.page.on("console", tab.heard)
            tab.page.on("pageerror", tab.failed)
            await tab.page.goto(f"{self.url}/openapi.json")
            self.tabs.append(tab)

    async def mount(self, entity: str, components: int, **options: Any) -> None:
        """Every hook in each tab, all of them open."""
        for tab in self.tabs:
            await tab.page.evaluate(
                "([options, count, places]) => import('/client/page.js').then(() => mount(options, count, places))",
                [options, components, places(entity)],
            )
        for tab in self.tabs:
            await tab.until("() => window.shown?.render?.isConnected")
            await tab.page.evaluate("(shown.campaign.startStreaming(), shown.council.startStreaming())")


def places(entity: str) -> dict[str, str]:
    """What the hooks read: the addresses of the real-time guide."""
    return {"id": entity, "sse": f"/api/stream/render-progress/{entity}", "socket": f"/ws?userId=u&jobId={entity}"}


@pytest.fixture
async def profile(chromium: str, edge: RunningEdge, bundle: str) -> AsyncIterator[Profile]:
    """A browser, with the page beside the modules that the edge serves."""
    async with (
        async_playwright() as playwright,
        await playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS) as browser,
    ):
        yield Profile(browser, edge.url, bundle)


RENDER = """async (count) => {
  for (let n = 0; n < count; n += 1) {
    again();
    await new Promise((done) => setTimeout(done));
  }
}"""


@pytest.mark.parametrize("transport", ["auto", "sse", "polling"])
async def test_six_tabs_with_every_hook_open_share_their_streams_and_leave_room_for_a_fetch(
    profile: Profile, edge: RunningEdge, entity: str, serving: Serving, transport: str
) -> None:
    await profile.open(TABS)
    async with serving("council") as council:
        await profile.mount(entity, COMPONENTS, transport=transport)
        for tab in profile.tabs:
            await tab.page.evaluate(RENDER, RENDERS // TABS // COMPONENTS + 1)
        assert sum([await tab.page.evaluate("renders") for tab in profile.tabs]) >= RENDERS
        await eventually(lambda: council.asked)
        run = str(council.asked[0]["run"])
        await edge.publish(
            {"subject": f"job.{entity}.video_render_progress", "data": {"progress": 0.5, "stage": "rendering"}},
            {"subject": f"metric.{entity}.campaign_metrics", "data": {"campaignId": entity, "metrics": {"clicks": 5}}},
            {"subject": f"metric.{entity}.live_metric_update", "data": {"metric": "clicks", "value": 5, "delta": 1}},
            {"subject": f"alert._{entity}.cpc.alert", "data": {"alertId": "a", "severity": "warning", "title": "CPC"}},
            {"subject": f"agent.{entity}.streaming_chunk", "data": {"content": "Hello"}},
            {"subject": f"job.{entity}.job_progress", "data": {"status": "processing", "progress": 0.6}},
        )
        await council.emit("agent", run, "council_score_stream", stage="gemini", model="gemini", thinking="hm")
        for tab in profile.tabs:
            await tab.until("() => shown.render.progress === 0.6 && shown.job.progress?.progress === 0.6")
            await tab.until(
                "() => shown.campaign.metrics && shown.metrics.metrics.clicks && shown.alerts.alerts.length"
            )
            await tab.until("() => shown.agent.textContent === 'Hello' && shown.council.stages.gemini")
            await tab.until("() => shown.sse.data?.progress === 0.5 && shown.socket.isConnected && window.words")

        for tab in profile.tabs:
            await asked(tab)
        # One stream for all subscriptions of all tabs, one for each document's address, and the guide's socket in each tab.
        expected = {"websocket": TABS, "sse": 2, "polling": 0}
        expected[transport.replace("auto", "websocket")] += 1

        async def are_as_expected() -> bool:
            # Between two polls nobody polls, and the end of a connection may come behind the beginning of the next.
            readers = (await edge.http.get("/callbacks/stats")).json()["readers"]
            assert readers == expected
            return True

        await eventually(are_as_expected)
        session = await eventually(lambda: one_session(edge, entity))

    await eventually(lambda: is_read_by_one(edge, session["session_id"]))
    assert len(council.asked) == 1
    assert [each for tab in profile.tabs for each in tab.complaints] == []


async def one_session(edge: RunningEdge, entity: str) -> dict[str, Any]:
    """The session that all tabs read; what was read before one more was asked for is deleted at once."""
    found: list[dict[str, Any]] = (await edge.http.get("/callbacks/sessions?limit=1000")).json()["sessions"]
    (session,) = [each for each in found if any(entity in subject for subject in each["subjects"] or ())]
    return session


async def is_read_by_one(edge: RunningEdge, session: str) -> bool:
    return sum((await edge.stats(session))["readers"].values()) == 1


async def asked(tab: Tab) -> None:
    """Has the page ask for something; where its streams leave no connection for that, it is never answered."""
    asking = "fetch('/callbacks/stats', { cache: 'no-store' }).then((answer) => answer.status)"
    assert await in_time(tab.page.evaluate(asking)) == 200
