"""Tests of the console's alerts and rules: an alert's page with its history, snoozes, an editor with mistakes, and trials."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import expect

from tests.browser.conftest import Tab
from tests.browser.test_console_page import RunningCallboard, open_console, publish, run
from tests.edge.auth.conftest import SecuredFactory, secured, token
from tests.waiting import PATIENCE, eventually

__all__ = ["run", "secured"]

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

expect.set_options(timeout=PATIENCE * 1000)


def rule_of(run: str, **fields: Any) -> dict[str, Any]:
    return {
        "name": f"hot_{run}",
        "subjects": [f"metric.{run}.temperature"],
        "when": "data.celsius > 80",
        "severity": "critical",
        "title": f"Room {run} is hot",
        "message": "{data.celsius} degrees",
        "actions": [{"label": "Runbook", "url": "https://example.com/hot"}],
        **fields,
    }


@pytest_asyncio.fixture(loop_scope="module")
async def api(running_callboard: RunningCallboard) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=running_callboard.url, trust_env=False, timeout=PATIENCE) as http:
        yield http


async def fired(api: httpx.AsyncClient, run: str) -> dict[str, Any]:
    """An alert of a rule of its own."""
    (await api.post("/rules", json=rule_of(run))).raise_for_status()

    async def raised() -> dict[str, Any] | None:
        await publish(str(api.base_url), f"metric.{run}.temperature", {"celsius": 91})
        found: list[dict[str, Any]] = (await api.get(f"/alerts?rule=hot_{run}")).json()["alerts"]
        return found[0] if found else None

    alert: dict[str, Any] = await eventually(raised)
    return alert


async def test_a_filter_stands_in_the_address_and_shows_resolved_ones_of_before(
    tab: Tab, running_callboard: RunningCallboard, api: httpx.AsyncClient, run: str
) -> None:
    alert = await fired(api, run)
    (await api.post(f"/alerts/{alert['id']}/resolve", json={})).raise_for_status()
    await open_console(tab, running_callboard.url, f"alerts?state=resolved&rule=hot_{run}")

    await expect(tab.page.locator(".alert")).to_have_count(1)
    await tab.page.select_option("#alerts select[name=state]", "firing")
    await tab.page.wait_for_selector("#alerts >> text=No alert fits")

    assert "state=firing" in tab.page.url


async def test_a_rule_is_tried_on_events_and_on_what_is_stored(
    tab: Tab, running_callboard: RunningCallboard, api: httpx.AsyncClient, run: str
) -> None:
    await publish(running_callboard.url, f"metric.{run}.temperature", {"celsius": 91})
    await open_console(tab, running_callboard.url, "alerts/new-rule")
    text = f'name: hot_{run}\nsubjects: [metric.{run}.temperature]\nwhen: data.celsius > 80\ntitle: "{run} is hot"\n'
    await tab.page.fill(".rule-editor textarea", text)

    trial = tab.page.locator("section[aria-label='Try it on events']")
    await trial.locator("textarea").fill(
        json.dumps([{"subject": f"metric.{run}.temperature", "data": {"celsius": 99}}])
    )
    await trial.locator("button", has_text="Try").click()
    await trial.locator(".outcome >> text=1 would fire").wait_for()
    await trial.locator("textarea").fill("no json")
    await trial.locator("button", has_text="Try").click()
    await trial.locator(".outcome.bad >> text=The events are not JSON").wait_for()
    past = tab.page.locator("section.backtest")
    await past.locator("select").select_option("1h")
    await past.locator("button", has_text="Back-test").click()
    await past.locator(".outcome >> text=1 would have fired").wait_for()

    assert f"{run} is hot" in await past.locator("tbody").inner_text()
    assert (await api.get(f"/rules/hot_{run}")).status_code == 404


async def test_a_back_test_shows_how_far_it_is_and_can_be_stopped(
    tab: Tab, running_callboard: RunningCallboard
) -> None:
    await tab.page.route(
        "**/rules/backtests/*",
        lambda route: route.fulfill(json=running) if route.request.method == "GET" else route.fallback(),
    )
    await open_console(tab, running_callboard.url, "alerts/back-test")
    answer = asyncio.ensure_future(tab.page.wait_for_event("response", lambda each: each.url.endswith("/backtests")))
    half = await tab.page.evaluate("new Date(callboard.client.clock.now() - 43_200_000).toISOString()")
    running = {"state": "running", "events": 5, "alerts": 2, "first": half, "last": half}

    await tab.page.click("section.backtest button >> text=Back-test")
    assert (await (await answer).json())["id"]
    await expect(tab.page.locator("section.backtest .meter")).to_have_attribute("aria-valuenow", "50")
    assert "Reads 5 events, 2 alerts so far" in await tab.page.inner_text("section.backtest")
    await tab.page.click("section.backtest >> text=Stop")

    await tab.page.wait_for_selector("section.backtest .tiles")


async def test_a_token_without_the_right_is_told_which_one_is_missing(tab: Tab, secured: SecuredFactory) -> None:
    async with secured() as edge:
        await tab.page.goto(f"{edge.url}/console/alerts/rules#token={token('alice', read=['alert.>'])}")
        await tab.page.wait_for_selector("#alerts .state[data-kind=denied]")
        assert "the right to operate" in await tab.page.inner_text("#alerts")
        await tab.page.click("#alerts .tab >> text=Alerts")
        await tab.page.wait_for_selector("#alerts .filters select[name=severity]")
        await tab.page.goto(f"{edge.url}/console/alerts/none.such")

        await tab.page.wait_for_selector("#alerts .state[data-kind=missing]")


async def test_rules_that_load_fail_or_cannot_be_reached_say_so(tab: Tab, running_callboard: RunningCallboard) -> None:
    held: list[Any] = []
    await tab.page.route("**/rules?*", lambda route: held.append(route))
    await open_console(tab, running_callboard.url, "alerts/rules")
    await tab.page.wait_for_selector("#alerts .state[data-kind=loading]")
    await eventually(lambda: held)
    for route in held:
        await route.fulfill(status=503, json={"code": "broker_unavailable", "detail": "NATS is away"})
    await tab.page.wait_for_selector("#alerts .state[data-kind=failed]")
    await tab.page.unroute("**/rules?*")
    await tab.page.route("**/rules?*", lambda route: route.abort())
    await tab.page.click("#alerts >> text=Try again")
    await tab.page.wait_for_selector("#alerts .state[data-kind=offline]")
    await tab.page.unroute("**/rules?*")
    await tab.page.click("#alerts >> text=Try again")

    await tab.page.wait_for_selector("#alerts tbody tr")
