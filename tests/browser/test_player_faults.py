"""Tests of the camera player on a wire that misbehaves: lost and spoilt packets, pictures out of order, formats that are not there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from tests.browser.cameraman import Cameraman
from tests.browser.conftest import Tab
from tests.browser.test_player import play, seen

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(loop_scope="module")
async def camera() -> AsyncIterator[Cameraman]:
    made = Cameraman()
    runner = web.AppRunner(made.app(), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    made.url = f"http://{host}:{port}"
    yield made
    await runner.cleanup()


def in_order(pictures: list[dict[str, Any]]) -> bool:
    places = [(each["life"], each["seq"]) for each in pictures]
    return all(before < after for before, after in pairwise(places))


def wrongly_numbered(pictures: list[dict[str, Any]]) -> list[tuple[int, int]]:
    """The numbers of headers, and those that were burnt into the pictures painted with them, where the two differ."""
    return [(each["seq"], each["burnt"]) for each in pictures if each["burnt"] != each["seq"]]


@pytest.mark.parametrize("transport", ["webcodecs", "mse", "jpeg"])
async def test_each_painted_picture_is_the_one_that_its_header_names(
    tab: Tab, camera: Cameraman, transport: str
) -> None:
    await play(tab, camera.url, prefer=transport)

    await tab.until("() => seen.length > 40")

    pictures = await seen(tab)
    assert await tab.page.evaluate("player.state.transport") == transport
    assert in_order(pictures) and wrongly_numbered(pictures) == []
    # What was painted is acknowledged with its age, so that the server sends no more than can be shown.
    aged = [each for each in camera.said if each["control"] == "shown" and "age" in each]
    assert len(aged) > 20 and all(0 <= each["age"] < 5_000 for each in aged)


@pytest.mark.parametrize("transport", ["webcodecs", "mse", "jpeg"])
async def test_nothing_goes_backwards_where_the_actor_begins_anew(tab: Tab, camera: Cameraman, transport: str) -> None:
    await play(tab, camera.url, prefer=transport)
    await tab.until("() => seen.length > 20")

    camera.restart()
    await tab.until("(life) => seen.filter((each) => each.life === life).length > 10", camera.life)

    pictures = await seen(tab)
    assert in_order(pictures) and wrongly_numbered(pictures) == []
    assert len({each["life"] for each in pictures}) == 2


async def test_a_picture_of_before_is_never_painted(tab: Tab, camera: Cameraman) -> None:
    await play(tab, camera.url, prefer="jpeg")
    await tab.until("() => seen.length > 5")

    camera.repeat = 10
    await tab.until("() => player.tally.totals.dropped.late >= 5")

    assert in_order(await seen(tab))


async def test_a_lost_packet_is_waited_out_to_the_next_key(tab: Tab, camera: Cameraman) -> None:
    await play(tab, camera.url, prefer="webcodecs")
    await tab.until("() => seen.length > 10")

    camera.lose = 2
    await tab.until("() => player.tally.totals.dropped.decoder > 0")
    count = len(await seen(tab))
    await tab.until("(count) => seen.length > count + 20", count)

    pictures = await seen(tab)
    assert in_order(pictures) and wrongly_numbered(pictures) == []
    assert camera.formats == ["h264"], "the connection stands"


async def test_a_decoder_that_fails_is_made_anew_within_three_seconds(tab: Tab, camera: Cameraman) -> None:
    await play(tab, camera.url)
    await tab.until("() => seen.length > 10 && player.state.transport === 'webcodecs'")

    camera.spoil = 3
    await tab.until("() => states.some(({ phase }) => phase === 'waiting')")
    camera.spoil = 0
    count = len(await seen(tab))
    await tab.until("(count) => seen.length > count + 3", count)

    assert in_order(await seen(tab))


async def test_a_server_without_h264_is_watched_by_jpeg_and_the_reasons_are_said(tab: Tab, camera: Cameraman) -> None:
    camera.without = {"h264", "mp4"}
    await play(tab, camera.url)

    await tab.until("() => seen.length > 5")

    state = await tab.page.evaluate("player.state")
    assert (state["transport"], state["label"]) == ("jpeg", "JPEG over WebSocket")
    assert {each["name"]: each["reason"] for each in state["passed"]} == {
        "webcodecs": "the server sends jpeg instead of H.264",
        "mse": "the server sends jpeg instead of MP4",
    }


# Milliseconds to the first picture: two tries of each transport of H.264 would take 24 s.
SOON = 5_000
FIRST = "() => seen[0]?.at - began"


async def test_a_camera_that_says_it_has_no_h264_is_watched_by_jpeg_at_once(tab: Tab, camera: Cameraman) -> None:
    camera.withheld, camera.rungs = {"h264", "mp4"}, ["jpeg", "jpeg-480"]
    await play(tab, camera.url)

    await tab.until("() => seen.length > 5")

    state = await tab.page.evaluate("player.state")
    assert state["transport"] == "jpeg"
    assert {each["name"]: each["reason"] for each in state["passed"]} == {
        "webcodecs": "the camera has no H.264",
        "mse": "the camera has no H.264",
    }
    assert camera.formats == ["h264", "jpeg"]
    assert await tab.page.evaluate(FIRST) < SOON


async def test_where_no_h264_comes_jpeg_is_tried_beside_it_within_a_second(tab: Tab, camera: Cameraman) -> None:
    camera.withheld = {"h264", "mp4"}
    await play(tab, camera.url)

    await tab.until("() => seen.length > 5")

    assert await tab.page.evaluate("player.state.transport") == "jpeg"
    assert camera.formats[:2] == ["h264", "jpeg"] and "mp4" not in camera.formats
    assert await tab.page.evaluate(FIRST) < SOON


async def test_h264_that_begins_late_takes_over_from_jpeg(tab: Tab, camera: Cameraman) -> None:
    camera.withheld = {"h264", "mp4"}
    await play(tab, camera.url)
    await tab.until("() => player.state.phase === 'playing' && player.state.transport === 'jpeg'")

    camera.withheld = set()
    await tab.until("() => player.state.phase === 'playing' && player.state.transport === 'webcodecs'")
    count = len(await seen(tab))
    await tab.until("(count) => seen.length > count + 10", count)

    assert in_order(await seen(tab))
    assert camera.open == 1 and "mp4" not in camera.formats


async def test_what_is_asked_for_by_name_is_waited_for_alone(tab: Tab, camera: Cameraman) -> None:
    camera.withheld = {"h264"}
    await play(tab, camera.url, prefer="webcodecs")

    await tab.until("() => states.some(({ reason }) => reason === 'no picture comes')")
    camera.withheld = set()
    await tab.until("() => seen.length > 5")

    assert set(camera.formats) == {"h264"}


async def test_a_better_transport_takes_over_with_its_first_picture(tab: Tab, camera: Cameraman) -> None:
    await tab.page.add_init_script(
        "window.performance.now = ((now) => () => now() * 20)(performance.now.bind(performance));"
    )
    camera.without = {"h264", "mp4"}
    await play(tab, camera.url)
    await tab.until("() => player.state.phase === 'playing' && player.state.transport === 'jpeg'")

    camera.without = set()
    await tab.until("() => player.state.transport === 'webcodecs' && player.state.phase === 'playing'")
    count = len(await seen(tab))
    await tab.until("(count) => seen.length > count + 10", count)

    assert in_order(await seen(tab))
    assert camera.open == 1


async def test_a_server_that_falls_silent_is_connected_to_again(tab: Tab, camera: Cameraman) -> None:
    await play(tab, camera.url, prefer="jpeg")
    await tab.until("() => seen.length > 5")

    camera.silent = True
    await tab.until("() => states.some(({ reason }) => reason === 'no picture comes')")
    camera.silent = False
    count = len(await seen(tab))
    await tab.until("(count) => seen.length > count + 3", count)


async def test_a_wish_is_sent_and_nothing_is_connected_anew(tab: Tab, camera: Cameraman) -> None:
    await play(tab, camera.url, prefer="jpeg", height=480)
    await tab.until("() => seen.length > 3")

    await tab.page.evaluate("player.ask({ height: 240, fps: 10 })")
    await tab.until("() => seen.length > 20")

    assert {"control": "prefer", "format": "jpeg", "height": 240, "fps": 10} in camera.said
    assert camera.formats == ["jpeg"]


async def test_beside_a_decoder_that_brings_nothing_another_codec_is_tried(tab: Tab, camera: Cameraman) -> None:
    await tab.page.add_init_script("VideoDecoder.prototype.decode = () => {};")
    await play(tab, camera.url)

    await tab.until("() => seen.length > 5 && player.state.phase === 'playing'")

    assert await tab.page.evaluate("player.state.transport") in ("jpeg", "mse")
    assert camera.formats[:2] == ["h264", "jpeg"]


async def test_a_decoder_that_brings_nothing_is_left_for_the_next_transport_in_the_end(
    tab: Tab, camera: Cameraman
) -> None:
    await tab.page.add_init_script("VideoDecoder.prototype.decode = () => {};")
    await play(tab, camera.url, prefer=["webcodecs", "mse"])

    await tab.until("() => seen.length > 5 && player.state.phase === 'playing'")

    passed = await tab.page.evaluate("player.state.passed")
    assert [each["reason"] for each in passed] == ["pictures come, and none of them can be decoded"]


async def test_a_browser_that_does_not_say_what_it_decodes_is_tried(tab: Tab, camera: Cameraman) -> None:
    await tab.page.add_init_script("VideoDecoder.isConfigSupported = () => new Promise(() => {});")
    await play(tab, camera.url)

    await tab.until("() => seen.length > 5 && player.state.transport === 'webcodecs'")
