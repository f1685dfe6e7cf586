"""Tests of the console's alerts and rules: an alert's page with its history, snoozes, an editor with mistakes, and trials."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Route, expect

from tests.axe import serious
from tests.browser.conftest import Tab, Wire
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


async def resolve_alerts(url: str) -> None:
    """Resolves all alerts that fire."""
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=PATIENCE) as http:

        async def resolved() -> bool:
            firing = (await http.get("/alerts?state=firing")).raise_for_status().json()["alerts"]
            for alert in firing:
                await http.post(f"/alerts/{alert['id']}/resolve", json={})
            return not firing

        await eventually(resolved)


async def test_an_alert_has_a_page_that_says_why_it_fired_and_what_was_done(
    tab: Tab, running_callboard: RunningCallboard, api: httpx.AsyncClient, run: str
) -> None:
    alert = await fired(api, run)
    await open_console(tab, running_callboard.url, "alerts")
    await tab.page.fill("#alerts input[name=q]", run)
    await expect(tab.page.locator(".alert")).to_have_count(1)

    await tab.page.click(f".alert .title >> text=Room {run} is hot")
    await tab.page.wait_for_selector(".alert-page:visible")
    assert alert["id"] in await tab.page.evaluate("decodeURIComponent(location.pathname)")
    await expect(tab.page.locator(".of-rule")).to_contain_text("data.celsius > 80")
    why = await tab.page.inner_text("section[aria-label='Why it fired']")
    link = tab.page.locator("section[aria-label=Runbook] a")
    assert await link.get_attribute("href") == "https://example.com/hot"
    assert await tab.page.locator(".alert-page a", has_text="Runbook").count() == 1
    assert f"metric.{run}.temperature" in why and "91 degrees" in await tab.page.inner_text(".do")

    await tab.page.fill(".do input", "fan ordered")
    await tab.page.click("button[data-action=acknowledge]")
    await expect(tab.page.locator(".steps li")).to_have_count(2)
    assert "“fan ordered”" in await tab.page.inner_text(".steps")
    await tab.page.click("button[data-action=snooze-until]")
    await tab.page.click("dialog.dialog >> text=10 minutes")
    await expect(tab.page.locator(".steps li").first).to_contain_text("Snoozed")
    await tab.page.click("button[data-action=unsnooze]")
    await expect(tab.page.locator(".steps li").first).to_contain_text("Snooze ended, fires again by")
    await tab.page.click("button[data-action=dismiss]")
    await expect(tab.page.locator(".steps li").first).to_contain_text("Dismissed")
    await tab.page.click("button[data-action=resolve]")
    await expect(tab.page.locator(".do")).to_contain_text("nothing is left to do")

    shown = (await api.get(f"/alerts/{alert['id']}")).json()
    assert [step["what"] for step in shown["history"]] == [
        *("fired", "acknowledged", "snoozed", "woke", "dismissed", "resolved")
    ]
    assert tab.complaints == []


async def test_an_alert_and_its_rule_are_asked_for_again_where_the_network_failed_though_the_stream_goes_on(
    tab: Tab, running_callboard: RunningCallboard, api: httpx.AsyncClient, run: str
) -> None:
    alert = await fired(api, run)
    failed: list[str] = []

    async def fail(route: Route) -> None:
        failed.append(route.request.url)
        await route.abort("failed")

    # Not the page itself.
    await tab.page.route(f"{running_callboard.url}/alerts/{alert['id']}", fail, times=2)
    await tab.page.route(f"**/rules/hot_{run}", fail, times=2)

    await open_console(tab, running_callboard.url, f"alerts/{alert['id']}")
    await tab.page.wait_for_selector(".alert-page:visible .of-rule code")

    assert len(failed) >= 2 and any("/rules/" in url for url in failed)


async def test_a_click_lands_though_a_worse_alert_fires_while_the_pointer_is_pressed(
    tab: Tab, running_callboard: RunningCallboard, api: httpx.AsyncClient, run: str
) -> None:
    alert = await fired(api, run)
    await open_console(tab, running_callboard.url, f"alerts?q={run}")
    title = tab.page.locator(".alert .title a", has_text=f"Room {run} is hot")
    await title.hover()

    await tab.page.mouse.down()
    await fired(api, f"{run}_2")
    await tab.until("rule => [...callboard.store.alerts.values()].some(each => each.rule === rule)", f"hot_{run}_2")
    await tab.until("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))")
    assert await tab.page.locator(".alert").count() == 1
    await tab.page.mouse.up()

    await tab.page.wait_for_selector(".alert-page:visible")
    assert alert["id"] in await tab.page.evaluate("decodeURIComponent(location.pathname)")


async def test_a_row_keeps_its_focus_when_another_alert_fires(
    tab: Tab, running_callboard: RunningCallboard, api: httpx.AsyncClient, run: str
) -> None:
    await fired(api, run)
    await open_console(tab, running_callboard.url, f"alerts?q={run}")
    await tab.page.locator(".alert .title a").focus()

    await fired(api, f"{run}_2")
    await expect(tab.page.locator(".alert")).to_have_count(2)

    assert await tab.page.evaluate("document.activeElement.textContent") == f"Room {run} is hot"


async def test_a_snooze_until_a_time_wants_one_that_lies_ahead(
    tab: Tab, running_callboard: RunningCallboard, api: httpx.AsyncClient, run: str
) -> None:
    alert = await fired(api, run)
    await open_console(tab, running_callboard.url, f"alerts/{alert['id']}")
    await tab.page.click("button[data-action=snooze-until]")

    await tab.page.fill("dialog.dialog input", "2001-01-01T10:00")
    await tab.page.click("dialog.dialog button.primary")
    await expect(tab.page.locator("dialog.dialog .fault-text")).to_have_text("Give a time that lies ahead.")
    ahead = await tab.page.evaluate(
        "new Date(Date.now() + 2.6e8 - new Date().getTimezoneOffset() * 6e4).toISOString().slice(0, 16)"
    )
    await tab.page.fill("dialog.dialog input", ahead)
    await tab.page.click("dialog.dialog button.primary")

    day = await tab.page.evaluate(
        "until => new Date(until).toLocaleDateString('en-GB', { day: 'numeric', month: 'short' })", ahead
    )
    await expect(tab.page.locator(".fact", has_text="Snoozed until")).to_contain_text(f"{day}, {ahead[-5:]}:00")


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


async def test_the_mistakes_in_a_rule_are_shown_at_their_lines_and_a_valid_one_is_created(
    tab: Tab, running_callboard: RunningCallboard, run: str
) -> None:
    await open_console(tab, running_callboard.url, "alerts/new-rule")
    area = tab.page.locator(".rule-editor textarea")
    text = f"name: warm_{run}\nsubjects: [metric.{run}.x]\nwhen: data.celsius >\nseverity: loud\n"

    await area.fill(text)
    await expect(tab.page.locator(".gutter .wrong")).to_have_count(2)
    assert [await each.inner_text() for each in await tab.page.locator(".gutter .wrong").all()] == ["3", "4"]
    assert await tab.page.locator("button.primary", has_text="Create").is_disabled()
    await tab.page.click(".mistakes >> text=line 4")
    assert await area.evaluate("area => area.value.slice(0, area.selectionStart).split('\\n').length") == 4
    assert await serious(tab.page) == []
    await area.fill(text.replace("celsius >", "celsius > 80").replace("loud", "info"))
    await expect(tab.page.locator(".verdict")).to_have_text(f"This is a valid rule: warm_{run}.")
    await tab.page.click("button.primary >> text=Create")
    await tab.page.wait_for_url(f"**/alerts/rules/warm_{run}")

    await expect(tab.page.locator("#alerts .badge >> nth=0")).to_have_text("in force")
    assert tab.complaints == []


async def test_a_rule_is_changed_disabled_and_deleted_and_nobody_s_newer_version_is_overwritten(
    tab: Tab, running_callboard: RunningCallboard, api: httpx.AsyncClient, run: str, wire: Callable[[str], Wire]
) -> None:
    (await api.post("/rules", json=rule_of(run))).raise_for_status()
    text = f"name: hot_{run}\nsubjects: [metric.{run}.x]\nwhen: data.celsius > "
    async with wire(running_callboard.url) as relay:
        await open_console(tab, relay.url, f"alerts/rules/hot_{run}")
        area = tab.page.locator(".rule-editor textarea")

        await area.fill(f"{text}90\n")
        await tab.page.click("button.primary >> text=Save")
        await expect(tab.page.locator(".versions li")).to_have_count(2)
        await area.fill(f"{text}95\n")
        await expect(tab.page.locator(".verdict")).to_contain_text("valid rule")
        other = await api.put(f"/rules/hot_{run}", json=rule_of(run, severity="info"))
        # A page that connects again reads the rule anew, and still changes only the version that somebody has seen.
        relay.cut()
        await tab.until("() => callboard.client.state.phase !== 'live'")
        relay.mend()
        await expect(tab.page.locator(".note-line")).to_contain_text("Version 3")
        tab.complaints.clear()
        await tab.page.click("button.primary >> text=Save")
        await tab.page.wait_for_selector(".outcome.bad >> text=Somebody else has changed it meanwhile")
        await tab.page.click("text=Load how it is now")
        await expect(area).to_have_value(json.dumps(json.loads(other.json()["text"]), indent=2, ensure_ascii=False))
        await tab.page.click("text=Disable")
        await expect(tab.page.locator("#alerts .badge >> nth=0")).to_have_text("disabled")
        await tab.page.click("text=Delete")
        await tab.page.click("dialog.dialog .primary.danger")
        await tab.page.wait_for_selector("#alerts tbody tr")

        assert (await api.get(f"/rules/hot_{run}")).status_code == 404
        assert len(tab.complaints) == 1 and "412" in tab.complaints[0], tab.complaints


async def test_a_rule_that_its_text_disables_says_so_and_how_to_enable_it(
    tab: Tab, running_callboard: RunningCallboard, api: httpx.AsyncClient, run: str
) -> None:
    (await api.post("/rules", json=rule_of(run, enabled=False))).raise_for_status()
    await open_console(tab, running_callboard.url, f"alerts/rules?q=hot_{run}&health=disabled")
    await expect(tab.page.locator("#alerts tbody .badge >> nth=0")).to_have_text("disabled")

    await tab.page.click(f"#alerts .row-link >> text=hot_{run}")

    await expect(tab.page.locator("#alerts .place-heading .badge >> nth=0")).to_have_text("disabled")
    await expect(tab.page.locator(".note-line")).to_have_text(
        "It is disabled by “enabled: false” in its text. Remove that and save to enable it."
    )
    # Neither would do anything.
    for label in ("Enable", "Disable"):
        assert await tab.page.locator("#alerts button:visible", has_text=label).count() == 0


async def test_the_list_and_a_rule_s_page_follow_what_somebody_else_changes(
    tab: Tab, running_callboard: RunningCallboard, api: httpx.AsyncClient, run: str
) -> None:
    await open_console(tab, running_callboard.url, f"alerts/rules?q=hot_{run}")
    await tab.page.wait_for_selector("#alerts >> text=No rule fits")

    (await api.post("/rules", json=rule_of(run))).raise_for_status()
    await tab.page.click(f"#alerts .row-link >> text=hot_{run}")
    await expect(tab.page.locator("#alerts .place-heading .badge >> nth=0")).to_have_text("in force")
    (await api.post(f"/rules/hot_{run}/disable")).raise_for_status()
    await expect(tab.page.locator("#alerts .place-heading .badge >> nth=0")).to_have_text("disabled")
    await expect(tab.page.locator(".versions li")).to_have_count(2)
    await tab.page.click("#alerts .place-heading >> text=Rules")
    await tab.page.fill("#alerts input[name=q]", f"hot_{run}")
    await expect(tab.page.locator("#alerts tbody tr .badge >> nth=0")).to_have_text("disabled")
    (await api.delete(f"/rules/hot_{run}")).raise_for_status()

    await tab.page.wait_for_selector("#alerts >> text=No rule fits")


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


async def test_a_rule_of_the_file_is_shown_and_cannot_be_saved_here(
    tab: Tab, running_callboard: RunningCallboard
) -> None:
    await open_console(tab, running_callboard.url, "alerts/rules")
    await tab.page.fill("#alerts input[name=q]", "run_failed")
    await tab.page.click("#alerts .row-link >> text=run_failed")

    await expect(tab.page.locator(".note-line")).to_contain_text("It stands in the rules file")
    await expect(tab.page.locator(".verdict")).to_contain_text("valid rule: run_failed")
    assert not await tab.page.locator("#alerts button.primary").is_visible()


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

    async def refuse(route: Any) -> None:
        await route.fulfill(status=503, json={"code": "broker_unavailable", "detail": "NATS is away"})

    await tab.page.route("**/rules?*", refuse)
    await tab.page.route("**/rules?*", lambda route: held.append(route), times=1)
    await open_console(tab, running_callboard.url, "alerts/rules")
    await tab.page.wait_for_selector("#alerts .state[data-kind=loading]")
    await eventually(lambda: held)
    await refuse(held.pop())
    await tab.page.wait_for_selector("#alerts .state[data-kind=failed]")
    await tab.page.route("**/rules?*", lambda route: route.abort())
    async with tab.page.expect_request("**/rules?*"):
        await tab.page.click("#alerts >> text=Try again")
    await tab.page.wait_for_selector("#alerts .state[data-kind=offline]")
    await tab.page.unroute("**/rules?*")

    # It reads them anew by itself.
    await tab.page.wait_for_selector("#alerts tbody tr")


@pytest.mark.parametrize("scheme", ["dark", "light"])
async def test_no_serious_barrier_is_found_in_the_alerts_and_the_rules(
    tab: Tab, running_callboard: RunningCallboard, api: httpx.AsyncClient, run: str, scheme: str
) -> None:
    alert = await fired(api, run)
    await tab.page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    for place, ready in (
        (f"alerts?rule=hot_{run}", ".alert"),
        (f"alerts/{alert['id']}", ".alert-page:visible .of-rule code"),
        ("alerts/rules", "#alerts tbody tr"),
        ("alerts/new-rule", ".verdict.ok"),
    ):
        await open_console(tab, running_callboard.url, place)
        await tab.page.wait_for_selector(ready)
        assert await serious(tab.page) == [], place
        await tab.page.set_viewport_size({"width": 390, "height": 844})
        assert await serious(tab.page) == [], place
        assert await tab.page.evaluate("document.documentElement.scrollWidth") <= 390, place
        await tab.page.set_viewport_size({"width": 1440, "height": 900})
    await open_console(tab, running_callboard.url, f"alerts/{alert['id']}")
    await tab.page.click("button[data-action=snooze-until]")
    assert await serious(tab.page) == []
