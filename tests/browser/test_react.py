"""Tests of the React hooks with the real React in a browser: fields, StrictMode, and how many connections they open."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from playwright.async_api import Browser

from tests.browser.conftest import Tab
from tests.browser.standin import Standin
from tests.npm import Libraries
from tests.waiting import PATIENCE, eventually

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

PAGE = Path(__file__).with_name("react_page.jsx")


@pytest.fixture(scope="module")
def bundle(libraries: Libraries) -> str:
    """The page's script: the client and React."""
    return libraries.bundle(PAGE)


class Documents:
    """Streams in the documents' shapes, for the hooks that read any address."""

    def __init__(self) -> None:
        self.sses = self.sockets = 0
        self.said: list[Any] = []

    async def sse(self, request: web.Request) -> web.StreamResponse:
        self.sses += 1
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(request)
        await answer.write(b'data: {"type":"connected","message":"Connected"}\n\ndata: {"type":"x","n":1}\nid: 1\n\n')
        await answer.write(b'event: complete\ndata: {"type":"x","n":2}\nid: 2\n\n')
        return answer

    async def council(self, request: web.Request) -> web.StreamResponse:
        self.sses += 1
        assert request.query["videoUrl"] == "video.mp4"
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(request)
        for piece in (
            {"type": "council_score_stream", "stage": "analysis", "model": "psychology", "thinking": "Hm."},
            {
                "type": "council_score_stream",
                "stage": "analysis",
                "model": "psychology",
                "score": 80,
                "isComplete": True,
            },
        ):
            await answer.write(f"data: {json.dumps(piece)}\n\n".encode())
        last = {"type": "council_score_stream", "stage": "complete", "finalScore": {"composite": 80}}
        await answer.write(f"event: complete\ndata: {json.dumps(last)}\n\n".encode())
        return answer

    async def socket(self, request: web.Request) -> web.WebSocketResponse:
        self.sockets += 1
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            self.said.append(json.loads(message.data))
            await socket.send_json({"type": "subscribed", "channel": self.said[-1].get("channel")})
        return socket


@pytest_asyncio.fixture(loop_scope="module")
async def documents(standin: Standin, bundle: str) -> AsyncIterator[Documents]:
    """The stand-in with the page and the documents' streams."""
    documents = Documents()

    async def script(_request: web.Request) -> web.Response:
        return web.Response(text=bundle, content_type="text/javascript")

    standin.extra = {
        "/page.js": script,
        "/documents/one/sse": documents.sse,
        "/documents/one/ws": documents.socket,
        "/api/stream/council-score": documents.council,
    }
    yield documents


async def mount(tab: Tab, standin: Standin, components: int = 1, **options: Any) -> None:
    await tab.page.goto(f"{standin.url}/blank")
    mounting = "([options, count]) => import('/page.js').then(() => mount(options, count))"
    await tab.page.evaluate(mounting, [{"backoff": {"base": 20, "cap": 200}, **options}, components])
    await tab.until("() => window.shown?.render?.isConnected")


async def test_a_thousand_renders_of_every_hook_open_one_connection(
    tab: Tab, standin: Standin, documents: Documents
) -> None:
    await mount(tab, standin, components=6)

    for _ in range(100):
        await tab.page.evaluate("new Promise((done) => { again(); requestAnimationFrame(() => done()); })")
    await tab.until("() => window.renders >= 1000 && turn === 100")
    await standin.publish("job.one.video_render_progress", {"progress": 0.5, "stage": "rendering"})
    await tab.until("() => shown.render.progress === 0.5")

    streams = [way for way in standin.opened if way != "polling"]
    # One for each change of what is asked for, each closed before the next: those that mount together are one change.
    assert standin.most_open == 1 and len(streams) <= 3
    assert (documents.sses, documents.sockets) == (1, 1)
    assert [each for each in tab.complaints if "404" not in each] == []


async def test_six_tabs_with_every_hook_by_server_sent_events_leave_room_for_a_fetch(
    browser: Browser, standin: Standin, documents: Documents
) -> None:
    context = await browser.new_context()
    context.set_default_timeout(PATIENCE * 1000)
    tabs = [Tab(await context.new_page()) for _ in range(6)]

    for tab in tabs:
        await mount(tab, standin, transport="sse")
        await tab.page.evaluate("(shown.campaign.startStreaming(), shown.council.startStreaming())")
    await standin.publish("job.one.video_render_progress", {"progress": 0.5, "stage": "rendering"})

    for tab in tabs:
        await tab.until("() => shown.render.progress === 0.5 && shown.council.finalScore")
        assert await tab.page.evaluate("fetch('/runs').then((answer) => answer.status)") == 200
    assert standin.open_now == 1
    await context.close()


