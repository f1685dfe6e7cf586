"""Tests of the console's place of sessions: make, find, read, change, test and delete one, and its honest states."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from playwright.async_api import Route, expect

from tests.axe import serious
from tests.browser.conftest import Tab
from tests.browser.test_console_page import RunningCallboard, open_console, publish, run
from tests.waiting import PATIENCE

__all__ = ["run"]

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

LIST = "**/callbacks/sessions?*"


async def made(url: str, **body: Any) -> str:
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=PATIENCE) as http:
        answer = await http.post("/callbacks/sessions", json=body)
        answer.raise_for_status()
        session: str = answer.json()["session_id"]
        return session


async def test_a_session_is_made_with_guidance_read_tested_changed_and_deleted(
    tab: Tab, running_callboard: RunningCallboard, run: str
) -> None:
    page, url = tab.page, running_callboard.url
    await open_console(tab, url, "sessions/new")
    for method in ("WebSocket", "Server-sent events", "Polling", "Webhook"):
        assert "Costs:" in await page.inner_text(f".method-card:has-text('{method}')")
    await page.check(".method-card:has-text('Server-sent events') input")
    await page.check("input[name=type-progress]")
    assert "I need to analyze" in (await page.text_content(".type-card:has([name=type-thinking]) pre") or "")
    await page.fill("input[name=name]", f"Session {run}")
    await page.fill("input[name=subjects]", f"job.{run}.>, session.>")
    await page.fill("input[name=max_rate]", "5000")
    await page.click("text=Make the session")
    await page.wait_for_selector(".field:has(input[name=max_rate]) .field-fault:not([hidden])")
    assert await page.evaluate("document.activeElement.name") == "max_rate"
    await page.fill("input[name=max_rate]", "")
    assert await serious(page) == []
    await page.click("text=Make the session")

    await page.wait_for_selector(f"h2:has-text('Session {run}')")
    await page.wait_for_selector("[data-field=events] >> text=progress")
    assert "default" in await page.inner_text("[data-field=filter]")
    session = (await page.evaluate("location.pathname")).rsplit("/", 1)[1]
    async with (
        httpx.AsyncClient(base_url=url, trust_env=False, timeout=None) as http,
        http.stream("GET", f"/callbacks/sessions/{session}/sse") as stream,
    ):
        assert stream.status_code == 200
        await page.wait_for_selector("[data-column=transport] >> text=Server-sent events")
        await page.wait_for_selector("[data-column=state] >> text=Live")
    await publish(url, f"job.{run}.progress", {"progress": 0.25, "message": "halfway there"})
    await page.wait_for_selector(".latest-rows >> text=halfway there")
    assert await serious(page) == []

    await page.click("button:has-text('Test')")
    await page.click("text=Send the test event")
    await page.wait_for_selector(".test-answer >> text=Published")
    await page.keyboard.press("Escape")
    await page.wait_for_selector(f".latest-row:has-text('session.{session}.progress')")
    await page.click("button:has-text('Change')")
    await page.wait_for_selector("dialog .type-card:has(input[name=type-progress]:checked) >> text=How far a task is")
    await page.fill("dialog input[name=filter]", "data.progress >")
    await page.click("dialog >> text=Save")
    await page.wait_for_selector("dialog .field-fault:not([hidden]), dialog .form-fault:not([hidden])")
    await page.fill("dialog input[name=filter]", "data.progress > 0.5")
    await page.click("dialog >> text=Save")
    await page.wait_for_selector("[data-field=filter] >> text=data.progress > 0.5")
    await page.click("button:has-text('Delete')")
    await page.click("dialog >> text=Delete >> nth=-1")
    await page.wait_for_selector("h2:has-text('Sessions')")

    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=PATIENCE) as http:
        assert (await http.get(f"/callbacks/sessions/{session}")).status_code == 404
    assert [each for each in tab.complaints if "422" not in each] == []


async def test_sessions_are_searched_and_the_search_is_in_the_address(
    tab: Tab, running_callboard: RunningCallboard, run: str
) -> None:
    session = await made(running_callboard.url, name=f"Findable {run}", delivery_method="polling")
    await made(running_callboard.url, name=f"Other {run}", delivery_method="sse")
    await open_console(tab, running_callboard.url, "sessions")
    await tab.page.wait_for_selector(f"text=Other {run}")
    own = tab.page.locator("#sessions tbody tr", has_text="This page")
    await own.wait_for()
    assert "Console" in await own.inner_text()

    await tab.page.fill("input[name=q]", run)
    await tab.page.select_option("select[name=delivery_method]", "polling")
    await expect(tab.page.locator("#sessions tbody tr")).to_have_count(1)

    assert f"q={run}" in tab.page.url and "delivery_method=polling" in tab.page.url
    await tab.page.reload()
    await expect(tab.page.locator("#sessions tbody tr")).to_have_count(1)
    assert await serious(tab.page) == []
    await tab.page.click(f"text=Findable {run}")
    await tab.page.wait_for_selector("#sessions .settings-list")
    assert tab.page.url.endswith(session)
    await tab.page.go_back()
    await expect(tab.page.locator("#sessions tbody tr")).to_have_count(1)


async def test_the_list_says_that_it_loads_that_nothing_fits_that_it_may_not_that_it_failed_and_that_it_is_offline(
    tab: Tab, running_callboard: RunningCallboard, run: str
) -> None:
    gate = asyncio.Event()
    wish: dict[str, Any] = {}

    async def answer(route: Route) -> None:
        await gate.wait()
        if wish.get("abort"):
            await route.abort()
        elif "status" in wish:
            body = f'{{"code":"x","detail":"{wish["detail"]}","status":{wish["status"]}}}'
            await route.fulfill(status=wish["status"], body=body, content_type="application/problem+json")
        else:
            await route.continue_()

    await tab.page.route(LIST, answer)
    await open_console(tab, running_callboard.url, f"sessions?q=nothing-{run}")
    await tab.page.wait_for_selector("#sessions .state[data-kind=loading]")
    assert await serious(tab.page) == []
    gate.set()
    await tab.page.wait_for_selector("#sessions .state[data-kind=empty] >> text=No session like that")
    for change, kind in (
        ({"status": 403, "detail": "not for you"}, "denied"),
        ({"status": 503, "detail": "the store is away"}, "failed"),
        ({"abort": True}, "offline"),
    ):
        wish.clear()
        wish.update(change)
        # The page reads again when it comes into view.
        await tab.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        await tab.page.wait_for_selector(f"#sessions .state[data-kind={kind}]")
        assert await serious(tab.page) == [], kind
    # The list is read by itself, too, so the network is away until somebody has tried again.
    async with tab.page.expect_request(LIST):
        await tab.page.click("text=Try again")
    wish.clear()
    await tab.page.wait_for_selector("#sessions .state[data-kind=empty]")


async def test_a_session_that_is_not_there_is_said_to_be_missing(tab: Tab, running_callboard: RunningCallboard) -> None:
    await open_console(tab, running_callboard.url, "sessions/sess_000000000000000000000000")

    await tab.page.wait_for_selector("#sessions .state[data-kind=missing]")
    assert await serious(tab.page) == []


async def test_the_stylesheets_of_other_places_leave_a_session_s_page_as_it_is(
    tab: Tab, running_callboard: RunningCallboard, run: str
) -> None:
    await made(running_callboard.url, name=f"Plain {run}")
    await open_console(tab, running_callboard.url, "renders")
    await tab.page.wait_for_selector("#render")

    await tab.page.click("nav >> text=Sessions")
    await tab.page.click(f"text=Plain {run}")

    await tab.page.wait_for_selector("#sessions .settings-list")
    # The drawer of a render has the class name of a session's settings.
    assert await tab.page.evaluate("[...document.styleSheets].some(({ href }) => href?.endsWith('octane.css'))")
    assert await tab.page.evaluate("getComputedStyle(document.querySelector('.settings')).position") == "static"
    await tab.page.click("button[aria-label=Test]", trial=True)


@pytest.mark.parametrize("width", [1440, 1024, 390])
async def test_no_view_of_a_session_reaches_beyond_the_screen(
    tab: Tab, running_callboard: RunningCallboard, run: str, width: int
) -> None:
    session = await made(running_callboard.url, name=f"A rather long name for a session of run {run}")
    await tab.page.set_viewport_size({"width": width, "height": 844})
    for place, there in (("sessions/new", ".type-card"), (f"sessions/{session}", ".settings-list")):
        await open_console(tab, running_callboard.url, place)
        await tab.page.wait_for_selector(there)
        assert await tab.page.evaluate("document.documentElement.scrollWidth") <= width, place
        assert await tab.page.evaluate("(main => main.scrollWidth <= main.clientWidth)(document.querySelector('main'))")
        if place == "sessions/new":
            # The bar with the button lies within what is seen, whatever is below it.
            below = "document.querySelector('main').getBoundingClientRect().bottom"
            assert await tab.page.evaluate(
                f"document.querySelector('.submit-bar .primary').getBoundingClientRect().bottom <= {below}"
            )


async def test_a_filter_that_is_being_typed_is_no_filter_yet(tab: Tab, running_callboard: RunningCallboard) -> None:
    await open_console(tab, running_callboard.url, "sessions")

    told = await tab.page.evaluate(
        """async () => {
          const { filterBar } = await import("/console/parts/filters.js");
          const told = [];
          const bar = filterBar([{ name: "q", label: "Search" }, { name: "r", label: "Other" }], (values) => told.push(values));
          document.body.append(bar.element);
          const type = (text) => {
            bar.field("q").focus();
            bar.field("q").value = text;
            bar.field("q").dispatchEvent(new Event("input", { bubbles: true }));
          };
          type("a");
          const typing = bar.values;
          bar.set({ q: "", r: "b" });
          bar.flush();
          return [typing, told, bar.values];
        }"""
    )

    assert told == [{"q": "", "r": ""}, [{"q": "a", "r": "b"}], {"q": "a", "r": "b"}]
