"""Tests of the console's frame: places with addresses, back and forward, the palette, sign-in, and an honest connection."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.async_api import Route

from edge.http.system import CONSOLE
from tests.browser.conftest import LATENESS, Tab, Wire
from tests.browser.standin import Standin
from tests.browser.test_console_page import RunningCallboard, open_console, publish, run
from tests.waiting import eventually

__all__ = ["run"]

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

PLACES = re.findall(r'name: "(\w+)"', (CONSOLE / "places.js").read_text())
# The first view, compressed, as the server sends it.
FIRST_VIEW = 200_000
# From the moment at which the server is gone, in ms; and what a busy machine adds.
OFFLINE_WITHIN, BUSY = 3_000, 3_000
# Waits until the page says it.
OFFLINE = """() => {
  const phase = document.querySelector(".pill .phase");
  window.said = new Promise((resolve) => {
    const watch = new MutationObserver(() => phase.textContent === "Offline" && resolve(performance.now()));
    watch.observe(phase, { subtree: true, childList: true, characterData: true });
  });
  window.left = performance.now();
}"""
# How long that took, less what the machine was late.
TOOK = "async () => (await window.said) - window.left - window.lateness"


async def here(tab: Tab) -> str:
    path: str = await tab.page.evaluate("location.pathname")
    return path


async def test_every_place_opens_at_its_own_address_without_a_complaint(
    tab: Tab, running_callboard: RunningCallboard
) -> None:
    for place in PLACES:
        await tab.page.goto(f"{running_callboard.url}/console/{place}")
        await tab.until(f"() => document.querySelector('main').dataset.place === '{place}'")
        assert await tab.page.get_attribute(f"nav [data-place={place}]", "aria-current") == "page"
        assert (await tab.page.title()).endswith("· Callboard")
    assert tab.complaints == []


async def test_the_server_answers_a_place_s_addresses_with_the_page_and_no_others(
    tab: Tab, running_callboard: RunningCallboard
) -> None:
    found = [
        await tab.page.request.get(f"{running_callboard.url}/console/{path}")
        for path in ("runs/job/a.b%2Fc", "events", "nowhere", "places/nowhere.js")
    ]

    assert [answer.status for answer in found] == [200, 200, 404, 404]
    assert "default-src 'self'" in found[0].headers["content-security-policy"]


async def test_back_and_forward_and_links_stay_on_the_page(tab: Tab, running_callboard: RunningCallboard) -> None:
    await tab.page.goto(running_callboard.url)
    await tab.until("() => document.querySelector('main').dataset.place === 'overview'")
    await tab.page.evaluate("window.same = true")

    await tab.page.click("nav >> text=Runs")
    await tab.page.wait_for_selector("#runs")
    await tab.page.click("nav >> text=Cameras")
    await tab.page.wait_for_selector("#camera")
    await tab.page.go_back()
    await tab.page.wait_for_selector("#runs")
    assert await here(tab) == "/console/runs"
    await tab.page.go_back()
    await tab.page.wait_for_selector("#overview")
    await tab.page.go_forward()
    await tab.page.wait_for_selector("#runs")

    assert await tab.page.evaluate("window.same") is True


async def test_a_place_that_is_being_left_does_not_write_its_filter_into_the_next_one_s_address(
    tab: Tab, running_callboard: RunningCallboard
) -> None:
    held: list[Route] = []

    async def hold(route: Route) -> None:
        held.append(route)

    await tab.page.route("**/console/places/cameras.js", hold)
    await open_console(tab, running_callboard.url, "actors")
    await tab.page.wait_for_selector("#actors tbody tr")
    await tab.page.click("nav >> text=Cameras")
    await eventually(lambda: held)

    # As the filter does once somebody has stopped typing.
    await tab.page.evaluate("callboard.router.mark([], { q: 'camera' })")
    await held.pop().continue_()
    await tab.page.wait_for_selector("#camera")

    assert await tab.page.evaluate("location.pathname + location.search") == "/console/cameras"


async def test_an_address_of_before_opens_the_place_where_the_view_is_now(
    tab: Tab, running_callboard: RunningCallboard
) -> None:
    await tab.page.goto(f"{running_callboard.url}/#camera-view")

    await tab.page.wait_for_selector("#camera.large")
    assert await here(tab) == "/console/cameras"


async def test_the_first_view_is_light(tab: Tab, running_callboard: RunningCallboard) -> None:
    await open_console(tab, running_callboard.url, "overview")
    await tab.until("() => document.querySelector('main').dataset.place === 'overview'")

    sizes: dict[str, int] = await tab.page.evaluate(
        """() => Object.fromEntries([...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")]
          .map(({ name, encodedBodySize }) => [new URL(name).pathname, encodedBodySize]))"""
    )

    assert sizes["/console/places/overview.js"] > 0
    assert sum(sizes.values()) < FIRST_VIEW, sizes


async def test_a_camera_that_is_left_is_watched_no_more_and_played_again_when_it_is_opened(
    tab: Tab, running_callboard: RunningCallboard
) -> None:
    await open_console(tab, running_callboard.url, "cameras")
    await tab.until("() => document.querySelector('#camera .badge')?.textContent === 'Live'")
    await tab.page.evaluate("window.left = document.querySelector('#camera')")

    await tab.page.click("nav >> text=Runs")
    await tab.page.wait_for_selector("#runs")
    await tab.until("() => callboard.store.cameras.get('main').viewers === 0")
    await tab.page.click("nav >> text=Cameras")

    await tab.until("() => document.querySelector('#camera .badge')?.textContent === 'Live'")
    assert await tab.page.evaluate("window.left === document.querySelector('#camera')")


async def test_the_palette_finds_a_run_and_an_actor_by_name_and_an_event_by_its_id(
    tab: Tab, running_callboard: RunningCallboard, run: str
) -> None:
    await open_console(tab, running_callboard.url, "overview")
    state = {"run": run, "domain": "job", "name": f"name of {run}", "status": "running", "progress": 0.5}
    await publish(running_callboard.url, f"job.{run}.state", state)
    await tab.until(f"() => callboard.store.runs.has('job.{run}')")

    await tab.page.keyboard.press("Control+k")
    await tab.page.keyboard.type(f"name of {run}")
    await tab.page.wait_for_selector(f"#found li:first-child >> text=name of {run}")
    await tab.page.keyboard.press("Enter")
    await tab.page.wait_for_selector("#runs")
    assert await here(tab) == f"/console/runs/job/{run}"
    await tab.page.keyboard.press("Escape")
    await tab.page.focus("main")
    await tab.page.keyboard.press("/")
    await tab.page.keyboard.type("01998c5e-8f7a-7b3c-8d2e-1f0a9b8c7d6e")

    await tab.page.wait_for_selector("#found >> text=Event by its id")
    await tab.page.fill(".palette input", "octane")
    await tab.page.click("#found li:has-text('Actor · running') >> text=octane")
    await tab.page.wait_for_selector(".actor-page:visible")
    assert await here(tab) == "/console/actors/octane/main"


@pytest.mark.parametrize(("lose", "mend"), [(Wire.hold, Wire.release), (Wire.cut, Wire.mend)], ids=["silent", "cut"])
async def test_a_server_that_cannot_be_reached_is_said_to_be_offline_within_three_seconds(
    tab: Tab,
    running_callboard: RunningCallboard,
    wire: Callable[[str], Wire],
    lose: Callable[[Wire], None],
    mend: Callable[[Wire], None],
) -> None:
    async with wire(running_callboard.url) as relay:
        await open_console(tab, relay.url, "runs")
        await tab.page.evaluate(LATENESS)
        await tab.page.evaluate(OFFLINE)
        lose(relay)
        took = await tab.page.evaluate(TOOK)
        await tab.page.wait_for_selector("#banner:visible >> text=What is shown is from")
        await tab.page.wait_for_selector("#banner >> text=Try now")
        assert "Offline" in await tab.page.inner_text("#banner")
        mend(relay)

        await tab.until("() => document.querySelector('.pill .phase').textContent === 'Live'")
        await tab.page.wait_for_selector("#banner", state="hidden")
        assert took < OFFLINE_WITHIN + BUSY, took


async def test_a_page_that_has_got_no_connection_yet_says_so(tab: Tab, standin: Standin) -> None:
    standin.created_status = 503
    await tab.page.goto(f"{standin.url}/console/runs")

    await tab.page.wait_for_selector("#banner:visible >> text=Nothing on this page is live yet")
    # Before the server answers: the page tries by itself, too, and would hide the button that is to be clicked.
    await tab.page.click("#banner >> text=Try now")
    standin.created_status = 201

    await tab.page.wait_for_selector("#banner", state="hidden")


async def test_two_tabs_read_by_one_connection(tab: Tab, running_callboard: RunningCallboard) -> None:
    second = Tab(await tab.page.context.new_page())
    await open_console(tab, running_callboard.url, "overview")
    await open_console(second, running_callboard.url, "overview")

    sessions = [await each.page.evaluate("callboard.client.state.session") for each in (tab, second)]

    assert sessions[0] == sessions[1]


@pytest.mark.parametrize("width", [1440, 1024, 390])
async def test_no_place_reaches_beyond_the_screen(tab: Tab, running_callboard: RunningCallboard, width: int) -> None:
    await tab.page.set_viewport_size({"width": width, "height": 844})
    for place in PLACES:
        await open_console(tab, running_callboard.url, place)
        await tab.until(f"() => document.querySelector('main').dataset.place === '{place}'")
        assert await tab.page.evaluate("document.documentElement.scrollWidth") <= width, place
