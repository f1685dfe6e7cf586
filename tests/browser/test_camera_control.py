"""A Vue component as CompuCyto's document describes it runs unchanged in a browser: it shows the camera, also after the edge died."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web

from tests.browser.conftest import Tab
from tests.e2e.tree import RunningCallboard, running_tree
from tests.npm import node_with
from tests.waiting import PATIENCE

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

COMPONENT = Path(__file__).with_name("camera_control.js")
BLANK = "<!doctype html><title>camera</title><div id=app></div><script src=/vue.js></script><script src=/component.js></script>"
SHOWN = "(count) => Number(document.querySelector('#stats').textContent.split(' ')[1]) > count"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """The address of the user's own server, as Vite's, which has the page."""
    folder = tmp_path_factory.mktemp("vue")
    await asyncio.to_thread(node_with, folder, "vue@^3.5")
    scripts = {
        "/vue.js": folder / "node_modules/vue/dist/vue.global.prod.js",
        "/component.js": COMPONENT,
    }
    app = web.Application()

    async def page(request: web.Request) -> web.StreamResponse:
        found = scripts.get(request.path)
        return web.FileResponse(found) if found else web.Response(text=BLANK, content_type="text/html")

    app.add_routes([web.get("/{path:.*}", page)])
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def callboard(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningCallboard]:
    """A Callboard with a small simulated camera."""
    sizes = {"CAMERA_WIDTH": "320", "CAMERA_HEIGHT": "240", "CAMERA_FPS": "10"}
    tree = running_tree(tmp_path_factory.mktemp("camera"), "--only", "edge,camera", **sizes)
    running = await asyncio.to_thread(tree.__enter__)
    yield running
    await asyncio.to_thread(tree.__exit__, None, None, None)


async def test_the_component_shows_the_camera_and_does_so_again_after_the_edge_was_killed(
    tab: Tab, site: str, callboard: RunningCallboard
) -> None:
    address = f"ws://127.0.0.1:{callboard.port}/ws/camera/stream"
    await tab.page.goto(f"{site}/?url={address}")

    await tab.until(SHOWN, 10)
    said = await tab.page.inner_text("#connected")
    size = await tab.page.evaluate("[document.images[0].naturalWidth, document.images[0].naturalHeight]")
    os.kill(callboard.children()["edge"], signal.SIGKILL)
    await tab.page.wait_for_selector("#loading")
    await tab.page.wait_for_selector("#connected", timeout=2 * PATIENCE * 1000)
    before = int((await tab.page.inner_text("#stats")).split()[1])
    await tab.until(SHOWN, before + 5)
    await tab.page.click("button")
    await tab.page.wait_for_selector("#connected")

    assert said == "Connected 320x240"
    assert size == [320, 240]
    assert int((await tab.page.inner_text("#stats")).split()[4]) < 5_000
