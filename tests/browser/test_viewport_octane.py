"""Tests of the viewport on a whole Callboard beside an Octane that fails: what people see, and what their commands lead to."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from PIL import Image
from playwright.async_api import Browser, Request

from actors.octane.simulator.faults import OctaneFault
from protos import octane_types_pb2 as wire
from tests.browser.conftest import Tab
from tests.browser.studio import SIMULATED, STAGE, Studio, person, running_studio, shown
from tests.waiting import eventually

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def studio(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Studio]:
    async with running_studio(tmp_path_factory) as studio:
        yield studio


async def drag(tab: Tab, dx: float) -> None:
    box = await tab.page.locator(STAGE).bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    await tab.page.mouse.move(x, y)
    await tab.page.mouse.down()
    await tab.page.mouse.move(x + dx, y, steps=20)
    await tab.page.mouse.up()


async def test_of_two_people_the_last_one_moves_and_the_other_sees_who(browser: Browser, studio: Studio) -> None:
    async with person(browser, studio, "alice") as alice, person(browser, studio, "bob") as bob:
        await drag(alice, 80)
        await bob.until("() => document.querySelector('#render .presence')?.innerText === 'alice is moving the camera'")
        assert not await alice.page.is_visible("#render .presence")
        seen = studio.octane.view
        await drag(bob, -80)
        await alice.until("() => document.querySelector('#render .presence')?.innerText === 'bob is moving the camera'")

        await eventually(lambda: studio.octane.view != seen)
        assert not await bob.page.evaluate("document.querySelector('#render .presence').innerText.includes('bob')")


async def test_a_drag_ends_where_somebody_else_takes_the_camera(browser: Browser, studio: Studio) -> None:
    async with person(browser, studio, "alice") as alice, person(browser, studio, "bob") as bob:
        sent: list[float] = []

        def note(request: Request) -> None:
            if request.url.endswith("/orbit"):
                sent.append(request.post_data_json["dx"])

        alice.page.on("request", note)
        box = await alice.page.locator(STAGE).bounding_box()
        assert box is not None
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        await alice.page.mouse.move(x, y)
        await alice.page.mouse.down()
        await alice.page.mouse.move(x + 50, y, steps=10)
        await eventually(lambda: sent)
        # What others did may still be on its way when somebody takes hold; it counts a moment later.
        await alice.page.wait_for_timeout(800)

        await drag(bob, 60)
        await alice.until("() => document.querySelector('#render .presence')?.innerText === 'bob is moving the camera'")
        before = len(sent)
        await alice.page.mouse.move(x + 150, y, steps=20)
        await alice.page.mouse.up()
        await drag(alice, 40)

        # The hundred pixels after bob took hold are lost; the new drag counts, less what a click may tremble.
        await eventually(lambda: sum(sent[before:]) > 0.3)
        assert sum(sent[before:]) < 0.45


async def test_a_region_is_set_in_octane_by_a_drag_and_cleared_by_its_button(browser: Browser, studio: Studio) -> None:
    async with person(browser, studio, "alice") as alice, person(browser, studio, "bob") as bob:
        await alice.page.click("#render [aria-label^='Render region: drag']")
        await drag(alice, 1)
        box = await alice.page.locator(STAGE).bounding_box()
        assert box is not None
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        await alice.page.mouse.move(x, y)
        await alice.page.mouse.down()
        await alice.page.mouse.move(x + 80, y + 60, steps=8)
        await alice.page.mouse.up()

        await eventually(lambda: studio.octane.region.active)
        await bob.page.wait_for_selector("#render .region:not(.draft)")
        assert studio.octane.region.regionMin.x == pytest.approx(96, abs=2)
        await bob.until("() => document.querySelector('#render .line').innerText.includes('samples in the region')")
        await bob.page.click("#render .region .clear")

        await eventually(lambda: not studio.octane.region.active)
        await alice.page.wait_for_selector("#render .region:not(.draft)", state="hidden")


async def test_pause_and_start_are_one_button_that_says_what_it_does(browser: Browser, studio: Studio) -> None:
    async with person(browser, studio, "alice") as alice:
        await alice.page.click("#render [aria-label='Pause']")
        await shown(alice, "Paused")
        speed = await alice.page.inner_text("#render [data-fact=speed] dd")
        await alice.page.click("#render [aria-label='Continue']")
        await shown(alice, "Rendering")

        assert speed == "–"


async def test_who_may_not_command_sees_why_and_moves_only_the_picture(browser: Browser, studio: Studio) -> None:
    async with person(browser, studio, "carol", command=[]) as carol:
        sent: list[str] = []
        carol.page.on(
            "request", lambda request: sent.append(request.url) if "/commands/octane" in request.url else None
        )
        await carol.until("() => document.querySelector('#render [aria-label=Pause]').ariaDisabled === 'true'")

        # Disabled for who cannot see why: a click says it.
        await carol.page.click("#render [aria-label='Pause']", force=True)
        refused = await carol.page.inner_text("#render .refused:visible")
        await drag(carol, 60)
        await carol.until("() => document.querySelector('#render [aria-label^=Fit]').ariaPressed === 'false'")

        assert refused == "Pause: Your token does not allow the command octane.main.pause."
        assert sent == []


async def test_an_octane_that_hangs_is_busy_and_its_last_picture_stays_dimmed(browser: Browser, studio: Studio) -> None:
    async with person(browser, studio, "alice") as alice:
        studio.octane.strike(OctaneFault.HANG)
        try:
            await shown(alice, "Busy")
            text = await alice.page.inner_text("#render .condition")
            dimmed = await alice.page.evaluate(f"document.querySelector('{STAGE}').classList.contains('stale')")
            width = await alice.page.evaluate(f"document.querySelector('{STAGE} canvas')?.width")
        finally:
            studio.octane.clear()

        await shown(alice, "Rendering")
        assert "compiling, or shows a dialog" in text and "The picture shown is" in text
        assert dimmed and width == SIMULATED.width


async def test_a_picture_that_cannot_be_read_is_said_with_why(browser: Browser, studio: Studio) -> None:
    async with person(browser, studio, "alice") as alice:
        studio.octane.strike(OctaneFault.SHARED_SURFACE)
        try:
            await shown(alice, "Unreadable")
            text = await alice.page.inner_text("#render .condition")
        finally:
            studio.octane.clear()

        await shown(alice, "Rendering")
        assert "cannot be read" in text and "graphics card" in text


async def test_a_failed_render_names_the_device_and_restart_clears_it(browser: Browser, studio: Studio) -> None:
    async with person(browser, studio, "alice") as alice:
        studio.octane.fail(wire.RENDER_ERROR_NOT_ENOUGH_DEVICE_MEMORY)
        await shown(alice, "Failed")
        await alice.until("() => document.querySelector('#render [data-fact=speed] dd').textContent === '–'")
        text = await alice.page.inner_text("#render .condition")
        remaining = await alice.page.inner_text("#render [data-fact=remaining] dd")

        await alice.page.click("#render [aria-label^='Restart']")
        await shown(alice, "Rendering")

        assert studio.octane.device in text and remaining == "–"
        assert not await alice.page.is_visible("#render .condition")


async def test_an_octane_that_has_gone_is_absent_with_what_to_do_and_comes_back_by_itself(
    browser: Browser, studio: Studio
) -> None:
    async with person(browser, studio, "alice") as alice:
        await studio.stop()
        await shown(alice, "Absent")
        text = await alice.page.inner_text("#render .condition")
        await alice.page.reload()
        await shown(alice, "Absent")
        # FRAMES may have forgotten it: the server keeps the last picture of a render.
        await alice.until(f"() => document.querySelector('{STAGE} canvas')?.width === {SIMULATED.width}")

        await studio.start()
        await shown(alice, "Rendering")
        assert "Enable GRPC Server" in text and "The picture shown is" in text


async def test_the_picture_is_saved_as_png_in_full_size(browser: Browser, studio: Studio) -> None:
    async with person(browser, studio, "alice") as alice:
        async with alice.page.expect_download() as saved:
            await alice.page.click("#render [aria-label='Save as PNG']")
        download = await saved.value
        path = await download.path()

        with Image.open(path) as picture:
            assert picture.format == "PNG" and picture.size == (SIMULATED.width, SIMULATED.height)
        assert re.fullmatch(r"octane-main-beauty-[\dT-]+\.png", download.suggested_filename)


async def test_two_views_of_one_octane_show_two_passes(browser: Browser, studio: Studio) -> None:
    async with person(browser, studio, "alice") as alice:
        await alice.page.click("#render [aria-label='Second viewport']")
        second = alice.page.locator(STAGE).nth(1)
        await second.locator(".pass").select_option("z_depth")
        await alice.until(
            f"() => [...document.querySelectorAll('{STAGE} canvas')].every(({{ width }}) => width === {SIMULATED.width})"
        )
        pixels = "(canvas) => canvas.getContext('2d').getImageData(60, 40, 1, 1).data.join()"
        both = [await alice.page.locator(f"{STAGE} canvas").nth(at).evaluate(pixels) for at in (0, 1)]

        assert both[0] != both[1]
        depth = [int(value) for value in both[1].split(",")[:3]]
        assert max(depth) - min(depth) < 20  # a depth is grey


async def test_exposure_and_undo_reach_octane(browser: Browser, studio: Studio) -> None:
    async with person(browser, studio, "alice") as alice:
        await alice.page.click("#render [aria-label='Settings']")
        exposure = alice.page.locator("#render input[title=Exposure]")
        await exposure.fill("2.5")
        await alice.until(
            "() => callboard.store.octanes.get('main').controls?.tonemap?.exposure?.toFixed(2) === '2.50'"
        )

        before = studio.octane.view
        await alice.page.focus(STAGE)
        await alice.page.keyboard.press("ArrowRight")
        await eventually(lambda: studio.octane.view != before)
        await alice.page.keyboard.press("u")
        await eventually(lambda: studio.octane.view.position == pytest.approx(before.position, abs=1e-3))
