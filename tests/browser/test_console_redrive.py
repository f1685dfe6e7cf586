"""Tests of the way of real dead letters through the page: a webhook fails for good, is mended, and its events are sent again."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.browser.conftest import Tab
from tests.browser.receiver import PostBox, serving
from tests.browser.test_console_alerts import resolve_alerts
from tests.browser.test_console_deadletters import ROWS, until_rows
from tests.browser.test_console_page import RunningCallboard, publish, run
from tests.browser.test_console_sessions import made
from tests.waiting import PATIENCE, eventually

__all__ = ["run"]

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

# A receiver that fails for good: tried twice, and never taken for so broken that it is not tried at all.
FAILING = {"retry_schedule": [0.05], "retry_attempts": 1, "breaker": {"failures": 100, "min_attempts": 1000}}


@pytest_asyncio.fixture(loop_scope="module")
async def box() -> AsyncIterator[PostBox]:
    async with serving() as box:
        yield box


async def test_letters_of_a_webhook_that_failed_for_good_are_tried_sent_again_at_a_rate_and_the_rest_deleted(
    tab: Tab, running_callboard: RunningCallboard, box: PostBox, run: str
) -> None:
    page = tab.page
    box.status, box.text = 500, "the shop is shut"
    spec = {"delivery_method": "webhook", "webhook_url": box.url, "subjects": [f"job.{run}.line"]}
    session = await made(running_callboard.url, **spec, **FAILING)
    await publish(running_callboard.url, f"job.{run}.line", *({"n": n} for n in range(6)))
    await eventually(lambda: len(box.ids) == 12)
    # The page shows the eight gravest problems.
    await resolve_alerts(running_callboard.url)
    await page.goto(running_callboard.url)
    # What is wrong leads to it.
    await page.click(".problems li:has-text('deliveries were given up') a")
    await page.fill("#deadletters input[name=name]", session)
    await page.wait_for_url(f"**name={session}*")
    await until_rows(tab, 6)
    await page.click(f"{ROWS} a >> nth=0")
    await page.wait_for_selector(".why-card >> text=HTTP 500")
    why = await page.inner_text(".why-card")
    await page.go_back()
    await until_rows(tab, 6)

    box.status, box.text, tried = 204, "", len(box.ids)
    await page.click("#deadletters >> text=Send all again…")
    await page.click("dialog .try")
    await page.wait_for_selector("dialog >> text=6 of 6 would be sent again.")
    only_tried = len(box.ids) == tried
    await page.fill("dialog input[name=rate]", "2")
    await page.fill("dialog input[name=limit]", "4")
    await page.click("dialog .send")
    going = await (
        await page.wait_for_selector(".jobs li[data-state=running] .said-of >> text=/[1-3] of /")
    ).inner_text()
    await page.wait_for_selector(".jobs li[data-state=done] >> text=4 of 4 sent again.")
    await until_rows(tab, 2)
    await page.click("#deadletters >> text=Delete all…")
    await page.wait_for_selector("dialog >> text=2 dead letters will be deleted.")
    await page.fill("dialog input[name=confirmation]", "delete")
    await page.click("dialog .danger")
    await page.wait_for_selector("#deadletters >> text=No dead letter matches")

    assert "All attempts failed" in why and only_tried
    assert re.search(r"of 4 · at most 2/s", going), going
    await eventually(lambda: len(box.ids) == tried + 4)
    assert len(set(box.ids[tried:])) == 4 and set(box.ids[tried:]) <= set(box.ids[:tried])
    assert tab.complaints == []


async def letters_of(url: str, session: str) -> list[dict[str, Any]]:
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=PATIENCE) as http:
        found: list[dict[str, Any]] = (await http.get(f"/deadletters?name={session}")).json()["deadletters"]
        return found


async def test_an_event_that_its_receiver_refuses_again_is_a_dead_letter_again_and_says_how_often_it_was_sent(
    tab: Tab, running_callboard: RunningCallboard, box: PostBox, run: str
) -> None:
    page, url = tab.page, running_callboard.url
    box.status, box.text = 500, "it cannot read this event"
    spec = {"delivery_method": "webhook", "webhook_url": box.url, "subjects": [f"job.{run}.line"]}
    session = await made(url, **spec, **FAILING)
    await publish(url, f"job.{run}.line", {"n": 1})
    (first,) = await eventually(lambda: letters_of(url, session))
    await page.goto(f"{url}/console/deadletters?name={session}")
    await until_rows(tab, 1)
    tried = len(box.ids)

    await page.click("#deadletters >> text=Send all again…")
    await page.click("dialog .send")
    await page.wait_for_selector(".jobs li[data-state=done] >> text=1 of 1 sent again.")

    async def came_back() -> dict[str, Any] | None:
        found = await letters_of(url, session)
        return found[0] if len(found) == 1 and found[0]["id"] != first["id"] else None

    # A new dead letter of the same event, in the place of the first.
    again = await eventually(came_back)
    assert (again["event_id"], again["reason"], again["redrives"]) == (first["event_id"], "exhausted", 1)
    assert first["redrives"] == 0 and set(box.ids[tried:]) and len(box.ids) == tried + 2
    await page.click(f"{ROWS}[data-key='{again['id']}'] a")
    await page.wait_for_selector(".why-card >> text=it cannot read this event")
    assert "sent again 1×" in await page.inner_text("#deadletters .place-heading")
    assert "once, without success" in await page.inner_text(".facts-card")
    assert tab.complaints == []


async def test_the_trial_of_a_redrive_leads_to_the_endpoint_whose_breaker_is_open(
    tab: Tab, running_callboard: RunningCallboard, box: PostBox, run: str
) -> None:
    page, url = tab.page, running_callboard.url
    box.status, box.text = 500, "down"
    spec = {"delivery_method": "webhook", "webhook_url": box.url, "subjects": [f"job.{run}.line"]}
    breaker = {"failures": 2, "pause": 600}
    session = await made(url, **spec, retry_schedule=[0.05], retry_attempts=1, breaker=breaker)
    await publish(url, f"job.{run}.line", {"n": 1})
    await eventually(lambda: letters_of(url, session))
    await page.goto(f"{url}/console/deadletters?name={session}")
    await until_rows(tab, 1)

    await page.click("#deadletters >> text=Send all again…")
    await page.click("dialog .try")
    await page.click(f"dialog .said a >> text={session}")

    await page.wait_for_url(f"**/console/webhooks/{session}")
    await page.wait_for_selector("dialog.dialog", state="detached")
    await page.wait_for_selector("#webhooks .place-heading")
