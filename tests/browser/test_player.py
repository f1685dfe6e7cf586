"""Tests of the camera player (`/client/player.js`) in a real browser, against a real camera actor and edge."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from io import BytesIO
from itertools import count, pairwise
from typing import Any

import pytest
import pytest_asyncio
from PIL import Image

from router.broker import Broker
from router.event import Event
from router.frame import frame_subject, pack
from tests.browser.conftest import Tab, Wire
from tests.e2e.tree import RunningCallboard, running_tree
from tests.waiting import eventually, unhurried

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

# A page of the same origin that does nothing by itself.
BARE = "/client/package.json"
# Plays on a canvas and notes each picture: its header, and the number that is burnt into what the canvas shows.
PLAY = """async ([url, options]) => {
  const { CameraPlayer } = await import("/client/player.js");
  const canvas = document.body.appendChild(document.createElement("canvas"));
  const cell = 8;
  window.seen = [];
  window.began = performance.now();
  window.states = [];
  const burnt = () => {
    const pixels = canvas.getContext("2d").getImageData(0, canvas.height - 2 * cell, 36 * cell, 2 * cell).data;
    let number = 0;
    for (let column = 4; column < 36; column += 1) {
      const at = (4 * 36 * cell + column * cell + 4) * 4;
      number = number * 2 + (pixels[at + 1] > 127 ? 1 : 0);
    }
    return number;
  };
  window.player = new CameraPlayer(canvas, url, {
    ...options,
    onFrame: ({ seq, life, fresh, time, width }) =>
      seen.push({ seq, life: life ?? 0, fresh, time, width, burnt: burnt(), at: performance.now() }),
    onState: ({ phase, transport, reason, rung, passed }) => states.push({ phase, transport, reason, rung, passed }),
  });
  player.start();
}"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def callboard(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningCallboard]:
    """A Callboard with a small simulated camera; tests may kill its actor."""
    tree = running_tree(
        tmp_path_factory.mktemp("player"),
        *("--only", "edge,camera"),
        CAMERA_WIDTH="320",
        CAMERA_HEIGHT="240",
        CAMERA_FPS="15",
    )
    running = await asyncio.to_thread(tree.__enter__)
    yield running
    await asyncio.to_thread(tree.__exit__, None, None, None)


async def play(tab: Tab, url: str, **options: Any) -> None:
    await tab.page.goto(url + BARE)
    await tab.page.evaluate(PLAY, [f"{url}/cameras/main", options])


async def seen(tab: Tab) -> list[dict[str, Any]]:
    pictures: list[dict[str, Any]] = await tab.page.evaluate("seen")
    return pictures


def in_order(pictures: list[dict[str, Any]]) -> bool:
    places = [(each["life"], each["seq"]) for each in pictures]
    return all(before < after for before, after in pairwise(places))


@pytest.mark.parametrize("transport", ["webcodecs", "mse", "jpeg", "mjpeg"])
async def test_decoded_pictures_rise_and_each_is_the_one_that_its_header_names(
    tab: Tab, callboard: RunningCallboard, transport: str
) -> None:
    await play(tab, callboard.url, prefer=transport)

    await tab.until("() => seen.length > 30")

    pictures = await seen(tab)
    assert await tab.page.evaluate("player.state.transport") == transport
    assert [each["burnt"] for each in pictures] == [each["seq"] for each in pictures]
    assert in_order(pictures)


async def test_a_browser_without_webcodecs_plays_by_the_next_best_and_says_why(
    tab: Tab, callboard: RunningCallboard
) -> None:
    await tab.page.add_init_script("delete globalThis.VideoDecoder; delete globalThis.MediaSource;")
    await play(tab, callboard.url)

    await tab.until("() => seen.length > 5")

    state = await tab.page.evaluate("player.state")
    assert state["transport"] == "jpeg"
    assert next((each["name"], each["reason"]) for each in state["passed"]) == (
        "webcodecs",
        "this browser has no WebCodecs",
    )


