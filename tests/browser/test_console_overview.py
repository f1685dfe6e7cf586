"""Tests of the console's overview: problems first, what goes through, and honest words where something may not be seen."""

from __future__ import annotations

import pytest
import pytest_asyncio

from tests.axe import serious
from tests.browser.conftest import Tab
from tests.browser.test_console_alerts import resolve_alerts
from tests.browser.test_console_page import RunningCallboard, open_console, publish, run
from tests.edge.auth.conftest import SecuredFactory, secured, token

__all__ = ["run", "secured"]

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def no_alerts(running_callboard: RunningCallboard) -> None:
    """Resolves the alerts that other tests have left: the overview shows the eight gravest problems."""
    await resolve_alerts(running_callboard.url)


async def test_a_run_that_failed_is_the_first_thing_to_see_and_one_click_away(
    tab: Tab, running_callboard: RunningCallboard, run: str
) -> None:
    await open_console(tab, running_callboard.url, "overview")
    failed = {"run": run, "domain": "job", "name": f"name of {run}", "status": "failed", "error": "no space left"}

    await publish(running_callboard.url, f"job.{run}.state", failed)

    row = tab.page.locator(".problems li", has_text=f"name of {run}")
    await row.wait_for()
    assert "no space left" in await row.inner_text()
    assert await row.locator("time").get_attribute("datetime")
    await row.locator("a").click()
    await tab.page.wait_for_selector("#runs")
    assert (await tab.page.evaluate("location.pathname")) == f"/console/runs/job/{run}"


async def test_a_failed_run_and_its_alert_are_one_problem_that_leads_to_the_run(
    tab: Tab, running_callboard: RunningCallboard, run: str
) -> None:
    await open_console(tab, running_callboard.url, "overview")

    await publish(running_callboard.url, f"job.{run}.completion", {"success": False, "error": "no space left"})

    await tab.until("(run) => [...callboard.store.alerts.values()].some(({ entity }) => entity === run)", run)
    await tab.until("(run) => document.querySelector('.problems').innerText.includes(run)", run)
    rows = tab.page.locator(".problems li", has_text=run)
    await tab.until(
        "() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(() => drawn(true))))"
    )
    assert await rows.count() == 1
    assert await rows.locator("a").inner_text() == "Show the run"


async def test_the_last_hour_is_plotted_and_what_is_kept_is_said(tab: Tab, running_callboard: RunningCallboard) -> None:
    await open_console(tab, running_callboard.url, "overview")

    await tab.page.wait_for_selector(".plot")
    names = await tab.page.locator(".plot .name").all_inner_texts()
    await tab.until("() => /[1-9]/.test(document.querySelector('.figures-list dd').textContent)")

    assert names == ["Events in", "Events out", "Readers", "Lag of the slowest reader"]
    # A sample is taken every ten seconds.
    await tab.until("() => document.querySelector('.plot .line').getAttribute('d').includes('L')")
    assert tab.complaints == []


async def test_a_plot_says_that_it_begins_and_tells_the_present_where_that_is_known(
    tab: Tab, running_callboard: RunningCallboard
) -> None:
    await open_console(tab, running_callboard.url, "overview")

    drawn = await tab.page.evaluate(
        """async () => {
          const { plot } = await import("/console/parts/plot.js");
          const { element, set } = plot("Readers");
          return [[[1], [[2]]], [[1, 2], [[2, 3]], 10, 7]].map(([times, values, span = 10, present = null]) => {
            set(times, values, span, present);
            return [element.querySelector("strong").textContent, element.querySelector(".early").hidden];
          });
        }"""
    )

    assert drawn == [["2", False], ["7", True]]


async def test_a_token_without_the_right_is_told_which_one_is_missing(tab: Tab, secured: SecuredFactory) -> None:
    async with secured() as edge:
        await tab.page.goto(f"{edge.url}/#token={token('alice', read=['job.>'])}")

        await tab.page.wait_for_selector(".plots .state[data-kind=denied]")

        assert "the right to operate" in await tab.page.inner_text(".plots")
        tiles = {
            await tile.get_attribute("data-tile"): await tile.inner_text()
            for tile in await tab.page.locator(".tile").all()
        }
        assert "–" in tiles["cameras"]
        tab.complaints[:] = [each for each in tab.complaints if "403" not in each]


@pytest.mark.parametrize("scheme", ["dark", "light"])
async def test_no_serious_barrier_is_found_on_the_overview_and_in_the_palette(
    tab: Tab, running_callboard: RunningCallboard, scheme: str
) -> None:
    await tab.page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    await open_console(tab, running_callboard.url, "overview")
    await tab.page.wait_for_selector(".plot")

    assert await serious(tab.page) == []
    await tab.page.keyboard.press("Control+k")
    assert await serious(tab.page) == []
    await tab.page.keyboard.press("Escape")
    await tab.page.set_viewport_size({"width": 390, "height": 844})
    await tab.page.click("nav >> text=More")
    assert await serious(tab.page) == []
