"""Tests of the camera's recordings and stills on the page where the server wants tokens, in a real browser."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser

from edge.auth.grants import Grants
from edge.auth.token import mint
from tests.axe import serious
from tests.browser.conftest import Tab
from tests.browser.test_camera_view import BADGE
from tests.e2e.tree import RunningCallboard, running_tree
from tests.waiting import PATIENCE, eventually

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

SECRET = secrets.token_hex(32)
ALL = {"read": ["camera.>"], "command": ["camera.>"]}
SEGMENTS = "(count) => document.querySelectorAll('#camera .segment:not(.open)').length === count"
POSITION = "() => document.querySelector('video.playback').currentTime"
# Plays on from there also where it has come to the end meanwhile, and rests.
SEEK = """(place) => {
  const video = document.querySelector("video.playback");
  video.currentTime = place;
  return video.play();
}"""


def token(**grants: Any) -> str:
    return mint(SECRET, "ada", Grants.of(**grants), 600.0, None, None)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def callboard(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningCallboard]:
    """A Callboard that wants tokens, with a small camera that has recorded some seconds."""
    size = {"CAMERA_WIDTH": "320", "CAMERA_HEIGHT": "240", "CAMERA_FPS": "15"}
    tree = running_tree(tmp_path_factory.mktemp("tokens"), "--only", "edge,camera", JWT_SECRET=SECRET, **size)
    running = await asyncio.to_thread(tree.__enter__)
    await record(running.url)
    yield running
    await asyncio.to_thread(tree.__exit__, None, None, None)


async def record(url: str) -> None:
    """Makes a recording of a few seconds."""
    bearer = {"Authorization": f"Bearer {token(**ALL)}"}
    async with httpx.AsyncClient(base_url=url, trust_env=False, headers=bearer, timeout=PATIENCE) as http:

        async def command(name: str, **arguments: Any) -> bool:
            return (await http.post(f"/commands/camera/main/{name}", json=arguments)).is_success

        async def finished() -> bool:
            listed = (await http.get("/recordings")).json()["recordings"]
            return any(each["status"] != "recording" for each in listed)

        await eventually(lambda: command("start_recording", seconds=5))
        await eventually(finished)


@asynccontextmanager
async def opened(browser: Browser, url: str, proof: str) -> AsyncIterator[tuple[Tab, list[str]]]:
    """The page of somebody with a token, and the addresses that it asks for."""
    context = await browser.new_context(viewport={"width": 1440, "height": 900})
    context.set_default_timeout(PATIENCE * 1000)
    tab, addresses = Tab(await context.new_page()), []
    tab.page.on("console", tab.heard)
    tab.page.on("pageerror", tab.failed)
    tab.page.on("request", lambda request: addresses.append(request.url))
    tab.page.on("websocket", lambda socket: addresses.append(socket.url))
    await tab.page.goto(f"{url}/console/cameras#token={proof}")
    yield tab, addresses
    await context.close()


async def test_with_a_token_recordings_are_listed_sought_and_downloaded_and_stills_saved(
    browser: Browser, callboard: RunningCallboard, tmp_path: Path
) -> None:
    proof = token(**ALL)
    async with opened(browser, callboard.url, proof) as (tab, addresses):
        await tab.until(BADGE, "Live")
        await tab.until(SEGMENTS, 1)
        await tab.page.focus("#camera .track")

        await tab.page.keyboard.press("PageUp")
        await tab.until(f"() => ({POSITION})() > 0.2")
        # Each of these reads another range: the ticket of the address is spent by then.
        # A busy machine may have recorded less than was asked for.
        far = 0.6 * await tab.page.evaluate("document.querySelector('video.playback').duration")
        for _ in range(4):
            await tab.page.evaluate(SEEK, far)
            await tab.until(f"(far) => ({POSITION})() > far", far)
            await tab.page.evaluate(SEEK, 0.1)
            await tab.until(f"() => ({POSITION})() > 0.1")
        async with tab.page.expect_download() as download:
            await tab.page.click("#camera [aria-label='Download the recording']")
        film = tmp_path / "film.mp4"
        await (await download.value).save_as(film)
        await tab.page.focus("#camera .track")
        await tab.page.keyboard.press("End")
        async with tab.page.expect_download() as still:
            await tab.page.click("#camera [aria-label='Save a still']")
        picture = tmp_path / "still.jpg"
        await (await still.value).save_as(picture)

        assert film.read_bytes()[4:8] == b"ftyp" and picture.read_bytes()[:2] == b"\xff\xd8"
        assert (await download.value).suggested_filename.endswith(".mp4")
        assert [address for address in addresses if proof in address.partition("#")[0]] == []
        assert [address for address in addresses if "token=" in address.partition("#")[0]] == []
        assert tab.complaints == []


async def test_a_recording_is_played_twice_and_downloaded_twice_by_tickets_of_their_own(
    browser: Browser, callboard: RunningCallboard
) -> None:
    spent: list[str] = []
    async with opened(browser, callboard.url, token(**ALL)) as (tab, addresses):
        await tab.until(SEGMENTS, 1)
        for _ in range(2):
            await tab.page.focus("#camera .track")
            await tab.page.keyboard.press("PageUp")
            await tab.until(f"() => ({POSITION})() > 0.2")
            async with tab.page.expect_download() as download:
                await tab.page.click("#camera [aria-label='Download the recording']")
            saved = await download.value
            assert await saved.failure() is None
            spent.append(saved.url.rpartition("ticket=")[2])
            await tab.page.focus("#camera .track")
            await tab.page.keyboard.press("End")
            await tab.until(BADGE, "Live")

        spent += {address.rpartition("ticket=")[2] for address in addresses if "/recordings/" in address}
    assert len(spent) == len(set(spent)) == 4


async def test_who_may_only_look_gets_no_buttons_that_would_be_refused(
    browser: Browser, callboard: RunningCallboard
) -> None:
    async with opened(browser, callboard.url, token(read=["camera.>"])) as (tab, _):
        await tab.until(BADGE, "Live")
        await tab.until(SEGMENTS, 1)
        await tab.page.focus("#camera .track")
        await tab.page.keyboard.press("PageUp")
        await tab.until(f"() => ({POSITION})() > 0.2")

        assert await tab.page.is_hidden("#camera [aria-label='Delete the recording']")
        assert await tab.page.is_visible("#camera [aria-label='Download the recording']")
        assert await tab.page.is_hidden("#camera [aria-label='Record']")
        assert await serious(tab.page) == []


async def test_without_a_token_the_page_asks_for_one_and_with_one_for_something_else_it_says_so(
    browser: Browser, callboard: RunningCallboard
) -> None:
    async with opened(browser, callboard.url, "") as (tab, _):
        await tab.page.wait_for_selector(".login >> text=This server shows events to people with a token.")

        assert await tab.page.is_hidden("#camera")
        assert await serious(tab.page) == []
    async with opened(browser, callboard.url, token(read=["agent.>"])) as (tab, _):
        await tab.page.wait_for_selector("#camera >> text=Your token may not read cameras")

        assert await serious(tab.page) == []
