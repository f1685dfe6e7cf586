"""Tests of the camera's viewer on the console: framing, keys, figures, conditions, controls and recordings, in a real browser."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Request, Route

from tests.browser.conftest import Tab
from tests.e2e.tree import RunningCallboard, running_tree
from tests.waiting import PATIENCE, eventually

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

STAGE = "#camera .stage"
BADGE = "(word) => document.querySelector('#camera .badge')?.textContent === word"
FIGURE = """(label) => [...document.querySelectorAll('#camera .all-figures div')]
  .find((row) => row.firstChild.textContent === label)?.lastChild.textContent ?? ''"""
LOST = {"capture_fps": 15, "drops": {"late": 2, "bad": 1, "encoder": 3, "broker": 0}, "rungs": {}}
SCALE = "() => new DOMMatrix(getComputedStyle(document.querySelector('#camera canvas')).transform).a"
CONTROLS = {
    "exposure": {"kind": "number", "value": 0.01, "least": 0.001, "most": 0.5, "step": None, "unit": "s"},
    "gain": {"kind": "number", "value": 2, "least": 0, "most": 24, "step": 1, "unit": "dB"},
    "mirror": {"kind": "switch", "value": False},
    "auto_exposure": {"kind": "button", "value": None},
    "region": {
        "kind": "region",
        "value": {"left": 0, "top": 0, "width": 320, "height": 240},
        "least": {"left": 0, "top": 0, "width": 8, "height": 8},
        "most": {"left": 312, "top": 232, "width": 320, "height": 240},
    },
}
NAMES = ("set_fps", "set_quality", "set_control", "set_region", "clear_region", "auto_exposure", "reset_controls")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def callboard(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningCallboard]:
    """A Callboard with a small simulated camera."""
    size = {"CAMERA_WIDTH": "320", "CAMERA_HEIGHT": "240", "CAMERA_FPS": "15"}
    tree = running_tree(tmp_path_factory.mktemp("viewer"), "--only", "edge,camera", **size)
    running = await asyncio.to_thread(tree.__enter__)
    yield running
    await asyncio.to_thread(tree.__exit__, None, None, None)


async def open_viewer(tab: Tab, url: str) -> None:
    """Opens the page and waits until its camera is live."""
    await tab.page.goto(f"{url}/console/cameras")
    await tab.page.wait_for_selector("#camera .stage", state="attached")
    await tab.until(BADGE, "Live")


async def tell(url: str, camera: str, kind: str, data: dict[str, Any]) -> None:
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=PATIENCE) as http:
        body = {"subject": f"camera.{camera}.{kind}", "type": kind, "data": data}
        (await http.post("/events", json=body)).raise_for_status()


class Actor:
    """A camera's actor as the page sees it: its commands are answered here, and change only what is told back."""

    def __init__(self, tab: Tab) -> None:
        self._tab = tab
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.refusal: dict[str, Any] | None = None
        self.answer: dict[str, Any] = {}

    async def begin(self, controls: dict[str, Any]) -> None:
        listed = [{"actor": "camera", "instance": "main", "name": name, "schema": {}} for name in NAMES]
        await self._tab.page.route("**/commands/camera/**", self._take)
        await self._tab.page.route("**/commands", lambda route: route.fulfill(json={"commands": listed}))
        await self.set(controls)

    async def set(self, controls: dict[str, Any]) -> None:
        """What the camera's event `controls` says from now on; the real camera's own are older."""
        self.answer = {"fps": 15.0, "quality": 85, "controls": controls, "revision": 9e15}
        self._tab.page.on("domcontentloaded", lambda _: None)

    async def _take(self, route: Route, request: Request) -> None:
        self.sent.append((request.url.split("?")[0].rsplit("/", 1)[1], request.post_data_json or {}))
        if self.refusal is not None:
            await route.fulfill(status=409, json=self.refusal)
        else:
            await route.fulfill(json=self.answer)

    async def show(self) -> None:
        """Gives the page these controls, as the event does, and opens the drawer."""
        await self._tab.page.evaluate("(controls) => callboard.store.controlCamera('main', controls)", self.answer)
        await self._tab.page.click("#camera [aria-label='Controls']")


