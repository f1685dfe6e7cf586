"""Tests of the render's viewport on the console: what hands and keys send, and what it says of an Octane."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any, Protocol

import httpx
import pytest
from playwright.async_api import Request, Route

from tests.browser.conftest import Tab
from tests.waiting import PATIENCE, eventually

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

STAGE = "#render .stage.viewport"
SETTLED = "() => callboard.store.octanes.get('main')?.state?.status === 'connected'"


class RunningCallboard(Protocol):
    """What the fixture `running_callboard` of tests/conftest.py gives."""

    url: str


class Sent:
    """The commands that a page sends, with the second in which each left; they are answered here, and change nothing."""

    def __init__(self, tab: Tab) -> None:
        self._tab = tab
        self.commands: list[tuple[float, str, dict[str, Any]]] = []
        self.answer: dict[str, Any] = {"render": "rendering"}
        # Of single commands, by name.
        self.answers: dict[str, dict[str, Any]] = {}
        self.status = 200

    async def begin(self) -> None:
        await self._tab.page.route("**/commands/octane/**", self._take)
        await self._tab.page.route("**/commands", self._list)

    async def _take(self, route: Route, request: Request) -> None:
        name = request.url.split("?")[0].rsplit("/", 1)[1]
        self.commands.append((time.monotonic(), name, request.post_data_json or {}))
        await route.fulfill(
            status=self.status, content_type="application/json", body=json.dumps(self.answers.get(name, self.answer))
        )

    async def _list(self, route: Route) -> None:
        """Lists none, as where the actor is away for a moment: the page then offers all."""
        await route.fulfill(json={"commands": []})

    def named(self, name: str) -> list[dict[str, Any]]:
        return [values for _, command, values in self.commands if command == name]

    def total(self, name: str, field: str) -> float:
        return sum(values[field] for values in self.named(name))


async def open_viewport(tab: Tab, url: str) -> Sent:
    """Opens the large view with a picture in it."""
    sent = Sent(tab)
    await sent.begin()
    await tab.page.goto(f"{url}/#viewport")
    await tab.page.wait_for_selector("#render .stage", state="attached")
    await tab.until(SETTLED)
    await tab.until(f"() => document.querySelector('{STAGE} canvas')?.width > 64")
    return sent


async def middle(tab: Tab) -> tuple[float, float]:
    box = await tab.page.locator(STAGE).bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


async def drag(tab: Tab, dx: float, dy: float, steps: int, button: Any = "left") -> None:
    x, y = await middle(tab)
    await tab.page.mouse.move(x, y)
    await tab.page.mouse.down(button=button)
    await tab.page.mouse.move(x + dx, y + dy, steps=steps)
    await tab.page.mouse.up(button=button)


async def test_a_drag_orbits_by_what_the_pointer_moved_and_does_not_jump(
    tab: Tab, running_callboard: RunningCallboard
) -> None:
    sent = await open_viewport(tab, running_callboard.url)

    await drag(tab, 200, 100, steps=50)
    await eventually(lambda: sent.total("orbit", "dx") > 1.9)

    # A hundredth of a radian a pixel, less the pixels within which a click may tremble.
    assert sent.total("orbit", "dx") == pytest.approx(2.0, abs=0.1)
    assert sent.total("orbit", "dy") == pytest.approx(1.0, abs=0.1)
    assert {name for _, name, _ in sent.commands} == {"orbit"}
    assert abs(sent.named("orbit")[0]["dx"]) < 1.0


async def test_a_click_moves_no_camera(tab: Tab, running_callboard: RunningCallboard) -> None:
    sent = await open_viewport(tab, running_callboard.url)

    await drag(tab, 2, 1, steps=2)
    await drag(tab, 100, 0, steps=4, button="right")
    await eventually(lambda: sent.named("pan"))

    assert sent.named("orbit") == []


async def test_moves_are_sent_ten_times_a_second_at_most_and_once_more_on_release(
    tab: Tab, running_callboard: RunningCallboard
) -> None:
    sent = await open_viewport(tab, running_callboard.url)
    x, y = await middle(tab)

    await tab.page.mouse.move(x - 200, y)
    await tab.page.mouse.down()
    began = time.monotonic()
    for step in range(200):
        await tab.page.mouse.move(x - 200 + 2 * step, y)
    held = list(sent.commands)
    await tab.page.mouse.up()
    await eventually(lambda: sent.total("orbit", "dx") > 3.9)

    assert len(held) <= 10 * (held[-1][0] - began) + 2
    assert len(sent.commands) <= len(held) + 2
    assert sent.total("orbit", "dx") == pytest.approx(3.98, abs=0.1)


async def test_shift_and_the_right_button_pan_and_the_wheel_dollies(
    tab: Tab, running_callboard: RunningCallboard
) -> None:
    sent = await open_viewport(tab, running_callboard.url)

    await drag(tab, 60, 0, steps=6, button="right")
    await tab.page.keyboard.down("Shift")
    await drag(tab, 0, 60, steps=6)
    await tab.page.keyboard.up("Shift")
    await tab.page.mouse.wheel(0, -100)
    await eventually(lambda: sent.named("dolly"))

    assert sent.total("pan", "dx") > 0.02 and sent.total("pan", "dy") > 0.02
    assert sent.named("dolly")[0]["factor"] < 1
    assert sent.named("orbit") == []


async def test_arrows_orbit_with_shift_they_pan_and_plus_comes_nearer(
    tab: Tab, running_callboard: RunningCallboard
) -> None:
    sent = await open_viewport(tab, running_callboard.url)
    await tab.page.focus(STAGE)

    for key in ("ArrowRight", "Shift+ArrowDown", "+"):
        await tab.page.keyboard.press(key)

    await eventually(lambda: len({name for _, name, _ in sent.commands}) == 3)
    assert sent.named("orbit")[0]["dx"] > 0 and sent.named("orbit")[0]["dy"] == 0
    assert sent.named("pan")[0]["dy"] > 0 and sent.named("pan")[0]["dx"] == 0
    assert sent.named("dolly")[0]["factor"] < 1


async def test_control_and_the_wheel_zoom_the_picture_and_move_no_camera(
    tab: Tab, running_callboard: RunningCallboard
) -> None:
    sent = await open_viewport(tab, running_callboard.url)
    scale = f"() => new DOMMatrix(getComputedStyle(document.querySelector('{STAGE} canvas')).transform).a"
    fitted = await tab.page.evaluate(scale)
    x, y = await middle(tab)

    await tab.page.mouse.move(x, y)
    await tab.page.keyboard.down("Control")
    await tab.page.mouse.wheel(0, -300)
    await tab.until(f"(fitted) => ({scale})() > fitted * 1.2", fitted)
    zoomed = await tab.page.evaluate(scale)
    left = f"() => document.querySelector('{STAGE} canvas').getBoundingClientRect().left"
    before = await tab.page.evaluate(left)
    await drag(tab, 40, 0, steps=8)
    await tab.page.keyboard.up("Control")
    moved = await tab.page.evaluate(left) - before
    await tab.page.click("#render [aria-label='1:1, one pixel to one']")
    actual = await tab.page.evaluate(scale)
    await tab.page.focus(STAGE)
    await tab.page.keyboard.press("0")

    assert zoomed > fitted * 1.2 and moved == pytest.approx(36, abs=5)
    assert actual == pytest.approx(1.0) and await tab.page.evaluate(scale) == pytest.approx(fitted, abs=0.01)
    assert sent.commands == []


TOUCH = """([selector, frames]) => {
  const stage = document.querySelector(selector);
  const { left, top, width, height } = stage.getBoundingClientRect();
  const send = (type, id, [x, y]) => stage.dispatchEvent(new PointerEvent(type, {
    pointerId: id, pointerType: "touch", isPrimary: id === 1, bubbles: true, cancelable: true,
    button: type === "pointermove" ? -1 : 0, clientX: left + width / 2 + x, clientY: top + height / 2 + y,
  }));
  frames[0].forEach((place, finger) => send("pointerdown", finger + 1, place));
  for (const frame of frames) frame.forEach((place, finger) => send("pointermove", finger + 1, place));
  frames.at(-1).forEach((place, finger) => send("pointerup", finger + 1, place));
}"""


async def test_one_finger_orbits_and_two_fingers_pan_and_dolly(tab: Tab, running_callboard: RunningCallboard) -> None:
    sent = await open_viewport(tab, running_callboard.url)

    await tab.page.evaluate(TOUCH, [STAGE, [[[0, 0]], [[5, 0]], [[55, 0]]]])
    await eventually(lambda: sent.named("orbit"))
    orbits = len(sent.commands)
    await tab.page.evaluate(TOUCH, [STAGE, [[[-40, 0], [40, 0]], [[-60, 20], [100, 20]]]])
    await eventually(lambda: sent.named("dolly") and sent.named("pan"))

    assert sent.total("orbit", "dx") == pytest.approx(0.5, abs=0.05)
    # The fingers are twice as far apart as before: half the distance. Their middle went right and down.
    assert sent.named("dolly")[0]["factor"] == pytest.approx(0.5, abs=0.02)
    assert sent.total("pan", "dx") > 0 and sent.total("pan", "dy") > 0
    assert len(sent.named("orbit")) == orbits


# Clicks the button of a region as soon as one is shown; `cleared` is what the region's caption said.
CLEAR = """() => {
  window.cleared = new Promise((done) => {
    const look = () => {
      const button = document.querySelector("#render .region:not(.draft) .clear");
      if (!button?.checkVisibility()) return requestAnimationFrame(look);
      done(button.closest(".region").querySelector(".caption").innerText);
      button.click();
    };
    look();
  });
}"""


async def test_a_region_is_dragged_in_whole_pixels_shown_and_cleared(
    tab: Tab, running_callboard: RunningCallboard
) -> None:
    sent = await open_viewport(tab, running_callboard.url)
    await tab.page.click("#render [aria-label^='Render region']")
    x, y = await middle(tab)
    place = """() => {
      const canvas = document.querySelector("#render canvas");
      const { left, top, width } = canvas.getBoundingClientRect();
      return [left, top, width / canvas.width];
    }"""
    left, top, scale = await tab.page.evaluate(place)
    sent.answers["set_region"] = {"region": {"left": 100, "top": 120, "right": 300, "bottom": 220, "feather": 0}}
    sent.answers["clear_region"] = {"region": None}
    # At once: the Octane itself knows of no region, and says so before long.
    await tab.page.evaluate(CLEAR)

    await tab.page.mouse.move(x, y)
    await tab.page.mouse.down()
    await tab.page.mouse.move(x + 120, y + 90, steps=6)
    dashed = await tab.page.is_visible("#render .region.draft")
    await tab.page.mouse.up()
    caption = await tab.page.evaluate("cleared")

    (region,) = sent.named("set_region")
    assert all(isinstance(edge, int) for edge in region.values()) and dashed
    assert region["left"] == pytest.approx((x - left) / scale, abs=2)
    assert region["bottom"] == pytest.approx((y + 90 - top) / scale, abs=2)
    assert caption == "200 × 100 at 100, 120"
    await tab.page.wait_for_selector("#render .region:not(.draft)", state="hidden")
    assert sent.named("clear_region") == [{}]


async def test_a_pick_names_the_pixel_and_shows_what_was_found(tab: Tab, running_callboard: RunningCallboard) -> None:
    sent = await open_viewport(tab, running_callboard.url)
    result = {
        "what": "material",
        "found": True,
        "node": {"handle": 1000020, "type": 17},
        "depth": 3.2,
        "distance": 3.25,
    }
    sent.answer = {"render": "rendering", "result": result}
    await tab.page.click("#render [aria-label='Pick a pixel']")
    await tab.page.select_option("#render [aria-label='What to pick']", "material")
    width = await tab.page.evaluate(f"document.querySelector('{STAGE} canvas')?.width")

    await tab.page.click(STAGE)
    await tab.page.wait_for_selector("#render .picked")

    (pick,) = sent.named("pick")
    assert pick["what"] == "material" and pick["x"] == pytest.approx(width / 2, abs=2)
    said = await tab.page.inner_text("#render .picked")
    assert said == f"Material at {pick['x']}, {pick['y']}: node 1000020, distance 3.25"


async def test_a_refused_command_is_explained_under_the_buttons(tab: Tab, running_callboard: RunningCallboard) -> None:
    sent = await open_viewport(tab, running_callboard.url)
    sent.status, sent.answer = 409, {"code": "command_refused", "detail": "octane has no render target"}

    await tab.page.click("#render [aria-label='Restart from no samples']")

    refused = tab.page.locator("#render .refused:visible")
    await refused.wait_for()
    assert await refused.inner_text() == "Restart from no samples: octane has no render target."


async def test_the_help_lists_the_keys_and_closes_by_escape(tab: Tab, running_callboard: RunningCallboard) -> None:
    await open_viewport(tab, running_callboard.url)
    await tab.page.focus(STAGE)

    await tab.page.keyboard.press("?")
    text = await tab.page.inner_text("#render dialog.help")
    await tab.page.keyboard.press("Escape")

    assert "Shift + arrows" in text and "dolly" in text
    assert not await tab.page.is_visible("#render dialog.help") and "viewport" in tab.page.url


async def test_a_second_viewport_shows_the_same_octane_beside_the_first(
    tab: Tab, running_callboard: RunningCallboard
) -> None:
    await open_viewport(tab, running_callboard.url)

    await tab.page.click("#render [aria-label='Second viewport']")
    await tab.until(
        f"() => [...document.querySelectorAll('{STAGE} canvas')].filter(({{ width }}) => width > 64).length === 2"
    )
    await tab.page.click("#render [aria-label='Second viewport']")

    assert await tab.page.locator(STAGE).count() == 1


CONDITIONS: list[tuple[dict[str, Any], str, str]] = [
    ({"status": "absent", "address": "10.0.0.7:51022"}, "Absent", "Enable GRPC Server"),
    ({"status": "refused", "reason": "12 UNIMPLEMENTED: no callbacks here"}, "Refused", "no callbacks here"),
    ({"status": "busy"}, "Busy", "compiling, or shows a dialog"),
]


@pytest.fixture
def device(running_callboard: RunningCallboard, entity: str) -> Iterator[str]:
    """An Octane of which only events exist; it is gone from the list afterwards as far as other tests look."""
    yield f"zz-{entity}"


async def tell(url: str, device: str, kind: str, data: dict[str, Any]) -> None:
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=PATIENCE) as http:
        body = {"subject": f"octane.{device}.{kind}", "type": kind, "data": data}
        (await http.post("/events", json=body)).raise_for_status()


async def choose(tab: Tab, url: str, device: str) -> None:
    await tab.page.goto(f"{url}/console/renders")
    await tab.page.wait_for_selector("#render .stage", state="attached")
    await tab.until("(device) => callboard.store.octanes.has(device)", device)
    await tab.until(
        "(device) => [...document.querySelectorAll('#render .tools option')].some(({ value }) => value === device)",
        device,
    )
    await tab.page.select_option("#render [aria-label='Which render']", device)


async def test_each_condition_of_an_octane_is_said_with_what_to_do(
    tab: Tab, running_callboard: RunningCallboard, device: str
) -> None:
    await tell(running_callboard.url, device, "state", {"status": "connected"})
    await choose(tab, running_callboard.url, device)

    for state, word, text in CONDITIONS:
        await tell(running_callboard.url, device, "state", state)
        await tab.until("(word) => document.querySelector('#render .badge').textContent === word", word)

        assert text in await tab.page.inner_text("#render .condition")
        assert await tab.page.get_attribute("#render [aria-label^='Restart']", "aria-disabled") == "true"


async def test_after_a_failure_no_speed_and_no_remaining_time_are_shown(
    tab: Tab, running_callboard: RunningCallboard, device: str
) -> None:
    url = running_callboard.url
    figures = {"samples": 60, "max_samples": 500, "samples_per_second": 4e6, "render_time": 5.0}
    await tell(url, device, "state", {"status": "connected"})
    await tell(url, device, "statistics", {"state": "rendering", "estimated_render_time": 40.0, **figures})
    await choose(tab, url, device)
    await tab.until("() => document.querySelector('#render [data-fact=speed] dd').textContent === '4.00 Ms/s'")

    fault = {"name": "RTX 4090", "error": "out of memory", "message": "no memory left"}
    await tell(url, device, "render_failure", {"reason": "no memory left", "devices": [fault]})
    await tell(url, device, "statistics", {"state": "stopped", "estimated_render_time": 40.0, **figures})
    await tab.until("() => document.querySelector('#render [data-fact=speed] dd').textContent === '–'")

    assert await tab.page.inner_text("#render [data-fact=remaining] dd") == "–"
