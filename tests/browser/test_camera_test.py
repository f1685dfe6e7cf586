"""The page that tests a camera: it tries every transport, says what works and why the rest does not, for somebody to be sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.browser.conftest import Tab
from tests.e2e.tree import RunningCallboard, running_tree
from tests.edge.auth.conftest import SECRET, token
from tests.waiting import PATIENCE

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

PAGE = "/console/camera-test.html"
NAMES = ["document", "jpeg", "webcodecs", "mse", "whep", "mjpeg", "mp4", "still"]
DONE = "() => document.body.dataset.done === 'all'"
# State and text of each transport's row, by its name.
ROWS = """() => Object.fromEntries([...document.querySelectorAll("#results li")].map((row) => [
  row.dataset.name, [row.dataset.state, row.querySelector(".said").textContent]]))"""


async def running(folder: Any, *more: str, **settings: str) -> Any:
    sizes = {"CAMERA_WIDTH": "320", "CAMERA_HEIGHT": "240", "CAMERA_FPS": "10"}
    tree = running_tree(folder, "--only", "edge,camera", *more, **sizes, **settings)
    return tree, await asyncio.to_thread(tree.__enter__)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def callboard(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningCallboard]:
    """A Callboard with a small simulated camera."""
    tree, started = await running(tmp_path_factory.mktemp("open"))
    yield started
    await asyncio.to_thread(tree.__exit__, None, None, None)


async def rows(tab: Tab) -> dict[str, tuple[str, str]]:
    found: dict[str, tuple[str, str]] = await tab.page.evaluate(ROWS)
    return found


async def test_every_transport_works_and_the_report_says_so(tab: Tab, callboard: RunningCallboard) -> None:
    await tab.page.goto(callboard.url + PAGE)
    await tab.until("() => !document.querySelector('#all').disabled")

    await tab.page.click("#all")
    await tab.until(DONE, within=180)

    found = await rows(tab)
    assert {name: state for name, (state, _) in found.items()} == dict.fromkeys(NAMES, "works"), found
    assert all("320 × 240" in said for _, said in found.values())
    assert all("latency" in found[name][1] for name in ("document", "jpeg", "webcodecs", "mse", "mjpeg"))
    await tab.page.click("#copy")
    report = await tab.page.input_value("#report")
    assert report.count("\nworks ") == len(NAMES) and "Camera:   main" in report
    assert tab.complaints == []


async def test_a_reason_is_named_where_a_transport_fails(browser: Browser, callboard: RunningCallboard) -> None:
    context = await browser.new_context(viewport={"width": 390, "height": 844})
    context.set_default_timeout(PATIENCE * 1000)
    page = await context.new_page()
    await page.add_init_script("delete globalThis.VideoDecoder; delete globalThis.RTCPeerConnection;")
    await page.goto(callboard.url + PAGE)

    for name in ("webcodecs", "whep"):
        await page.wait_for_function("() => !document.querySelector('#connect').disabled")
        await page.select_option("#transport", name)
        await page.click("#connect")
        await page.wait_for_selector(f'li[data-name="{name}"][data-state="fails"]')

    found = await page.evaluate(ROWS)
    assert found["webcodecs"][1] == "this browser has no WebCodecs"
    assert found["whep"][1] == "this browser has no WebRTC"
    # A phone's page does not scroll sideways.
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await context.close()


async def test_connect_counts_until_disconnect(tab: Tab, callboard: RunningCallboard) -> None:
    await tab.page.goto(callboard.url + PAGE)
    await tab.page.wait_for_selector("#connect:not([disabled])")
    await tab.page.select_option("#transport", "document")
    await tab.page.click("#connect")
    await tab.until("() => Number(document.querySelectorAll('#figures dd')[1].textContent) > 15")
    await tab.page.click("#disconnect")
    await tab.page.wait_for_selector("#connect:not([disabled])")

    state, said = (await rows(tab))["document"]
    assert state == "works" and "320 × 240" in said
    log = await tab.page.inner_text("#log")
    assert "connected to camera main, 320 × 240" in log


async def test_it_asks_for_a_token_where_keys_are_configured_and_gets_tickets(
    tab: Tab, tmp_path_factory: pytest.TempPathFactory
) -> None:
    tree, secured = await running(tmp_path_factory.mktemp("secured"), JWT_SECRET=SECRET)
    try:
        await tab.page.goto(secured.url + PAGE)
        await tab.page.wait_for_selector("#sign-in:not([hidden])")
        await tab.page.fill("#token", token("alice", ttl=600.0, read=["camera.>"]))
        await tab.page.click("#sign-in button")
        await tab.page.wait_for_selector("#all:not([disabled])")
        await tab.page.click("#all")
        await tab.until(DONE, within=180)

        found = await rows(tab)
        assert {name: state for name, (state, _) in found.items()} == dict.fromkeys(NAMES, "works"), found
    finally:
        await asyncio.to_thread(tree.__exit__, None, None, None)


async def test_the_age_of_a_picture_of_before_counts_as_no_latency(tab: Tab, callboard: RunningCallboard) -> None:
    await tab.page.goto(callboard.url + PAGE)

    latency = await tab.page.evaluate(
        """async () => {
          const { Figures } = await import("/console/camera-test/measure.js");
          const figures = new Figures();
          figures.picture(100, 13_800, { width: 320, height: 240 });
          for (const age of [20, 30]) figures.picture(100, age, { fresh: true });
          figures.picture(100, 990, { fresh: false });
          return figures.latency;
        }"""
    )

    assert latency == {"p50": 30, "p99": 30}
