"""A chat by LangGraph's React hook `useStream` in a browser: sent, read in a second tab, reloaded in mid-stream, stopped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from playwright.async_api import Page, async_playwright

from tests import parts
from tests.browser.conftest import ARGUMENTS
from tests.edge.conftest import RunningEdge
from tests.edge.surfaces.conftest import Worker
from tests.npm import Libraries
from tests.waiting import PATIENCE, eventually

pytestmark = [pytest.mark.browser, pytest.mark.slow]

HERE = Path(__file__).parent


@pytest.fixture
async def page_url(libraries: Libraries) -> AsyncIterator[str]:
    """Where the chat's page is served: another origin than the edge's."""
    bundle = await asyncio.to_thread(libraries.bundle, HERE / "graph_page.jsx")

    async def page(_request: web.Request) -> web.Response:
        html = (
            '<!doctype html><link rel=icon href=data:,><div id=page></div><script type=module src="/page.js"></script>'
        )
        return web.Response(text=html, content_type="text/html")

    async def script(_request: web.Request) -> web.Response:
        return web.Response(text=bundle, content_type="text/javascript")

    app = web.Application()
    app.add_routes([web.get("/", page), web.get("/page.js", script)])
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def shows(page: Page, *messages: tuple[str, str]) -> None:
    """Waits until a page shows these messages."""
    wanted = [list(message) for message in messages]
    found: list[Any] = []

    async def found_it() -> bool:
        found[:] = await page.evaluate("window.shown ?? []")
        return found == wanted

    try:
        await eventually(found_it, within=PATIENCE / 2)
    except AssertionError:
        raise AssertionError(f"shown: {found}") from None


async def test_a_chat_is_reloaded_in_mid_stream_seen_in_two_tabs_and_stopped(
    edge: RunningEdge, entity: str, worker: Worker, stopping: list[str], page_url: str
) -> None:
    chromium = parts.program(parts.CHROMIUM)
    address = f"{page_url}/?edge={edge.url}&agent={worker.name}&thread={entity}"
    human, complaints = ("human", "hi"), []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        context = await browser.new_context()
        context.set_default_timeout(PATIENCE * 1000)
        page = await context.new_page()
        page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda fault: complaints.append(str(fault)))
        await page.goto(address)
        await page.wait_for_function("window.loading === false")
        await page.evaluate("send('hi')")
        await eventually(lambda: worker.asked)
        await worker.emit("thread", entity, "token", content="Grüß")
        await shows(page, human, ("ai", "Grüß"))
        await page.reload()
        await shows(page, human, ("ai", "Grüß"))
        await page.wait_for_function("window.loading === true")
        await worker.emit("thread", entity, "token", content=" Gott")
        await shows(page, human, ("ai", "Grüß Gott"))
        second = await context.new_page()
        await second.goto(address)
        await shows(second, human, ("ai", "Grüß Gott"))
        await worker.emit("thread", entity, "completion", success=True)
        await page.wait_for_function("window.loading === false")
        await shows(page, human, ("ai", "Grüß Gott"))

        await second.evaluate("send('again')")
        await eventually(lambda: len(worker.asked) == 2)
        await worker.emit("thread", entity, "token", content="No")
        await shows(second, human, ("ai", "Grüß Gott"), ("human", "again"), ("ai", "No"))
        await second.evaluate("halt()")
        await eventually(lambda: stopping)
        await worker.emit("thread", entity, "completion", status="cancelled")
        await second.reload()
        await shows(second, human, ("ai", "Grüß Gott"), ("human", "again"), ("ai", "No"))
        await browser.close()

    assert stopping == [entity] and complaints == []
    assert [message["content"] for message in worker.asked[1]["input"]["messages"]] == ["hi", "Grüß Gott", "again"]  # type: ignore[index]
