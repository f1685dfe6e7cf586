"""Tests of the portal in a browser: a link shows one endpoint and nothing else, also in a frame of a page that may hold it."""

from __future__ import annotations

import pytest
from aiohttp import web

from edge.auth.grants import Grants
from edge.auth.token import mint
from tests.axe import serious
from tests.browser.conftest import Tab
from tests.browser.receiver import serving
from tests.edge.auth.conftest import SECRET, SecuredFactory, secured
from tests.waiting import eventually

__all__ = ["secured"]

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


async def test_a_link_shows_one_endpoint_and_resends_by_it(tab: Tab, secured: SecuredFactory, entity: str) -> None:
    async with secured() as edge, serving() as box:
        alice = edge.as_("alice", read=[">"], publish=[">"])
        session = await alice.session(
            delivery_method="webhook", webhook_url=box.url, name="Shop orders", subjects=[f"job.{entity}.>"]
        )
        await alice.numbers(entity, 1)
        await eventually(lambda: len(box.ids) == 1)
        path = (await alice.http.post(f"/callbacks/sessions/{session}/portal", json={})).json()["path"]
        asked: list[str] = []
        tab.page.on("request", lambda request: asked.append(request.url))

        await tab.page.goto(edge.url + path)
        await tab.page.wait_for_selector("h2:has-text('Shop orders')")
        await tab.page.click(".attempt[data-verdict=delivered] .attempt-row")
        await tab.page.wait_for_selector(".attempt-detail >> text=webhook-signature: ***")
        await tab.page.click(".attempt-detail >> text=Resend")
        await tab.page.wait_for_selector(".attempt[data-trigger=manual]")

        assert "token" not in tab.page.url
        assert not await tab.page.query_selector("nav, .places")
        assert await serious(tab.page) == []
        assert tab.complaints == []
        own = f"{edge.url}/callbacks/sessions/{session}"
        data = [
            url
            for url in asked
            if not url.startswith((f"{edge.url}/console/", f"{edge.url}/client/", f"{edge.url}/portal/"))
        ]
        assert data and all(url.startswith(own) for url in data)


async def test_a_link_that_has_ended_or_is_none_says_so(tab: Tab, secured: SecuredFactory) -> None:
    async with secured() as edge:
        session = await edge.as_("alice", read=[">"]).session(
            delivery_method="webhook", webhook_url="http://127.0.0.1:9/"
        )
        await tab.page.goto(f"{edge.url}/portal/{session}")
        await tab.page.wait_for_selector("text=This page needs a link with a token")
        other = mint(SECRET, "guest", Grants(sessions=("sess_000000000000000000000000",)), 60, None, None)
        await tab.page.goto(f"{edge.url}/portal/{session}#token={other}")
        await tab.page.wait_for_selector(".state[data-kind=missing]")
        assert await serious(tab.page) == []


async def test_the_page_stands_in_a_frame_of_a_named_origin_and_of_no_other(tab: Tab, secured: SecuredFactory) -> None:
    pages = web.Application()
    held: dict[str, str] = {}

    async def page(_request: web.Request) -> web.Response:
        return web.Response(
            text=f'<!doctype html><title>shop</title><iframe src="{held["src"]}"></iframe>', content_type="text/html"
        )

    pages.router.add_get("/", page)
    runner = web.AppRunner(pages, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    shop = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        for origins, shown in (((shop,), True), ((), False)):
            async with secured(portal_origins=origins) as edge:
                alice = edge.as_("alice", read=[">"])
                session = await alice.session(
                    delivery_method="webhook", webhook_url="http://127.0.0.1:9/", name="Framed"
                )
                made = (await alice.http.post(f"/callbacks/sessions/{session}/portal", json={})).json()
                held["src"] = edge.url + made["path"]
                await tab.page.goto(shop)
                frame = tab.page.frame_locator("iframe")
                if shown:
                    await frame.locator("h2:has-text('Framed')").wait_for()
                else:
                    await eventually(lambda: any("frame-ancestors" in each for each in tab.complaints))
    finally:
        await runner.cleanup()