async def test_a_hidden_tab_rests_and_goes_on_when_it_is_looked_at(tab: Tab, callboard: RunningCallboard) -> None:
    await play(tab, callboard.url)
    await tab.until("() => seen.length > 5")

    await tab.page.evaluate(
        """() => {
          window.hidden = true;
          Object.defineProperty(document, "hidden", { get: () => window.hidden });
          document.dispatchEvent(new Event("visibilitychange"));
        }"""
    )
    await tab.until("() => player.state.phase === 'paused'")
    count = len(await seen(tab))
    received = await tab.page.evaluate("player.tally.totals.received")
    # Longer than the second in which a camera repeats its picture.
    await tab.page.wait_for_timeout(1_500)
    assert await tab.page.evaluate("player.tally.totals.received") == received
    await tab.page.evaluate("() => { window.hidden = false; document.dispatchEvent(new Event('visibilitychange')); }")

    await tab.until("(count) => seen.length > count + 5", count)
    assert in_order(await seen(tab))


async def test_a_cut_wire_is_mended_within_three_seconds(
    tab: Tab, callboard: RunningCallboard, wire: Callable[[str], Wire]
) -> None:
    async with wire(callboard.url) as relay:
        await play(tab, relay.url)
        await tab.until("() => seen.length > 10")

        relay.cut()
        await tab.until("() => player.state.phase === 'waiting'")
        relay.mend()
        count = len(await seen(tab))
        await tab.until("(count) => seen.length > count + 3", count)

        assert in_order(await seen(tab))


@pytest.mark.parametrize("transport", ["webcodecs", "mse", "jpeg", "mjpeg"])
async def test_no_picture_goes_backwards_over_the_death_of_the_actor(
    tab: Tab, callboard: RunningCallboard, transport: str
) -> None:
    await play(tab, callboard.url, prefer=transport)
    await tab.until("() => seen.length > 10")
    victim = callboard.children()["camera"]

    os.kill(victim, signal.SIGKILL)
    await eventually(lambda: callboard.children().get("camera") not in (None, victim))
    count = len(await seen(tab))
    await tab.until("(count) => seen.length > count + 10", count)

    pictures = await seen(tab)
    assert in_order(pictures)
    assert [each["burnt"] for each in pictures] == [each["seq"] for each in pictures]
    assert len({each["life"] for each in pictures}) > 1


@asynccontextmanager
async def jpeg_published(callboard: RunningCallboard, camera: str) -> AsyncIterator[None]:
    """A program that publishes the state of a camera and real JPEGs, and no H.264."""
    with BytesIO() as file:
        Image.new("RGB", (320, 240), (40, 90, 160)).save(file, "JPEG")
        picture = file.getvalue()
    async with Broker(unhurried(callboard.nats_url), "test") as broker:
        await broker.publish(Event.new(f"camera.{camera}.state", {"status": "streaming"}))
        header = {"life": 1, "width": 320, "height": 240, "format": "jpeg", "fresh": True}

        async def run() -> None:
            for seq in count():
                await broker.frame(frame_subject("camera", camera), pack({**header, "seq": seq}, picture))
                await asyncio.sleep(1 / 15)

        publishing = asyncio.ensure_future(run())
        yield
        publishing.cancel()


async def test_a_program_that_publishes_jpeg_only_is_seen_within_seconds(
    tab: Tab, callboard: RunningCallboard, entity: str
) -> None:
    async with jpeg_published(callboard, entity):
        await tab.page.goto(callboard.url + BARE)
        await tab.page.evaluate(PLAY, [f"{callboard.url}/cameras/{entity}", {}])
        await tab.until("() => seen.length > 5")

    assert await tab.page.evaluate("player.state.transport") == "jpeg"
    # Two tries of each transport of H.264 would take 24 s.
    assert await tab.page.evaluate("seen[0].at - began") < 5_000
