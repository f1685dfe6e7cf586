"""Tests of the way of real dead letters through the page: a webhook fails for good, is mended, and its events are sent again."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.browser.conftest import Tab
from tests.browser.receiver import PostBox, serving
from tests.browser.test_console_deadletters import ROWS, until_rows
from tests.browser.test_console_page import RunningCallboard, publish, run
from tests.browser.test_console_sessions import made
from tests.waiting import eventually

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