async def test_every_hook_has_the_documents_fields(tab: Tab, standin: Standin, documents: Documents) -> None:
    await mount(tab, standin)
    # A job and an agent may have one name: who begins anew begins anew for both.
    await standin.publish("agent.one.workflow_start", {})
    frame = {"jobId": "one", "currentFrame": 5, "totalFrames": 10, "progress": 0.5, "fps": 30, "stage": "rendering"}
    await standin.publish("job.one.video_render_progress", {**frame, "estimatedTimeRemaining": 12})
    await standin.publish("job.one.job_progress", {"jobId": "one", "status": "processing", "progress": 0.6})
    await standin.publish("metric.one.campaign_metrics", {"metrics": {"clicks": 5}, "change": {"clicks": 2}})
    await standin.publish("metric.one.live_metric_update", {"metric": "clicks", "value": 5, "delta": 1})
    await standin.publish("alert._one.cpc.alert", {"alertId": "a1", "severity": "warning", "title": "High CPC"})
    for word in ("Hel", "lo"):
        await standin.publish("agent.one.streaming_chunk", {"content": word})
    await standin.publish("agent.one.tool_use", {"tool_name": "search", "parameters": {"q": "tea"}})
    await tab.page.evaluate("(shown.campaign.startStreaming(), shown.council.startStreaming())")

    await tab.until("() => shown.render.progress === 0.6 && shown.agent.toolCall && shown.council.finalScore")
    await tab.until("() => shown.job.progress?.progress === 0.6")
    await tab.until("() => shown.campaign.metrics && shown.alerts.alerts.length && shown.metrics.metrics.clicks")
    found = await tab.page.evaluate("JSON.parse(JSON.stringify(shown))")
    assert (
        found["render"] | {"isConnected": True, "error": None, "currentFrame": 5, "totalFrames": 10} == found["render"]
    )
    assert (found["render"]["fps"], found["render"]["stage"], found["render"]["estimatedTime"]) == (30, "rendering", 12)
    assert (found["job"]["status"], found["job"]["progress"]["progress"]) == ("processing", 0.6)
    assert (found["campaign"]["metrics"], found["campaign"]["change"]) == ({"clicks": 5}, {"clicks": 2})
    assert found["metrics"]["metrics"]["clicks"]["delta"] == 1
    assert [(alert["alertId"], alert["severity"]) for alert in found["alerts"]["alerts"]] == [("a1", "warning")]
    assert (found["agent"]["status"], found["agent"]["textContent"]) == ("running", "Hello")
    assert found["agent"]["toolCall"]["name"] == "search"
    assert (
        found["council"]["stages"]["psychology"] | {"thinking": "Hm.", "score": 80}
        == found["council"]["stages"]["psychology"]
    )
    assert (found["council"]["currentStage"], found["council"]["finalScore"]) == ("complete", {"composite": 80})
    assert found["sse"]["data"] == {"type": "x", "n": 2}


async def test_leaving_the_page_s_components_ends_the_connection(
    tab: Tab, standin: Standin, documents: Documents
) -> None:
    await mount(tab, standin)

    await tab.page.evaluate("unmount()")

    await eventually(lambda: standin.open_now == 0)


async def test_a_dismissed_alert_is_dismissed_on_the_server_and_a_refusal_brings_it_back(
    tab: Tab, standin: Standin, documents: Documents
) -> None:
    await mount(tab, standin)
    standin.lists["alerts"] = [{"id": "a1", "state": "firing"}]
    await standin.publish("alert._one.cpc.firing", {"alert": "a1", "severity": "warning", "title": "High CPC"})
    await tab.until("() => shown.alerts.alerts.length === 1")

    await tab.page.evaluate("shown.alerts.dismissAlert('a1')")

    await tab.until("() => shown.alerts.alerts.length === 0")
    assert standin.acts == [("a1", "dismiss", {})]


async def test_alerts_begin_with_those_that_are_open_and_what_the_stream_tells_counts_more(
    tab: Tab, standin: Standin, documents: Documents
) -> None:
    def listed(id: str, *audience: str) -> dict[str, Any]:
        times = {"timestamp": f"2026-01-0{id[1]}T00:00:00Z"}
        return {"id": id, "state": "firing", "severity": "critical", "title": id, "audience": list(audience), **times}

    # Those that began last first, as the server lists them.
    standin.lists["alerts"] = [listed("a4"), listed("a3", "another"), listed("a2", "one", "another"), listed("a1")]
    await standin.publish("alert.rule.resolved", {"alert": "a1", "severity": "critical", "title": "a1"})
    await mount(tab, standin)
    await tab.until("() => shown.alerts.alerts.length === 2")
    # Of a rule without an audience.
    await standin.publish("alert.rule.firing", {"alert": "a5", "severity": "warning", "title": "a5"})
    await standin.publish("alert._one.rule.resolved", {"alert": "a2", "severity": "critical", "title": "a2"})

    await tab.until("() => shown.alerts.alerts.map((alert) => alert.alertId).join() === 'a5,a4'")


async def test_channels_of_a_socket_are_counted(tab: Tab, standin: Standin, documents: Documents) -> None:
    await mount(tab, standin)
    await tab.until("() => shown.socket.isConnected")

    await tab.page.evaluate("""() => {
      shown.socket.subscribe("job_progress", "7");
      shown.socket.subscribe("job_progress", "7");
      shown.socket.unsubscribe("job_progress", "7");
    }""")
    await tab.until("() => window.words?.length")
    await tab.page.evaluate("shown.socket.unsubscribe('job_progress')")
    await eventually(lambda: len(documents.said) == 2)

    assert [said["type"] for said in documents.said] == ["subscribe", "unsubscribe"]