async def test_wheel_keys_and_buttons_zoom_and_the_fitted_picture_is_not_moved(
    tab: Tab, callboard: RunningCallboard
) -> None:
    await open_viewer(tab, callboard.url)
    fitted = await tab.page.evaluate(SCALE)
    await tab.page.focus(STAGE)

    await tab.page.keyboard.press("ArrowRight")
    assert await tab.page.evaluate(SCALE) == pytest.approx(fitted)
    await tab.page.keyboard.press("+")
    await tab.until(f"(fitted) => ({SCALE})() > fitted * 1.2", fitted)
    await tab.page.hover(STAGE)
    await tab.page.mouse.wheel(0, -200)
    await tab.until(f"(fitted) => ({SCALE})() > fitted * 1.5", fitted)
    await tab.page.keyboard.press("1")
    assert await tab.page.evaluate(SCALE) == pytest.approx(1.0)
    await tab.page.keyboard.press("0")

    assert await tab.page.evaluate(SCALE) == pytest.approx(fitted)
    await tab.page.keyboard.press("-")
    assert await tab.page.evaluate(SCALE) == pytest.approx(fitted), "no smaller than fitted"


async def test_keys_open_the_figures_the_help_and_the_large_view(tab: Tab, callboard: RunningCallboard) -> None:
    await open_viewer(tab, callboard.url)
    await tab.page.focus(STAGE)

    await tab.page.keyboard.press("i")
    # Statistics of the actor come once a second; of an encoder, as soon as it has encoded something.
    await tab.until(f"() => /\\d ms \\(p50\\)/.test(({FIGURE})('Encode')) && /p99/.test(({FIGURE})('Latency'))")
    await tell(callboard.url, "main", "statistics", LOST)
    await tab.until(f"() => ({FIGURE})('Lost at source') === '2 late, 1 unreadable, 3 passed over by the encoder'")
    figures = await tab.page.inner_text("#camera .all-figures")
    await tab.page.keyboard.press("?")
    keys = await tab.page.inner_text("#camera dialog[open]")
    await tab.page.keyboard.press("Escape")
    await tab.page.focus(STAGE)
    await tab.page.keyboard.press("l")
    large = await tab.page.locator(STAGE).bounding_box()
    await tab.page.keyboard.press("Escape")

    assert all(word in figures for word in ("Capture", "Painted", "Dropped", "Latency", "Transport"))
    assert "timeline" in keys and "one to one" in keys
    assert large is not None and large["width"] > 1400
    assert "large" not in (await tab.page.get_attribute("#camera", "class") or "")


async def test_each_condition_of_a_camera_is_said_with_its_reason_and_since_when(
    tab: Tab, callboard: RunningCallboard, entity: str
) -> None:
    camera = f"zz-{entity}"
    since = "2026-11-27T00:00:00Z"
    await tell(callboard.url, camera, "state", {"status": "failed", "reason": "no such device", "since": since})
    await tab.page.goto(f"{callboard.url}/console/cameras")
    await tab.page.wait_for_selector("#camera .stage", state="attached")
    await tab.until(
        "(camera) => [...document.querySelectorAll('#camera .tools option')].some(({ value }) => value === camera)",
        camera,
    )
    await tab.page.select_option("#camera [aria-label='Which camera']", camera)

    for status, word, text in [
        ("failed", "Failed", "no such device"),
        ("gone", "Gone", "its process has ended"),
        ("idle", "Idle", "clip.mp4 has ended"),
    ]:
        await tell(callboard.url, camera, "state", {"status": status, "reason": text, "since": since})
        await tab.until(BADGE, word)
        await tab.until(
            "(text) => document.querySelector('#camera .condition').innerText.toLowerCase().includes(text)", text
        )
    assert "clip.mp4 has ended." in await tab.page.inner_text("#camera .condition"), "a name keeps its letters"
    # What a camera recorded is there without it.
    await tell(callboard.url, camera, "state", {"status": "gone", "reason": "its process has ended", "since": since})
    await tab.page.wait_for_selector("#camera .recordings >> text=No recording yet")
    # An hour counts from what the state says, by the server's clock.
    await tell(callboard.url, camera, "state", {"status": "failed", "reason": "hung", "since": since})
    await tab.until("() => /failed, for \\d/.test(document.querySelector('#camera .condition').innerText)")


