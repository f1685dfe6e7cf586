"""Tests that each page of the console comes about where whatever it asks for fails at first, while the stream of events goes on."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Route

from router.broker import Broker
from router.deadletter import webhook_subject
from tests.browser.conftest import Tab
from tests.browser.receiver import serving
from tests.browser.test_console_alerts import fired
from tests.browser.test_console_page import publish
from tests.browser.test_console_webhooks import hook
from tests.e2e.tree import RunningCallboard
from tests.edge.http.test_deadletters import bury
from tests.waiting import PATIENCE, eventually, unhurried

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

# What each page asks for at least, besides what all pages do.
PAGES = {
    "overview": "/throughput",
    "events": "/events",
    "sessions": "/callbacks/sessions",
    "sessions/new": "/schemas",
    "sessions/{session}": "/callbacks/sessions/{session}/stats",
    "webhooks": "/callbacks/sessions",
    "webhooks/{hook}": "/callbacks/sessions/{hook}/health",
    "deadletters": "/deadletters",
    "deadletters/{letter}": "/deadletters/{letter}",
    "runs": "/runs",
    "runs/job/{run}": "/runs/{run}",
    "alerts": "/alerts",
    "alerts/{alert}": "/rules/hot_{run}",
    "alerts/rules": "/rules",
    "alerts/rules/hot_{run}": "/rules/validate",
    "renders": "/commands",
    "cameras": "/recordings",
    "actors": "/actors",
    "actors/camera/main": "/commands",
}
ALL = {"GET /me", "GET /runs", "GET /alerts", "GET /cameras", "GET /octanes"}
# The console asks for signs of life beside all else, and the stream has tests of its own.
LEFT_OUT = re.compile(r"HEAD |DELETE |GET /livez|POST /callbacks/sessions$")
LIVE = "() => document.querySelector('#camera .badge')?.textContent === 'Live'"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def names(running_callboard: RunningCallboard) -> AsyncIterator[dict[str, str]]:
    """One of each thing that has a page."""
    url, run = running_callboard.url, "away"
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=PATIENCE) as api, serving() as box:
        alert = await fired(api, run)
        await publish(url, f"job.{run}.state", {"status": "running"})
        spec = {"delivery_method": "websocket", "subjects": [f"job.{run}.>"]}
        session = (await api.post("/callbacks/sessions", json=spec)).raise_for_status().json()["session_id"]
        async with Broker(unhurried(running_callboard.nats_url), "letters") as broker:
            ((letter, _),) = await bury(broker, webhook_subject(run))
        yield {
            "run": run, "alert": alert["id"], "session": session, "letter": str(letter), "hook": await hook(url, box, run)
        }  # fmt: skip


class Failing:
    """Lets the first two requests of each kind fail: one by the network, and one as a server says that cannot answer."""

    def __init__(self) -> None:
        self.tries: dict[str, int] = {}
        self.answered: set[str] = set()

    async def __call__(self, route: Route) -> None:
        request = route.request
        asked = f"{request.method} {urlsplit(request.url).path}"
        if request.resource_type not in ("fetch", "xhr") or LEFT_OUT.match(asked):
            await route.continue_()
            return
        self.tries[asked] = self.tries.get(asked, 0) + 1
        if self.tries[asked] == 1:
            await route.abort("failed")
        elif self.tries[asked] == 2:
            await route.fulfill(status=503, json={"code": "nats_unavailable", "detail": "NATS does not answer"})
        else:
            self.answered.add(asked)
            await route.continue_()


@pytest.mark.parametrize(("page", "asked"), PAGES.items(), ids=PAGES)
async def test_what_a_page_asks_for_is_asked_for_again_until_it_is_answered(
    tab: Tab, running_callboard: RunningCallboard, names: dict[str, str], page: str, asked: str
) -> None:
    failing = Failing()
    await tab.page.route("**/*", failing)

    await tab.page.goto(f"{running_callboard.url}/console/{page.format(**names)}")
    await tab.until("() => globalThis.callboard?.client.state.phase === 'live'")

    await eventually(lambda: asked.format(**names) in {each.partition(" ")[2] for each in failing.answered})
    await eventually(lambda: ALL | set(failing.tries) <= failing.answered)
    if page == "cameras":
        await tab.until(LIVE)


@pytest.mark.parametrize(
    ("page", "asked", "shown"),
    [("console/camera-test.html", "/cameras", "#connect:enabled"), ("docs/events", "/asyncapi.json", "#reference h1")],
)
async def test_a_page_beside_the_console_comes_about_in_the_end(
    tab: Tab, running_callboard: RunningCallboard, page: str, asked: str, shown: str
) -> None:
    failing = Failing()
    await tab.page.route("**/*", failing)

    await tab.page.goto(f"{running_callboard.url}/{page}")

    await eventually(lambda: f"GET {asked}" in failing.answered)
    await tab.page.wait_for_selector(shown)


class Breaking:
    """Lets the first requests for each file of a kind fail: so many of them."""

    def __init__(self, **kinds: int) -> None:
        self._kinds = kinds
        self.failed: Counter[str] = Counter()

    async def __call__(self, route: Route) -> None:
        url = route.request.url
        if self.failed[url] < self._kinds.get(route.request.resource_type, 0):
            self.failed[url] += 1
            await route.abort("failed")
        else:
            await route.continue_()


@pytest.mark.parametrize("failing", ["first", "first of each"])
async def test_a_page_whose_scripts_or_styles_did_not_come_is_loaded_again_until_it_is_whole(
    tab: Tab, running_callboard: RunningCallboard, failing: str
) -> None:
    breaking = Breaking(script=1, stylesheet=2)
    pattern = re.compile(r"/console/(main|views/camera)\.js|\.css$") if failing == "first" else "**/*"
    await tab.page.route(pattern, breaking)

    await tab.page.goto(f"{running_callboard.url}/console/cameras")
    await tab.until(LIVE)
    await tab.until("() => getComputedStyle(document.querySelector('video.playback')).position === 'absolute'")

    assert any(url.endswith("main.js") for url in breaking.failed)
    assert any(url.endswith("camera.css") for url in breaking.failed)
