"""Tests of the console's place of webhooks: made, delivered, seen and resent in the browser alone; health, recovery, secret."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest
import pytest_asyncio
from playwright.async_api import expect

from tests.axe import serious
from tests.browser.conftest import Tab
from tests.browser.receiver import PostBox, serving
from tests.browser.test_console_page import RunningCallboard, open_console, publish, run
from tests.browser.test_console_sessions import made
from tests.waiting import eventually

__all__ = ["run"]

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(loop_scope="module")
async def box() -> AsyncIterator[PostBox]:
    async with serving() as box:
        yield box


async def hook(url: str, box: PostBox, run: str, **more: object) -> str:
    return await made(
        url, delivery_method="webhook", webhook_url=box.url, name=f"Hook {run}", subjects=[f"job.{run}.>"], **more
    )


async def test_a_new_user_makes_a_webhook_sees_its_delivery_and_resends_it_in_the_browser_alone(
    tab: Tab, running_callboard: RunningCallboard, box: PostBox, run: str
) -> None:
    page = tab.page
    await page.goto(running_callboard.url)
    await page.click("nav >> text=Webhooks")
    await page.click("text=New webhook")
    assert await page.is_checked(".method-card:has-text('Webhook') input")
    await page.fill("input[name=webhook_url]", box.url)
    await page.fill("input[name=name]", f"Hook {run}")
    await page.fill("input[name=subjects]", f"job.{run}.>")
    assert await serious(page) == []
    await page.click("text=Make the session")
    secret = await page.text_content("dialog pre.secret")
    await page.click("text=I have it")
    await page.wait_for_selector(".health[data-state=closed]")
    await page.click("button:has-text('Test')")
    await page.click("text=Send the test event")
    await page.wait_for_selector(".test-answer >> text=Not matched")
    assert box.ids == []
    await page.click("text=Add their subject to the session, and send again")
    await page.wait_for_selector(".test-answer >> text=HTTP 204")
    await page.keyboard.press("Escape")
    assert "session.sess_" in await page.inner_text("[data-field=subjects]")
    await page.click(".attempt[data-verdict=delivered] .attempt-row")
    await page.wait_for_selector(".attempt-detail >> text=webhook-signature: ***")
    assert await page.is_visible(".attempt-detail .timing-row >> text=In all")
    await page.click(".attempt-detail >> text=Resend")
    await page.wait_for_selector(".attempt[data-trigger=manual][data-verdict=delivered]")

    assert secret is not None and secret.startswith("whsec_")
    assert len(box.ids) == 2 and box.ids[0] == box.ids[1]
    assert secret not in await page.content()
    assert await serious(page) == []
    assert tab.complaints == []


async def test_a_failing_endpoint_says_why_and_until_when_and_its_attempts_are_searched(
    tab: Tab, running_callboard: RunningCallboard, box: PostBox, run: str
) -> None:
    box.status, box.text = 500, "the shop is shut"
    session = await hook(
        running_callboard.url,
        box,
        run,
        retry_schedule=[0.1],
        retry_attempts=2,
        breaker={"failures": 2, "pause": 600, "max_pause": 600},
    )
    await publish(running_callboard.url, f"job.{run}.line", {"text": "one"})
    await open_console(tab, running_callboard.url, f"webhooks/{session}")

    await tab.page.wait_for_selector(".health[data-state=open]")
    said = await tab.page.inner_text(".health")
    assert "HTTP 500" in said and "tried again in" in said and "failed in a row" in said
    await tab.page.click(".attempt-row >> nth=0")
    await tab.page.wait_for_selector(".attempt-detail >> text=the shop is shut")
    assert await serious(tab.page) == []
    await tab.page.fill("input[name=status]", "204")
    await tab.page.wait_for_selector(".attempts .state[data-kind=empty] >> text=No such attempt")
    await tab.page.fill("input[name=status]", "500")
    await tab.page.fill("input[name=q]", f"job.{run}.line")
    await tab.page.wait_for_selector(".attempt[data-verdict=retry]")
    await tab.page.wait_for_url("**q=job.*")
    box.status = 204
    await tab.page.click("button:has-text('Enable')")
    await tab.page.wait_for_selector(".health[data-state=closed]")
    await tab.page.click("button:has-text('Pause')")
    await tab.page.click("dialog >> text=Pause >> nth=-1")
    await tab.page.wait_for_selector(".health[data-state=disabled] >> text=paused by hand")


async def test_an_attempt_that_is_read_stays_in_its_place_while_newer_ones_come(
    tab: Tab, running_callboard: RunningCallboard, box: PostBox, run: str
) -> None:
    session = await hook(running_callboard.url, box, run, events=["line"])
    await publish(running_callboard.url, f"job.{run}.line", {"text": "the first"})
    await open_console(tab, running_callboard.url, f"webhooks/{session}")
    await tab.page.click(".attempt-row")
    await tab.page.wait_for_selector(".attempt-detail >> text=webhook-signature: ***")
    top = "document.querySelector('.attempt-row[aria-expanded=true]').getBoundingClientRect().top"
    before = await tab.page.evaluate(top)

    await publish(running_callboard.url, f"job.{run}.line", *({"n": n} for n in range(8)))

    await expect(tab.page.locator(".attempt")).to_have_count(9)
    assert abs(await tab.page.evaluate(top) - before) < 2
    assert await tab.page.is_visible(".attempt-detail:not([hidden])")


async def test_a_stretch_is_replayed_what_failed_is_recovered_and_a_secret_rotated(
    tab: Tab, running_callboard: RunningCallboard, box: PostBox, run: str
) -> None:
    # Of its own type only: the agent says in events of its own what becomes of a run.
    session = await hook(running_callboard.url, box, run, events=["line"])
    await publish(running_callboard.url, f"job.{run}.line", {"text": "one"}, {"text": "two"})
    await eventually(lambda: len(box.ids) == 2)
    await open_console(tab, running_callboard.url, f"webhooks/{session}")
    await tab.page.click("text=Replay a stretch …")
    await tab.page.click("dialog button[type=submit]")

    await tab.page.wait_for_selector(".recovery[data-state=done] >> text=A stretch is sent again")
    await eventually(lambda: len(box.ids) == 4)
    await tab.page.click("text=Recover since …")
    assert await serious(tab.page) == []
    await tab.page.click("dialog button[type=submit]")
    await tab.page.wait_for_selector(".recovery[data-state=done] >> text=What failed is sent again")
    await tab.page.click("text=Rotate the secret …")
    await tab.page.click("text=Make a new secret")
    assert (await tab.page.text_content("dialog pre.secret") or "").startswith("whsec_")
    await tab.page.click("text=I have it")
    await tab.page.wait_for_selector("text=1 older secret signs")


async def test_what_is_kept_is_replayed_to_a_new_endpoint_in_the_browser_alone(
    tab: Tab, running_callboard: RunningCallboard, box: PostBox, run: str
) -> None:
    page, before = tab.page, len(box.ids)
    await publish(running_callboard.url, f"job.{run}.line", *({"n": n} for n in range(5)))
    await page.goto(running_callboard.url)
    await page.click("nav >> text=Webhooks")
    await page.click("text=New webhook")
    await page.fill("input[name=webhook_url]", box.url)
    await page.fill("input[name=subjects]", f"job.{run}.line")
    await page.click("text=Make the session")
    await page.click("text=I have it")
    await page.click("text=Replay the past …")
    await page.select_option("dialog select[name=which]", "yesterday")
    yesterday = [await page.input_value(f"dialog input[name={name}]") for name in ("since", "until")]
    await page.select_option("dialog select[name=which]", "today")
    await page.wait_for_selector("dialog >> text=5 events will be sent.")
    await page.fill("dialog input[name=rate]", "0.5")
    await page.wait_for_selector("dialog >> text=5 events will be sent, in about 10 s.")
    await page.fill("dialog input[name=rate]", "5")
    await page.click("dialog button[type=submit]")

    await page.wait_for_selector(".recovery[data-state=running] >> text=of it done")
    await page.wait_for_selector(".recovery[data-state=done] >> text=5 of 5 sent")
    await eventually(lambda: len(box.ids) == before + 5)
    midnight = datetime.now().astimezone().replace(hour=0, minute=0)
    assert yesterday == [f"{day:%Y-%m-%dT%H:%M}" for day in (midnight - timedelta(days=1), midnight)]
    assert tab.complaints == []


async def test_endpoints_are_listed_with_how_they_are(
    tab: Tab, running_callboard: RunningCallboard, box: PostBox, run: str
) -> None:
    await hook(running_callboard.url, box, run)
    await open_console(tab, running_callboard.url, f"webhooks?q={run}")

    row = tab.page.locator("#webhooks tbody tr")
    await row.locator("text=Delivering").wait_for()
    assert box.url in await row.inner_text()
    assert await serious(tab.page) == []
    await row.locator("a").click()
    await tab.page.wait_for_selector(".attempts .state[data-kind=empty] >> text=Nothing was posted yet")
    assert await serious(tab.page) == []
    await tab.page.set_viewport_size({"width": 390, "height": 844})
    assert await tab.page.evaluate("(main => main.scrollWidth <= main.clientWidth)(document.querySelector('main'))")


async def test_a_session_without_an_endpoint_is_said_to_have_none(
    tab: Tab, running_callboard: RunningCallboard
) -> None:
    session = await made(running_callboard.url, delivery_method="sse")
    await open_console(tab, running_callboard.url, f"webhooks/{session}")

    await tab.page.wait_for_selector("#webhooks .state[data-kind=missing] >> text=has no endpoint")


async def test_an_attempt_list_that_fails_says_so_and_recovers(
    tab: Tab, running_callboard: RunningCallboard, box: PostBox, run: str
) -> None:
    session = await hook(running_callboard.url, box, run)
    problem = json.dumps({"code": "broker_unavailable", "detail": "the store is away", "status": 503})
    kind = "application/problem+json"
    await tab.page.route("**/attempts?*", lambda route: route.fulfill(status=503, body=problem, content_type=kind))
    await open_console(tab, running_callboard.url, f"webhooks/{session}")
    await tab.page.wait_for_selector(".attempts .state[data-kind=failed] >> text=The store is away")
    assert await serious(tab.page) == []

    # They are read by themselves, too, so the store is away until somebody has tried again.
    async with tab.page.expect_request("**/attempts?*"):
        await tab.page.click("text=Try again")
    await tab.page.unroute("**/attempts?*")
    await tab.page.wait_for_selector(".attempts .state[data-kind=empty]")
