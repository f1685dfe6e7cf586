"""The viewport of an Octane on a phone: all of it can be reached and read, and fingers do what is said of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, CDPSession

from tests.browser.conftest import Tab
from tests.browser.test_viewport import STAGE, RunningCallboard, Sent, choose, middle, tell
from tests.waiting import PATIENCE, eventually

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

READY = "() => callboard.store.octanes.get('main')?.state?.status === 'connected'"
# What a finger has of each panel but cannot touch: beyond its right edge, where that cuts.
CUT = """() => [...document.querySelectorAll('#render button, #render select, #render a, #render .badge')].filter((each) => {
  const { left, right, width } = each.getBoundingClientRect();
  const panel = document.querySelector('#render').getBoundingClientRect();
  return width && (left < panel.left || right > panel.right);
}).map((each) => each.ariaLabel ?? each.textContent)"""


@pytest_asyncio.fixture(loop_scope="module", params=[320, 390])
async def phone(browser: Browser, request: pytest.FixtureRequest) -> AsyncIterator[Tab]:
    """A tab of a phone's size, which has no mouse."""
    context = await browser.new_context(
        viewport={"width": request.param, "height": 844}, device_scale_factor=2, has_touch=True, is_mobile=True
    )
    context.set_default_timeout(PATIENCE * 1000)
    tab = Tab(await context.new_page())
    tab.page.on("pageerror", tab.failed)
    yield tab
    await context.close()


async def open_page(phone: Tab, url: str) -> Sent:
    sent = Sent(phone)
    await sent.begin()
    await phone.page.goto(f"{url}/console/renders")
    await phone.page.wait_for_selector("#render .stage", state="attached")
    await phone.until(READY)
    await phone.until(f"() => document.querySelector('{STAGE} canvas')?.width > 64")
    await phone.page.locator(STAGE).scroll_into_view_if_needed()
    return sent


Path = tuple[tuple[float, float], tuple[float, float]]


async def move(fingers: CDPSession, *paths: Path, steps: int = 10) -> None:
    """Puts a finger on the beginning of each path, and moves them to the ends beside one another."""

    async def put(kind: str, share: float) -> None:
        points = [(a + (c - a) * share, b + (d - b) * share) for (a, b), (c, d) in paths] if kind != "touchEnd" else []
        touched = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)]
        await fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touched})

    await put("touchStart", 0)
    for step in range(1, steps + 1):
        await put("touchMove", step / steps)
        await asyncio.sleep(0.02)
    await put("touchEnd", 1)


async def test_nothing_of_the_panel_is_cut_off_and_the_page_does_not_scroll_sideways(
    phone: Tab, running_callboard: RunningCallboard
) -> None:
    await open_page(phone, running_callboard.url)

    assert await phone.page.evaluate(CUT) == []
    assert await phone.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await phone.page.locator("#render").get_by_role("button", name="Settings").tap()
    assert await phone.page.evaluate(CUT) == []
    assert not phone.complaints


async def test_nothing_is_cut_off_where_there_are_several_octanes_with_long_names(
    phone: Tab, running_callboard: RunningCallboard, entity: str
) -> None:
    device = f"zz-{entity}-studio-on-the-second-floor"
    await tell(running_callboard.url, device, "state", {"status": "connected"})

    await choose(phone, running_callboard.url, device)

    assert await phone.page.locator("#render [aria-label='Which render']").is_visible()
    assert await phone.page.evaluate(CUT) == []
    assert await phone.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def test_the_list_of_keys_opens_at_its_beginning(phone: Tab, running_callboard: RunningCallboard) -> None:
    await open_page(phone, running_callboard.url)

    await phone.page.locator("#render").get_by_role("button", name="Mouse, touch and keys").tap()

    dialog = phone.page.locator("#render dialog.help")
    await dialog.wait_for()
    assert await dialog.evaluate("(dialog) => [dialog.scrollTop, dialog.scrollHeight > dialog.clientHeight]") == [
        0,
        True,
    ]
    await dialog.locator("button").tap()
    await dialog.wait_for(state="hidden")


async def test_one_finger_orbits_two_pan_and_a_pinch_dollies(phone: Tab, running_callboard: RunningCallboard) -> None:
    sent = await open_page(phone, running_callboard.url)
    fingers = await phone.page.context.new_cdp_session(phone.page)
    x, y = await middle(phone)

    async def once(name: str, *paths: Path) -> None:
        before = len(sent.named(name))
        await move(fingers, *paths)
        await eventually(lambda: len(sent.named(name)) > before)

    await once("orbit", ((x, y), (x + 60, y)))
    assert sent.total("orbit", "dx") > 0 and abs(sent.total("orbit", "dy")) < 0.01
    await once("dolly", ((x - 20, y), (x - 70, y)), ((x + 20, y), (x + 70, y)))
    assert all(values["factor"] < 1 for values in sent.named("dolly"))
    await once("pan", ((x - 30, y), (x - 30, y - 50)), ((x + 30, y), (x + 30, y - 50)))
    assert sent.total("pan", "dy") < 0


async def test_the_picture_is_zoomed_by_visible_buttons_and_no_camera_moves(
    phone: Tab, running_callboard: RunningCallboard
) -> None:
    sent = await open_page(phone, running_callboard.url)
    scale = f"() => new DOMMatrix(getComputedStyle(document.querySelector('{STAGE} canvas')).transform).a"
    fitted = await phone.page.evaluate(scale)

    await phone.page.locator("#render").get_by_role("button", name="Zoom in").tap()
    await phone.page.locator("#render").get_by_role("button", name="Zoom in").tap()
    zoomed = await phone.page.evaluate(scale)
    await phone.page.locator("#render").get_by_role("button", name="Fit the picture").tap()

    assert zoomed == pytest.approx(fitted * 1.25**2, rel=0.01)
    assert await phone.page.evaluate(scale) == pytest.approx(fitted, abs=0.01)
    assert sent.commands == []


async def test_statistics_fit_on_the_phone(phone: Tab, running_callboard: RunningCallboard) -> None:
    await phone.page.goto(f"{running_callboard.url}/console/renders")
    await phone.page.wait_for_selector("#render .stage", state="attached")
    await phone.until(READY)

    await phone.page.locator("#render").get_by_role("button", name="GPU statistics").tap()
    dialog = phone.page.locator("dialog.reports")
    await dialog.get_by_role("table", name="Textures").wait_for()

    # A wide table scrolls in itself.
    assert await dialog.evaluate("(dialog) => dialog.scrollWidth <= dialog.clientWidth")
    assert await phone.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await dialog.get_by_role("button", name="Close").tap()
    await dialog.wait_for(state="hidden")
