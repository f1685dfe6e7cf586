"""The camera's view in its states, and the page that tests transports, have no serious or critical fault by axe-core: light and dark."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import expect

from tests.axe import serious
from tests.browser.conftest import Tab
from tests.browser.test_camera_view import BADGE, CONTROLS, STAGE, Actor, open_viewer, tell
from tests.e2e.tree import RunningCallboard, running_tree
from tests.waiting import PATIENCE

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

expect.set_options(timeout=PATIENCE * 1000)

SINCE = "2026-11-27T00:00:00Z"
PHONE = {"width": 390, "height": 844}
# The phone's look is the light one.
LOOKS = pytest.mark.parametrize("look", ["dark", "phone"])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def callboard(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningCallboard]:
    """A Callboard with a small simulated camera that records always."""
    size = {"CAMERA_WIDTH": "320", "CAMERA_HEIGHT": "240", "CAMERA_FPS": "10", "CAMERA_RECORD": "always"}
    tree = running_tree(tmp_path_factory.mktemp("access"), "--only", "edge,camera", **size)
    running = await asyncio.to_thread(tree.__enter__)
    yield running
    await asyncio.to_thread(tree.__exit__, None, None, None)


async def dressed(tab: Tab, look: str) -> None:
    await tab.page.emulate_media(color_scheme="dark" if look == "dark" else "light")
    if look == "phone":
        await tab.page.set_viewport_size(PHONE)


async def check(tab: Tab, state: str) -> None:
    assert (state, await serious(tab.page)) == (state, [])


@LOOKS
async def test_a_live_picture_with_its_figures_help_and_large_view(
    tab: Tab, callboard: RunningCallboard, look: str
) -> None:
    await dressed(tab, look)
    await open_viewer(tab, callboard.url)
    await check(tab, "live")

    await tab.page.focus(STAGE)
    await tab.page.keyboard.press("i")
    await tab.page.wait_for_selector("#camera .all-figures")
    await check(tab, "figures")
    await tab.page.keyboard.press("?")
    await tab.page.wait_for_selector("#camera dialog[open]")
    await check(tab, "help")
    await tab.page.keyboard.press("Escape")
    await tab.page.focus(STAGE)
    await tab.page.keyboard.press("l")
    await tab.page.wait_for_selector("#camera.large")
    await check(tab, "large")


@LOOKS
async def test_open_controls_with_a_refusal_and_a_region_that_is_being_drawn(
    tab: Tab, callboard: RunningCallboard, look: str
) -> None:
    await dressed(tab, look)
    actor = Actor(tab)
    await actor.begin(CONTROLS)
    await open_viewer(tab, callboard.url)
    await actor.show()
    await tab.page.fill("#camera [aria-label='Gain, dB']", "99")
    await tab.page.keyboard.press("Tab")
    await tab.page.wait_for_selector("#camera >> text=Gain: it must be from 0 to 24 dB.")
    await check(tab, "controls")

    await tab.page.click("#camera [aria-label='Close the controls']")
    await tab.page.focus(STAGE)
    await tab.page.keyboard.press("r")
    await tab.page.wait_for_selector("#camera .hint >> text=Drag a rectangle")
    canvas = await tab.page.locator("#camera canvas").bounding_box()
    assert canvas is not None
    await tab.page.mouse.move(canvas["x"] + 40, canvas["y"] + 40)
    await tab.page.mouse.down()
    await tab.page.mouse.move(canvas["x"] + 140, canvas["y"] + 120, steps=4)

    size = await tab.page.text_content("#camera .region.draft .caption")
    assert size is not None and " × " in size
    await check(tab, "region")


@LOOKS
async def test_a_recording_that_goes_on_that_is_played_and_that_may_be_deleted(
    tab: Tab, callboard: RunningCallboard, look: str
) -> None:
    await dressed(tab, look)
    await open_viewer(tab, callboard.url)
    await tab.until("() => /^always/.test(document.querySelector('#camera .running:not([hidden])')?.textContent)")
    await tab.until("() => /may be overwritten/.test(document.querySelector('.recordings .playing').textContent)")
    await check(tab, "recording always")
    await tab.page.click("#camera [aria-label='Record, and keep it']")
    await tab.until("() => /^[2-9] s/.test(document.querySelector('#camera .running:not([hidden])')?.textContent)")
    await check(tab, "recording")

    await tab.page.click("#camera [aria-label='Stop recording']")
    await tab.until("() => document.querySelectorAll('#camera .segment:not(.open):not(.overwritable)').length > 0")
    await tab.until("() => document.querySelectorAll('#camera .segment.overwritable').length > 0")
    await tab.until("() => /^always/.test(document.querySelector('#camera .running:not([hidden])')?.textContent)")
    await tab.page.focus("#camera .track")
    await tab.page.keyboard.press("PageUp")
    await tab.until("() => document.querySelector('video.playback').currentTime > 0.3")
    await check(tab, "playing")
    await tab.page.click("#camera [aria-label='Delete the recording']")
    await tab.page.wait_for_selector("#camera dialog[open]")
    await check(tab, "delete")


@LOOKS
async def test_a_camera_that_failed_is_idle_or_is_gone(
    tab: Tab, callboard: RunningCallboard, look: str, entity: str
) -> None:
    await dressed(tab, look)
    camera = f"zz-{entity}"
    await tell(callboard.url, camera, "state", {"status": "failed", "reason": "no such device", "since": SINCE})
    await tab.page.goto(f"{callboard.url}/console/cameras")
    choice = f"#camera [aria-label='Which camera'] option[value='{camera}']"
    await tab.page.wait_for_selector(choice, state="attached")
    await tab.page.select_option("#camera [aria-label='Which camera']", camera)
    await tab.until(BADGE, "Failed")
    await check(tab, "failed")

    for status, word in (("idle", "Idle"), ("gone", "Gone")):
        fault = "recordings hold 2048 of 2048 MiB" if status == "idle" else None
        state = {"status": status, "reason": "clip.mp4 has ended", "since": SINCE, "recording_fault": fault}
        await tell(callboard.url, camera, "state", state)
        await tab.until(BADGE, word)
        halted = tab.page.locator("#camera .halted", has_text="cannot record: recordings hold 2048 of 2048 MiB.")
        await expect(halted).to_be_visible(visible=fault is not None)
        await check(tab, status)


@LOOKS
async def test_the_page_that_tests_transports(tab: Tab, callboard: RunningCallboard, look: str) -> None:
    await dressed(tab, look)
    await tab.page.goto(f"{callboard.url}/console/camera-test.html")
    await tab.page.wait_for_selector("button:text-is('Connect'):enabled")
    await check(tab, "not connected")

    await tab.page.click("button:text-is('Connect')")
    await tab.page.wait_for_selector("text=Connected by")
    await check(tab, "connected")
    await tab.page.click("button:text-is('Disconnect')")
    await tab.page.click("button:text-is('Test all')")
    await tab.page.wait_for_selector("button:text-is('Copy report'):enabled")
    await check(tab, "tested")
