"""Tests of the console's actors: what each is about, commands by forms of their schemas, log levels, and honest words else."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Route, expect

from tests.axe import serious
from tests.browser.conftest import Tab
from tests.browser.test_console_page import RunningCallboard, open_console
from tests.edge.auth.conftest import SecuredFactory, secured, token
from tests.waiting import PATIENCE, eventually

__all__ = ["secured"]

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

# The list, and not the page, whose path ends alike.
ACTORS = re.compile(r"//[^/]+/actors$")

expect.set_options(timeout=PATIENCE * 1000)


async def test_every_actor_is_listed_with_its_figures_and_leads_to_its_page(
    tab: Tab, running_callboard: RunningCallboard
) -> None:
    await open_console(tab, running_callboard.url, "actors")
    row = tab.page.locator("tr[data-key]", has_text="camera")
    await row.wait_for()

    names = set(await tab.page.locator("#actors .row-link").all_inner_texts())
    await tab.page.fill("#actors input[name=q]", "camera.state")
    await expect(tab.page.locator("#actors tbody tr")).to_have_count(1)
    await row.locator("a").click()
    await tab.page.wait_for_selector(".actor-page:visible >> text=camera.state")

    assert {"camera", "octane", "agent", "alerts", "metrics"} <= names
    assert await tab.page.evaluate("location.pathname") == "/console/actors/camera/main"
    assert await tab.page.inner_text("#actors .badges .badge >> nth=0") != ""
    assert re.search(r"Version\s+\d+\.\d+", await tab.page.inner_text(".fact-list"))
    await tab.page.go_back()
    await tab.page.wait_for_selector("#actors tbody tr")
    assert tab.complaints == []


async def test_a_command_is_given_by_a_form_that_refuses_what_does_not_fit_and_shows_the_answer(
    tab: Tab, running_callboard: RunningCallboard
) -> None:
    await open_console(tab, running_callboard.url, "actors/octane/main?command=pick")
    card = tab.page.locator("[data-command=pick]")
    await card.locator("form").wait_for()

    await card.locator("button", has_text="Give pick").click()
    missing = await card.locator(".fault-text").all_inner_texts()
    await card.locator("label", has_text="x").first.click()
    await tab.page.keyboard.type("1.5")
    await tab.page.keyboard.press("Tab")
    await expect(card.locator(".fault-text").first).to_have_text("x must be a whole number")
    await tab.page.keyboard.type("7")
    await card.locator("select").select_option(label="object")
    await card.locator("input").first.fill("70000")
    await card.locator("button", has_text="Give pick").click()
    await expect(card.locator(".fault-text").first).to_have_text("x must be 0 to 65536")
    await card.locator("input").first.fill("5")
    await card.locator("button", has_text="Give pick").click()
    await card.locator(".outcome").wait_for()

    assert "x must be given" in missing and "y must be given" in missing
    assert await card.locator(".about code").all_inner_texts() == ["focus", "white_point"]
    status = await tab.page.locator("[data-command=device_statistics] summary").count()
    assert status == 1


async def test_an_answer_and_a_refusal_are_told_apart(tab: Tab, running_callboard: RunningCallboard) -> None:
    await open_console(tab, running_callboard.url, "actors/alerts/main?command=validate")
    card = tab.page.locator("[data-command=validate]")
    await card.locator("input").fill("name: nonsense")
    await card.locator("button", has_text="Give validate").click()
    await card.locator(".outcome.ok").wait_for()
    answer = await card.locator("pre.json").inner_text()
    refusing = tab.page.locator("[data-command=backtested]")
    await refusing.locator("summary").click()
    await refusing.locator("input").fill("none such")
    await refusing.locator("button", has_text="Give backtested").click()
    await refusing.locator(".outcome.bad").wait_for()

    assert '"mistakes"' in answer
    assert "The actor refuses" in await refusing.inner_text()
    assert "No such back-test." in await refusing.inner_text()
    assert "command=backtested" in tab.page.url


async def test_a_log_level_is_changed_while_the_actor_runs(tab: Tab, running_callboard: RunningCallboard) -> None:
    await open_console(tab, running_callboard.url, "actors/metrics/main")
    level = tab.page.locator("section.level")
    await level.locator("dd").first.wait_for()

    await level.locator("input").fill("actors.metrics")
    await level.locator("select").select_option("debug")
    await level.locator("button").click()
    await expect(level.locator("dl")).to_contain_text("actors.metrics")
    await level.locator("input").fill("elsewhere")
    await level.locator("button").click()

    await expect(level.locator(".fault-text")).to_contain_text("a logger one of ours", ignore_case=True)
    await tab.page.reload()
    await expect(level.locator("dl")).to_contain_text("actors.metrics")


async def test_a_token_that_may_command_nothing_is_told_which_right_is_missing(
    tab: Tab, secured: SecuredFactory
) -> None:
    async with secured() as edge:
        await tab.page.goto(f"{edge.url}/console/actors#token={token('alice', read=['>'])}")
        await tab.page.wait_for_selector("#actors .state[data-kind=denied]")

        assert "the right to command an actor, or operate" in await tab.page.inner_text("#actors")
        assert await serious(tab.page) == []


async def test_an_answer_that_fails_says_so_with_a_way_to_try_again_and_one_that_waits_says_that(
    tab: Tab, running_callboard: RunningCallboard
) -> None:
    held: list[Route] = []

    async def refuse(route: Route) -> None:
        await route.fulfill(status=503, json={"code": "broker_unavailable", "detail": "NATS is away"})

    async def hold(route: Route) -> None:
        held.append(route)

    await tab.page.route(ACTORS, refuse)
    await tab.page.route(ACTORS, hold, times=1)
    await open_console(tab, running_callboard.url, "actors")
    await tab.page.wait_for_selector("#actors .state[data-kind=loading]")
    await eventually(lambda: held)
    await refuse(held.pop())
    await tab.page.wait_for_selector("#actors .state[data-kind=failed] >> text=NATS is away")
    assert await serious(tab.page) == []
    # The list is read by itself, too, so the server refuses until somebody has tried again.
    async with tab.page.expect_request(ACTORS):
        await tab.page.click("#actors >> text=Try again")
    await tab.page.unroute(ACTORS)
    await tab.page.wait_for_selector("#actors tbody tr")
    await tab.page.route(ACTORS, lambda route: route.abort())

    await tab.page.wait_for_selector("#actors .badge:visible >> text=not live")
    assert await tab.page.locator("#actors tbody tr").count() > 3


async def test_there_may_be_no_actor_and_none_of_a_name(tab: Tab, running_callboard: RunningCallboard) -> None:
    await tab.page.route(ACTORS, lambda route: route.fulfill(json={"actors": []}))
    await open_console(tab, running_callboard.url, "actors")
    await tab.page.wait_for_selector("#actors .state[data-kind=empty]")
    await tab.page.unroute(ACTORS)

    await open_console(tab, running_callboard.url, "actors/nobody/main")

    await tab.page.wait_for_selector("#actors .state[data-kind=missing]")


@pytest.mark.parametrize("scheme", ["dark", "light"])
async def test_no_serious_barrier_is_found_in_the_list_and_on_an_actor_s_page(
    tab: Tab, running_callboard: RunningCallboard, scheme: str
) -> None:
    await tab.page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    await open_console(tab, running_callboard.url, "actors")
    await tab.page.wait_for_selector("#actors tbody tr")
    assert await serious(tab.page) == []
    await open_console(tab, running_callboard.url, "actors/octane/main?command=set_region")
    await tab.page.wait_for_selector("[data-command=set_region] form")
    await tab.page.click("[data-command=set_region] >> text=Give set_region")
    assert await serious(tab.page) == []
    await tab.page.set_viewport_size({"width": 390, "height": 844})
    assert await serious(tab.page) == []
    assert await tab.page.evaluate("document.documentElement.scrollWidth") <= 390