async def test_after_a_transport_that_the_browser_does_not_have_another_one_plays(
    tab: Tab, callboard: RunningCallboard
) -> None:
    await tab.page.add_init_script("delete globalThis.MediaSource; delete globalThis.ManagedMediaSource")
    await open_viewer(tab, callboard.url)
    await tab.page.click("#camera [aria-label='Controls']")
    await tab.page.select_option("#camera [title='Transport']", "mse")
    await tab.until(BADGE, "Not shown")

    await tab.page.select_option("#camera [title='Transport']", "auto")

    await tab.until(BADGE, "Live")


async def test_a_simulated_camera_says_so_and_a_still_is_named_by_the_time_of_its_capture(
    tab: Tab, callboard: RunningCallboard
) -> None:
    await open_viewer(tab, callboard.url)
    assert await tab.page.is_visible("#camera >> text=SIMULATED")

    async with tab.page.expect_download() as download:
        await tab.page.click("#camera [aria-label='Save a still']")

    name = (await download.value).suggested_filename
    assert name.startswith("camera-main-20") and name.endswith("Z.jpg")
    await tab.page.wait_for_selector("#camera >> text=Saved the picture of")


async def test_a_frame_rate_is_set_and_the_effective_one_is_shown(tab: Tab, callboard: RunningCallboard) -> None:
    await open_viewer(tab, callboard.url)
    await tab.page.click("#camera [aria-label='Controls']")
    await tab.page.wait_for_selector("#camera [aria-label='Frame rate, fps']")

    await tab.page.fill("#camera [aria-label='Frame rate, fps']", "10")
    await tab.page.keyboard.press("Tab")
    await tab.until("() => callboard.store.cameras.get('main').controls?.fps === 10")
    await tab.page.fill("#camera [aria-label='Frame rate, fps']", "5000")
    await tab.page.keyboard.press("Tab")

    refused = tab.page.locator("#camera .settings .refused:visible")
    await refused.wait_for()
    assert await refused.inner_text() == "Frame rate: it must be from 0.1 to 240 fps."
    assert await tab.page.get_attribute("#camera [aria-label='Frame rate, fps']", "aria-invalid") == "true"
    assert await tab.page.evaluate("callboard.store.cameras.get('main').controls.fps") == 10


async def test_a_device_s_controls_are_checked_sent_and_show_what_the_device_made_of_them(
    tab: Tab, callboard: RunningCallboard
) -> None:
    actor = Actor(tab)
    await actor.begin(CONTROLS)
    await open_viewer(tab, callboard.url)
    await actor.show()
    exposure, gain = "#camera [aria-label='Exposure, ms']", "#camera [aria-label='Gain, dB']"
    assert await tab.page.input_value(exposure) == "10"

    # The device takes the next value that it has.
    actor.answer = {**actor.answer, "controls": {**CONTROLS, "exposure": {**CONTROLS["exposure"], "value": 0.0251}}}
    await tab.page.fill(exposure, "25")
    await tab.page.keyboard.press("Tab")
    await tab.until(f"() => document.querySelector(\"{exposure}\").value === '25.1'")
    await tab.page.fill(gain, "99")
    await tab.page.keyboard.press("Tab")
    await tab.page.wait_for_selector("#camera >> text=Gain: it must be from 0 to 24 dB.")
    actor.refusal = {"code": "command_refused", "detail": "the sensor is busy"}
    await tab.page.click("#camera >> text=Auto-exposure once")
    await tab.page.wait_for_selector("#camera >> text=Auto-exposure once: the sensor is busy.")

    assert actor.sent == [("set_control", {"name": "exposure", "value": 0.025}), ("auto_exposure", {})]


async def test_a_region_is_drawn_on_the_picture_in_pixels_of_the_sensor(tab: Tab, callboard: RunningCallboard) -> None:
    actor = Actor(tab)
    await actor.begin(CONTROLS)
    await open_viewer(tab, callboard.url)
    await actor.show()
    await tab.page.click("#camera [aria-label='Close the controls']")
    await tab.page.focus(STAGE)
    await tab.page.keyboard.press("r")
    canvas = await tab.page.locator("#camera canvas").bounding_box()
    assert canvas is not None
    scale = canvas["width"] / 320

    await tab.page.mouse.move(canvas["x"] + 40 * scale, canvas["y"] + 60 * scale)
    await tab.page.mouse.down()
    await tab.page.mouse.move(canvas["x"] + 200 * scale, canvas["y"] + 180 * scale, steps=5)
    await tab.page.mouse.up()
    await eventually(lambda: actor.sent)

    ((name, rect),) = actor.sent
    assert name == "set_region"
    assert rect == pytest.approx({"left": 40, "top": 60, "width": 160, "height": 120}, abs=2)


