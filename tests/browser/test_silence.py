"""Connections that go silent, as the JavaScript client finds out at a real edge: over each transport, and what it costs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from edge.settings import SessionSettings
from tests.browser.conftest import LATENESS, Tab
from tests.edge.conftest import EdgeFactory, RunningEdge, edge_factory
from tests.proxy import Proxy
from tests.waiting import PATIENCE, eventually, in_time

__all__ = ["edge_factory"]

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

# How often this edge speaks, in seconds, and how late that may be.
HEARTBEAT, LATE = 2.0, 1.25
# From the moment at which the server should have spoken to a new connection, in seconds; and what a busy machine adds.
PROMISED, BUSY = 3.0, 3.0

READ = """async ([url, options]) => {
  const { connect } = await import("/client.js");
  window.seen = [];
  window.board = connect(url, options);
  board.on("*", (event) => seen.push(event.data.n));
}"""
# The time in ms until a further connection is live, less what the machine was late.
AGAIN = """(before) => new Promise((done) => {
  const began = performance.now();
  const looking = setInterval(() => {
    if (board.stats.connections <= before || board.state.phase !== "live") return;
    clearInterval(looking);
    done(performance.now() - began - lateness);
  }, 20);
})"""


async def publish(edge: RunningEdge, entity: str, *numbers: int) -> None:
    await edge.publish(*({"subject": f"job.{entity}.output", "data": {"n": n}} for n in numbers))


async def read(tab: Tab, url: str, entity: str, transport: str, **options: Any) -> None:
    await tab.page.goto(f"{url}/openapi.json")
    chosen = {"subjects": [f"job.{entity}.>"], "cursor": "earliest", "transport": transport, **options}
    await tab.page.evaluate(READ, [url, chosen])
    await tab.until("() => board.state.phase === 'live'")


async def are_read_by_one(edge: RunningEdge) -> bool:
    """Whether there is one connection; the end of one that was lost may come behind the beginning of the next."""
    return sum((await edge.http.get("/callbacks/stats")).json()["readers"].values()) == 1


@pytest.mark.parametrize("transport", ["websocket", "sse", "polling"])
async def test_a_connection_that_goes_silent_is_replaced_within_three_seconds_and_nothing_is_missed(
    tab: Tab, edge_factory: EdgeFactory, entity: str, transport: str
) -> None:
    async with (
        edge_factory(session=SessionSettings(heartbeat=HEARTBEAT)) as edge,
        Proxy(edge.port) as wire,
    ):
        # A long poll that is answered after the same time.
        silence = {"silence": int(1000 * (LATE * HEARTBEAT + PROMISED))} if transport == "polling" else {}
        await read(tab, wire.url, entity, transport, **silence)
        await publish(edge, entity, 0)
        await tab.until("() => seen.length === 1")

        before = await tab.page.evaluate("board.stats.connections")
        await tab.page.evaluate(LATENESS)
        again = asyncio.ensure_future(tab.page.evaluate(AGAIN, before))
        wire.freeze()
        await publish(edge, entity, 1, 2)
        took = await in_time(again) / 1000
        await tab.until("() => seen.length === 3")

        assert await tab.page.evaluate("[seen, board.stats.gaps]") == [[0, 1, 2], 0]
        assert took < LATE * HEARTBEAT + PROMISED + BUSY


@pytest.mark.parametrize("transport", ["websocket", "sse", "polling"])
async def test_a_quiet_connection_is_kept(tab: Tab, edge_factory: EdgeFactory, entity: str, transport: str) -> None:
    async with edge_factory(session=SessionSettings(heartbeat=1.0)) as edge:
        silence = {"silence": 4_250} if transport == "polling" else {}
        await read(tab, edge.url, entity, transport, **silence)
        await tab.page.evaluate("window.states = [], board.onState(({ phase }) => states.push(phase))")

        await asyncio.sleep(6)

        assert await tab.page.evaluate("[states, board.stats.connections]") == [["live"], 1]


@pytest.mark.parametrize("transport", ["websocket", "sse", "polling"])
async def test_a_browser_that_is_offline_for_ten_seconds_misses_nothing(
    tab: Tab, edge_factory: EdgeFactory, entity: str, transport: str
) -> None:
    async with edge_factory() as edge:
        await read(tab, edge.url, entity, transport, share="none")
        await publish(edge, entity, 0)
        await tab.until("() => seen.length === 1")

        await tab.page.context.set_offline(True)
        for n in range(1, 11):
            await publish(edge, entity, n)
            await asyncio.sleep(1)
        await tab.page.context.set_offline(False)

        await tab.until("() => seen.length === 11 && board.state.phase === 'live'")
        assert await tab.page.evaluate("[seen, board.stats.gaps]") == [list(range(11)), 0]
        await eventually(lambda: are_read_by_one(edge))


@pytest_asyncio.fixture(loop_scope="module")
async def tabs(browser: Browser) -> AsyncIterator[list[Tab]]:
    """Two tabs of one profile."""
    context = await browser.new_context()
    context.set_default_timeout(PATIENCE * 1000)
    yield [Tab(await context.new_page()) for _ in range(2)]
    await context.close()


async def test_tabs_whose_server_is_away_for_ten_seconds_share_one_connection_again(
    tabs: list[Tab], edge_factory: EdgeFactory, entity: str
) -> None:
    async with edge_factory() as edge, Proxy(edge.port) as wire:
        for tab in tabs:
            await read(tab, wire.url, entity, "auto")
        wire.refuse()
        for n in range(10):
            await publish(edge, entity, n)
            await asyncio.sleep(1)
        wire.accept()

        for tab in tabs:
            await tab.until("() => seen.length === 10 && board.state.phase === 'live'")
            assert await tab.page.evaluate("[seen, board.stats.gaps]") == [list(range(10)), 0]
        await eventually(lambda: are_read_by_one(edge))
