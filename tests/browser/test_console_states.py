"""Tests of what the console says of its connection and of who may see: killed and restarting edges, refusals, rest, sign-in."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import pytest_asyncio

from edge.auth.grants import Grants
from edge.auth.token import mint
from tests.axe import serious
from tests.browser.conftest import LATENESS, Tab
from tests.browser.test_console_frame import BUSY, OFFLINE, OFFLINE_WITHIN, TOOK
from tests.browser.test_restarts import Tree
from tests.edge.auth.conftest import SECRET, SecuredFactory, secured, token
from tests.waiting import PATIENCE

__all__ = ["secured"]

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

LIVE = "() => document.querySelector('.pill .phase')?.textContent === 'Live'"
# Every title that the banner has from now on, as long as it is seen.
TITLES = """() => {
  const banner = document.getElementById("banner");
  window.titles = new Set();
  new MutationObserver(() => banner.hidden || titles.add(banner.querySelector("strong").textContent))
    .observe(banner, { subtree: true, childList: true, characterData: true, attributes: true });
}"""
HIDE = """(hidden) => {
  Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tree(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Tree]:
    tree = Tree(tmp_path_factory.mktemp("tree"), "edge")
    await tree.start()
    try:
        yield tree
    finally:
        await tree.stop()


async def test_a_killed_edge_is_said_to_be_offline_within_three_seconds_and_its_successor_is_live(
    tab: Tab, tree: Tree
) -> None:
    assert tree.callboard is not None
    await tab.page.goto(tree.callboard.url)
    await tab.until(LIVE)
    await tab.page.evaluate(LATENESS)
    await tab.page.evaluate(OFFLINE)
    # `up` would start the next edge at once.
    os.kill(tree.callboard.pid, signal.SIGSTOP)
    try:
        os.kill(tree.callboard.children()["edge"], signal.SIGKILL)
        took = await tab.page.evaluate(TOOK)
        await tab.page.wait_for_selector("#banner:visible >> text=The server does not answer. What is shown is from")
    finally:
        os.kill(tree.callboard.pid, signal.SIGCONT)

    await tab.until(LIVE)
    await tab.page.wait_for_selector("#banner", state="hidden")
    assert took < OFFLINE_WITHIN + BUSY, took


async def test_an_edge_that_restarts_in_order_is_said_to_restart(tab: Tab, tree: Tree) -> None:
    assert tree.callboard is not None
    await tab.page.goto(tree.callboard.url)
    await tab.until(LIVE)
    await tab.page.evaluate(TITLES)

    await tree.restart_edge()
    await tab.until("() => titles.size && callboard.client.state.phase === 'live'")

    await tab.page.wait_for_selector("#banner", state="hidden")
    assert (await tab.page.evaluate("[...titles]"))[0] == "The server is restarting"


async def test_a_tab_that_is_not_looked_at_rests_and_goes_on_when_it_is(tab: Tab, tree: Tree) -> None:
    assert tree.callboard is not None
    await tab.page.clock.install()
    await tab.page.goto(tree.callboard.url)
    await tab.until(LIVE)
    asked: list[str] = []

    await tab.page.evaluate(HIDE, True)
    await tab.page.clock.fast_forward(121_000)
    await tab.until("() => callboard.client.state.phase === 'paused'")
    tab.page.on("request", lambda request: asked.append(request.url))
    await tab.page.clock.fast_forward(60_000)
    # The modules of the other places are read when there is time.
    assert [url for url in asked if not urlsplit(url).path.endswith((".js", ".css"))] == []
    await tab.page.evaluate(HIDE, False)

    await tab.until("() => callboard.client.state.phase === 'live'")


async def test_a_page_that_the_server_refuses_says_why(tab: Tab, secured: SecuredFactory) -> None:
    confined = mint(SECRET, "guest", Grants(sessions=("sess_000000000000000000000000",)), 600, None, None)
    async with secured() as edge:
        await tab.page.goto(f"{edge.url}/#token={confined}")

        await tab.page.wait_for_selector("#banner:visible >> text=The server refuses this page")
        assert "the token is for the endpoints of single sessions" in (await tab.page.inner_text("#banner")).lower()
        assert await serious(tab.page) == []


async def signed_in(tab: Tab) -> Any:
    await tab.until("() => globalThis.callboard?.client.state.phase === 'live'")
    return await tab.page.evaluate("location.href + history.length")


@pytest.mark.parametrize("scheme", ["dark", "light"])
async def test_who_signs_in_gives_a_token_or_a_ticket_and_neither_stays_in_the_address(
    tab: Tab,
    secured: SecuredFactory,
    scheme: str,
) -> None:
    await tab.page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    mine = token("alice", ttl=600, read=[">"])
    async with secured() as edge, httpx.AsyncClient(base_url=edge.url, timeout=PATIENCE) as http:
        await tab.page.goto(f"{edge.url}/console/alerts")
        await tab.page.wait_for_selector(".login >> text=This server shows events to people with a token.")
        assert await serious(tab.page) == []

        await tab.page.keyboard.type("nonsense")
        await tab.page.keyboard.press("Enter")
        await tab.page.wait_for_selector(".login >> text=That token is not valid here.")
        asked = await http.post("/tickets", json={"sign_in": True}, headers={"Authorization": f"Bearer {mine}"})
        await tab.page.fill(".login input", asked.json()["ticket"])
        await tab.page.keyboard.press("Enter")
        await tab.page.wait_for_selector("#alerts:visible")
        await signed_in(tab)

        await tab.page.click(".pill")
        await tab.page.click("#connection >> text=Sign in elsewhere")
        ticket = await (await tab.page.wait_for_selector("#connection .command code")).inner_text()
        await tab.page.click("#connection >> text=Sign out")
        await tab.page.wait_for_selector(".login:visible")
        await tab.page.goto(f"{edge.url}/console/runs#ticket={ticket}")
        await signed_in(tab)
        assert await tab.page.evaluate("location.href") == f"{edge.url}/console/runs"
        assert await tab.page.evaluate("sessionStorage.getItem('callboard.token')") == mine
        await tab.page.evaluate("sessionStorage.clear()")
        await tab.page.goto(f"{edge.url}/console/runs")
        await tab.page.fill(".login input", ticket)
        await tab.page.keyboard.press("Enter")

        await tab.page.wait_for_selector(".login >> text=That ticket is spent or has expired")


async def test_a_token_that_is_kept_takes_the_place_of_an_older_one_of_the_tab(
    tab: Tab, secured: SecuredFactory
) -> None:
    mine = token("alice", ttl=600, read=[">"])
    async with secured() as edge:
        await tab.page.goto(f"{edge.url}/#token=an.old.one")
        await tab.page.fill(".login input[type=password]", mine)
        await tab.page.check(".login input[type=checkbox]")
        await tab.page.keyboard.press("Enter")
        await signed_in(tab)

        await tab.page.reload()

        await signed_in(tab)
        assert not await tab.page.is_visible(".login")
