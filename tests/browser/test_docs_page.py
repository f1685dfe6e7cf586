"""The pages of documentation in a browser: the explorer asks the product with a typed token, the reference shows every type."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page

from tests.axe import serious
from tests.browser.conftest import Tab
from tests.e2e.tree import RunningCallboard, running_tree
from tests.edge.auth.conftest import SECRET, token
from tests.waiting import PATIENCE

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

# What Scalar draws is not ours to mend.
OURS = "document.querySelector('#explorer').remove()"


async def running(folder: Path, **settings: str) -> Any:
    tree = running_tree(folder, "--only", "edge", **settings)
    return tree, await asyncio.to_thread(tree.__enter__)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def secured(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningCallboard]:
    """A Callboard that asks for tokens."""
    tree, started = await running(tmp_path_factory.mktemp("secured"), JWT_SECRET=SECRET)
    yield started
    await asyncio.to_thread(tree.__exit__, None, None, None)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def open_one(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningCallboard]:
    """A Callboard without keys."""
    tree, started = await running(tmp_path_factory.mktemp("open"))
    yield started
    await asyncio.to_thread(tree.__exit__, None, None, None)


def elsewhere(page: Page, here: str) -> list[str]:
    """The requests of a page that are not to its own server."""
    found: list[str] = []
    page.on(
        "request",
        lambda request: None if request.url.startswith((here, "data:", "blob:")) else found.append(request.url),
    )
    return found


def errors(tab: Tab) -> list[str]:
    """What the page's console complained of; Scalar's own notes about documents are warnings."""
    return [each for each in tab.complaints if not each.startswith("warning: ")]


async def explorer(tab: Tab, callboard: RunningCallboard) -> None:
    await tab.page.goto(f"{callboard.url}/docs")
    await tab.page.get_by_role("heading", name="Callboard", level=1).wait_for()


async def test_the_explorer_shows_the_operations_by_tags_and_asks_nobody_else(
    tab: Tab, secured: RunningCallboard
) -> None:
    foreign = elsewhere(tab.page, secured.url)
    await explorer(tab, secured)

    for tag in ("Events", "Sessions", "Webhooks", "LangGraph"):
        await tab.page.get_by_text(tag, exact=True).first.wait_for()
    assert foreign == [] and errors(tab) == []


async def test_a_request_of_the_explorer_is_answered_with_the_token_that_was_typed_in(
    tab: Tab, secured: RunningCallboard
) -> None:
    await explorer(tab, secured)
    await tab.page.get_by_text("Sessions", exact=True).first.click()
    await tab.page.get_by_text("Read the token's principal and grants").first.click()
    await tab.page.get_by_role("button", name="Test Request (get /me)").first.click()
    dialog = tab.page.get_by_role("dialog")
    await dialog.get_by_placeholder("Token").fill(token("ada", read=["job.>"]))
    async with tab.page.expect_response("**/me") as answered:
        await dialog.get_by_role("button", name="Send").first.click()

    answer = await answered.value
    assert answer.status == 200
    assert "job.>" in await answer.text()
    # It is in memory alone.
    kept = await tab.page.evaluate(
        "JSON.stringify([Object.entries(localStorage), Object.entries(sessionStorage), document.cookie])"
    )
    assert token("ada", read=["job.>"]).split(".")[0] not in kept
    assert errors(tab) == []


async def test_the_reference_needs_a_token_and_shows_each_type_and_its_newest_event(
    tab: Tab, secured: RunningCallboard
) -> None:
    await tab.page.goto(f"{secured.url}/docs/events")
    await tab.until("() => document.querySelector('#said').textContent.includes('Type a token in')")
    await tab.page.fill("#token", token("ada", read=[">"], publish=[">"]))
    await tab.page.click("#token-form button")
    await tab.until("() => document.querySelectorAll('article[id^=type-]').length > 50")

    await tab.page.evaluate(PUBLISH, [secured.url, token("ada", publish=[">"])])
    card = tab.page.locator("[id='type-progress']")
    await card.get_by_role("button", name="Show the newest").click()
    await card.get_by_text("shown on the page").wait_for()

    await tab.page.fill("#find", "camera.recording")
    assert await tab.page.locator("article:visible").count() == 1
    assert await tab.page.locator(".contents li:visible").count() == 1


PUBLISH = """async ([url, token]) => {
  const body = JSON.stringify({ subject: "job.docs.progress", data: { progress: 0.5, message: "shown on the page" } });
  const answer = await fetch(url + "/events", { method: "POST", body, headers: { Authorization: `Bearer ${token}` } });
  if (!answer.ok) throw new Error(await answer.text());
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
async def test_the_pages_have_no_serious_fault_of_accessibility_and_fit(
    browser: Browser, secured: RunningCallboard, scheme: Any, width: int
) -> None:
    context = await browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme)
    context.set_default_timeout(PATIENCE * 1000)
    page = await context.new_page()
    await page.goto(f"{secured.url}/docs")
    await page.get_by_role("heading", name="Callboard", level=1).wait_for()
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await page.evaluate(OURS)
    assert await serious(page) == []

    await page.goto(f"{secured.url}/docs/events")
    await page.fill("#token", token("ada", read=[">"]))
    await page.click("#token-form button")
    await page.wait_for_selector("#type-progress")
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert await serious(page) == []
    await context.close()


async def test_the_console_leads_to_the_explorer(tab: Tab, open_one: RunningCallboard) -> None:
    await tab.page.goto(open_one.url)
    await tab.page.get_by_role("link", name="API", exact=True).click()

    await tab.page.get_by_role("heading", name="Callboard", level=1).wait_for()
    assert tab.page.url == f"{open_one.url}/docs"