async def test_a_recording_is_made_played_by_seeking_and_deleted(tab: Tab, callboard: RunningCallboard) -> None:
    await open_viewer(tab, callboard.url)
    await tab.page.wait_for_selector("#camera [aria-label='Record']")
    await tab.page.focus(STAGE)

    await tab.page.keyboard.press("v")
    await tab.until(
        "() => /^[4-9] s|\\d\\d s/.test(document.querySelector('#camera .running:not([hidden])')?.textContent)"
    )
    await tab.page.focus(STAGE)
    await tab.page.keyboard.press("v")
    await tab.page.wait_for_selector("#camera [aria-label='Record']")
    await tab.until("() => document.querySelectorAll('#camera .segment:not(.open)').length === 1")
    await tab.page.focus("#camera .track")
    await tab.page.keyboard.press("PageUp")
    await tab.until("() => document.querySelector('video.playback').currentTime > 0.3")
    playing = await tab.page.inner_text("#camera .badge >> nth=0")
    await tab.page.keyboard.press("Space")
    await tab.until("() => document.querySelector('video.playback').paused")
    size = await tab.page.evaluate("document.querySelector('video.playback').videoWidth")
    said = await tab.page.get_attribute("#camera .track", "aria-valuetext")
    async with tab.page.expect_download() as download:
        await tab.page.click("#camera [aria-label='Download the recording']")
    await tab.page.keyboard.press("Escape")
    await tab.page.click("#camera [aria-label='Previous recording']")
    await tab.page.click("#camera [aria-label='Delete the recording']")
    await tab.page.click("#camera dialog[open] >> text=Delete >> nth=-1")

    await tab.until("() => document.querySelectorAll('#camera .segment').length === 0")
    await tab.until(BADGE, "Live")
    assert playing == "Recording" and size == 320
    assert said is not None and "in a recording of" in said
    assert (await download.value).suggested_filename.endswith(".mp4")


@pytest.mark.parametrize("width", [390, 320])
async def test_on_a_phone_the_viewer_fits_and_has_room_for_its_picture_before_it_comes(
    tab: Tab, callboard: RunningCallboard, width: int
) -> None:
    await tab.page.set_viewport_size({"width": width, "height": 844})
    await tab.page.goto(f"{callboard.url}/console/cameras")
    await tab.page.wait_for_selector("#camera .stage", state="attached")
    await tab.page.wait_for_selector(STAGE)
    before = await tab.page.locator(STAGE).bounding_box()
    await tab.until(BADGE, "Live")
    await tab.page.click("#camera [aria-label='Controls']")

    after = await tab.page.locator(STAGE).bounding_box()
    assert before == after, "no jump when the picture comes"
    assert before is not None and before["width"] / before["height"] == pytest.approx(4 / 3, abs=0.05)
    assert await tab.page.evaluate("document.documentElement.scrollWidth") <= width
    assert await tab.page.evaluate(UNNAMED) == []


# Whatever can have the focus has a name, and no name is that of something else.
UNNAMED = """() => [...document.querySelectorAll("#camera :is(button, select, input, [tabindex])")]
  .filter((element) => element.checkVisibility() && element.tabIndex >= 0)
  .filter((element) => !(element.getAttribute("aria-label") || element.title || element.textContent.trim() || element.labels?.length))
  .map((element) => element.outerHTML.slice(0, 120))"""


async def test_all_that_has_the_focus_has_a_name_and_the_first_view_is_light(
    tab: Tab, callboard: RunningCallboard
) -> None:
    sizes: dict[str, int] = {}

    async def weigh(response: Any) -> None:
        if "/console/" in response.url or "/client/" in response.url or response.url.rstrip("/") == callboard.url:
            sizes[response.url] = int(response.headers.get("content-length", 0)) or len(await response.body())

    tab.page.on("response", weigh)
    await open_viewer(tab, callboard.url)

    assert await tab.page.evaluate(UNNAMED) == []
    assert await tab.page.get_attribute("#camera canvas", "aria-label") == "The camera's live picture"
    assert tab.complaints == []
    await eventually(lambda: len(sizes) > 40)
    assert sum(sizes.values()) < 200_000
