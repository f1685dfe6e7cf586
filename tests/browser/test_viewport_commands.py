"""Tests of what the viewport's buttons, lists and drawer lead to in a simulated Octane."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from PIL import Image
from playwright.async_api import Browser, Request, Route

from protos import octane_render_pb2 as engine
from protos import octane_types_pb2 as wire
from tests.browser.conftest import Tab
from tests.browser.studio import SIMULATED, STAGE, Studio, person, running_studio, shown
from tests.waiting import eventually

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def studio(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Studio]:
    async with running_studio(tmp_path_factory) as studio:
        yield studio


@pytest_asyncio.fixture(loop_scope="module")
async def alice(browser: Browser, studio: Studio) -> AsyncIterator[Tab]:
    async with person(browser, studio, "alice") as tab:
        yield tab


CONTROLS = "() => callboard.store.octanes.get('main').controls"


async def test_a_picture_is_saved_on_octanes_computer_and_a_refusal_says_why(alice: Tab, studio: Studio) -> None:
    await alice.page.click("#render [aria-label='Settings']")
    saving = alice.page.locator("#render section[aria-label^='Save on']")
    await saving.get_by_title("Format").select_option("png16")

    await saving.get_by_title("Path on").fill(str(studio.renders / "shot"))
    await alice.page.click("#render [aria-label='Save there']")
    done = saving.get_by_role("status")
    await done.wait_for()

    path = studio.renders / "shot.png"
    assert await done.inner_text() == f"Saved as {path}"
    with Image.open(path) as picture:
        assert picture.size == (SIMULATED.width, SIMULATED.height)

    await saving.get_by_title("Path on").fill("/elsewhere/shot.png")
    await alice.page.click("#render [aria-label='Save there']")
    refused = saving.get_by_role("alert")
    await refused.wait_for()

    assert "the simulator saves only below" in await refused.inner_text()
    assert not await done.is_visible()


async def test_an_answer_that_arrives_after_the_event_of_a_newer_change_is_not_shown(alice: Tab) -> None:
    await alice.until(f"{CONTROLS}?.revision > 0")
    answer = """(by) => {
        const { store } = callboard, known = store.octanes.get('main').controls;
        store.control('main', { ...known, clay_mode: 'late', revision: known.revision + by });
        return store.octanes.get('main').controls.clay_mode;
    }"""

    older = await alice.page.evaluate(answer, -1)
    newer = await alice.page.evaluate(answer, 1)

    assert older != "late"
    assert newer == "late"


async def test_statistics_of_the_gpu_are_asked_when_they_are_opened_and_closed_by_escape(
    alice: Tab, studio: Studio
) -> None:
    before = studio.octane.calls["getTexturesStatistics"]
    await alice.page.click("#render [aria-label='GPU statistics']")
    dialog = alice.page.locator("dialog.reports")
    await dialog.get_by_role("table", name="Textures").wait_for()

    device = await dialog.get_by_role("table", name="Devices").locator("tbody tr").inner_text()
    geometry = await dialog.get_by_role("table", name="Geometry").inner_text()
    memory = await dialog.get_by_role("table", name="Memory of device 0").inner_text()
    assert device.startswith(studio.octane.device) and "GB" in device
    assert "Triangles\t2" in geometry and "B" in memory
    assert studio.octane.calls["getTexturesStatistics"] == before + 1

    await dialog.get_by_role("button", name="Refresh").click()
    await eventually(lambda: studio.octane.calls["getTexturesStatistics"] == before + 2)
    await alice.page.keyboard.press("Escape")
    await dialog.wait_for(state="hidden")


async def test_a_statistic_that_octane_declines_leaves_the_others(alice: Tab) -> None:
    async def decline(route: Route, request: Request) -> None:
        await route.fulfill(status=409, json={"code": "command_refused", "detail": "not available on this Octane"})

    await alice.page.route("**/commands/octane/main/texture_statistics*", decline)
    await alice.page.click("#render [aria-label='GPU statistics']")
    dialog = alice.page.locator("dialog.reports")
    await dialog.get_by_text("not available on this Octane").wait_for()

    assert await dialog.get_by_role("table", name="Geometry").is_visible()


async def test_a_film_region_is_drawn_shown_to_all_and_cleared(alice: Tab, studio: Studio, browser: Browser) -> None:
    async with person(browser, studio, "bob") as bob:
        await alice.page.click("#render [aria-label^='Film region']")
        box = await alice.page.locator(STAGE).bounding_box()
        assert box is not None
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        await alice.page.mouse.move(x, y)
        await alice.page.mouse.down()
        await alice.page.mouse.move(x + 80, y + 60, steps=8)
        await alice.page.mouse.up()

        await bob.page.wait_for_selector("#render .film-region")
        film = (await bob.page.evaluate(f"({CONTROLS})()"))["film_region"]
        caption = await bob.page.inner_text("#render .film-region .caption")
        assert film["left"] == pytest.approx(96, abs=2) and film["top"] == pytest.approx(54, abs=2)
        size = f"{film['right'] - film['left']} × {film['bottom'] - film['top']}"
        assert caption == f"Film {size} at {film['left']}, {film['top']}"
        assert not studio.octane.region.active
        await bob.page.click("#render .film-region .clear")

        await alice.page.wait_for_selector("#render .film-region", state="hidden")
        assert (await alice.page.evaluate(f"({CONTROLS})()"))["film_region"] is None


async def test_a_stopped_render_is_started_again(alice: Tab) -> None:
    await alice.page.click("#render [aria-label^='Stop']")
    await shown(alice, "Stopped")

    await alice.page.click("#render [aria-label='Start']")
    await shown(alice, "Rendering")


async def test_a_preset_turns_the_camera_and_reset_brings_it_back(alice: Tab, studio: Studio) -> None:
    first = studio.octane.view

    def from_the_top() -> bool:
        position, target = studio.octane.view.position, studio.octane.view.target
        return position[1] > target[1] and abs(position[0] - target[0]) < 0.1

    assert not from_the_top()
    await alice.page.select_option("#render [aria-label='Look from']", "top")
    await eventually(from_the_top)
    # The same preset can be chosen again.
    assert await alice.page.input_value("#render [aria-label='Look from']") == ""
    await alice.page.click("#render [aria-label='Reset the camera']")

    await eventually(lambda: studio.octane.view.position == pytest.approx(first.position, abs=1e-3))


MODES: list[tuple[str, str, str, int, int]] = [
    ("Priority", "high", "priority", engine.ApiRenderEngine.PRIORITY_HIGH, engine.ApiRenderEngine.PRIORITY_MEDIUM),
    ("Sub-sampling", "2x2", "sub_sampling", wire.SUBSAMPLEMODE_2X2, wire.SUBSAMPLEMODE_NONE),
    ("Clay", "grey", "clay", wire.CLAYMODE_GREY, wire.CLAYMODE_NONE),
]


@pytest.mark.parametrize(("title", "value", "field", "number", "usual"), MODES)
async def test_a_list_of_the_drawer_sets_a_mode_of_octane(
    alice: Tab, studio: Studio, title: str, value: str, field: str, number: int, usual: int
) -> None:
    await alice.page.click("#render [aria-label='Settings']")
    choice = alice.page.locator(f"#render .settings select[title='{title}']")
    first = await choice.input_value()

    await choice.select_option(value)
    await eventually(lambda: getattr(studio.octane.controls, field) == number)
    await choice.select_option(first)

    await eventually(lambda: getattr(studio.octane.controls, field) == usual)


async def test_a_chosen_background_is_asked_of_the_server_and_kept(alice: Tab) -> None:
    opened: list[str] = []
    alice.page.on("websocket", lambda socket: opened.append(socket.url))
    await alice.page.click("#render [aria-label='Settings']")

    await alice.page.select_option("#render select[title=Background]", "checker")
    await eventually(lambda: any("background=checker" in url for url in opened))
    await alice.until(f"() => document.querySelector('{STAGE} canvas')?.width === {SIMULATED.width}")
    await alice.page.reload()
    await shown(alice, "Rendering")

    assert await alice.page.input_value("#render select[title=Background]") == "checker"


async def test_a_command_that_the_actor_does_not_have_has_no_button(alice: Tab) -> None:
    async def without(route: Route, request: Request) -> None:
        answer: dict[str, Any] = await (await route.fetch()).json()
        missing = ("stop", "set_clay_mode")
        answer["commands"] = [each for each in answer["commands"] if each.get("name") not in missing]
        await route.fulfill(json=answer)

    stop = alice.page.locator("#render [aria-label^='Stop']")
    assert await stop.is_visible()

    await alice.page.route("**/commands", without)
    await alice.page.reload()
    await alice.page.locator("#render [aria-label^='Restart']").wait_for()
    await stop.wait_for(state="hidden")
    await alice.page.click("#render [aria-label='Settings']")

    await alice.page.locator("#render .settings select[title=Clay]").wait_for(state="hidden")
    assert await alice.page.locator("#render .settings select[title=Priority]").is_visible()
    await alice.page.unroute_all(behavior="ignoreErrors")


async def test_the_picture_is_copied_to_the_clipboard_as_png(alice: Tab) -> None:
    await alice.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await alice.page.click("#render [aria-label='Copy to the clipboard']")
    await alice.until("() => !document.querySelector('#render [aria-label^=Copy][aria-busy]')")
    assert not await alice.page.is_visible("#render .column > .refused")

    read = """async () => {
      const [item] = await navigator.clipboard.read();
      return [...new Uint8Array(await (await item.getType("image/png")).arrayBuffer())];
    }"""
    with Image.open(io.BytesIO(bytes(await alice.page.evaluate(read)))) as picture:
        assert picture.size == (SIMULATED.width, SIMULATED.height)


async def test_the_panel_fills_the_screen_and_its_button_ends_it(alice: Tab) -> None:
    full = "() => document.fullscreenElement?.classList.contains('render') && document.fullscreenElement.classList.contains('full')"
    await alice.page.focus(STAGE)
    await alice.page.keyboard.press("f")
    await alice.until(full)
    height = await alice.page.evaluate("document.querySelector('#render').clientHeight / innerHeight")
    await alice.page.click("#render [aria-label='Full screen']")

    await alice.until("() => !document.fullscreenElement && !document.querySelector('#render.full')")
    assert height == pytest.approx(1, abs=0.01)
