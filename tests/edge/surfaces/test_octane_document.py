"""The client of the document on callback streaming, and an Octane that renders, stands still and is killed, seen through a real actor."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from playwright.async_api import Page, async_playwright

from actors.octane.simulator.faults import OctaneFault
from actors.octane.simulator.simulator import OctaneGeneration, Simulator
from protos import octane_types_pb2 as wire
from tests.actors.octane.simulation import LONG
from tests.browser.conftest import ARGUMENTS, chromium
from tests.edge.conftest import EdgeFactory, RunningEdge
from tests.edge.surfaces import octane_document
from tests.edge.surfaces.octanes import watched_octane
from tests.edge.surfaces.viewports import viewport
from tests.waiting import PATIENCE, eventually

__all__ = ["chromium"]

HERE = Path(__file__).parent


async def rows_of(simulator: Simulator) -> bytes:
    """The picture that a simulated Octane has, without padding."""
    image = await simulator.image()
    assert image is not None
    return np.frombuffer(image.buffer.data, np.uint8).reshape(27, image.pitch, 4)[:, :48].tobytes()


async def test_who_joins_a_render_that_stands_still_has_its_exact_pixels(
    edge: RunningEdge, nats_server: str, entity: str
) -> None:
    async with watched_octane(nats_server, LONG, entity) as simulator:
        await eventually(lambda: simulator.render.samples > 3)
        simulator.render.pause()
        there = await rows_of(simulator)
        await eventually(lambda: health_is(edge, "ok", f"?octane={entity}"))

        async with viewport(edge, f"?octane={entity}&pixels=binary") as client:
            while (shown := await client.until("newImage"))["pixels"] != there:
                pass

    assert (shown["width"], shown["height"], shown["source"]) == (48, 27, "simulated")


async def test_a_viewport_goes_on_once_a_killed_octane_is_back(
    edge: RunningEdge, nats_server: str, entity: str
) -> None:
    async with watched_octane(nats_server, LONG, entity) as simulator:
        await eventually(lambda: health_is(edge, "ok", f"?octane={entity}"))
        async with viewport(edge, f"?octane={entity}&pixels=binary") as client:
            await client.until("newImage")
            simulator.strike(OctaneFault.RESTART)
            await eventually(lambda: simulator.restarts == 1)
            await eventually(lambda: health_is(edge, "ok", f"?octane={entity}"))
            await eventually(lambda: simulator.render.samples > 1)
            simulator.render.pause()
            there = await rows_of(simulator)
            while (await client.until("newImage"))["pixels"] != there:
                pass


@pytest.fixture
async def page(chromium: str) -> AsyncIterator[Page]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        page = await browser.new_page()
        page.set_default_timeout(PATIENCE * 1000)
        yield page
        await browser.close()


DRAWN = "[...document.querySelector('canvas').getContext('2d').getImageData(0, 0, 48, 27).data]"


@pytest.mark.browser
@pytest.mark.parametrize("generation", [OctaneGeneration.ALPHA_5, OctaneGeneration.BETA_2], ids=["alpha-5", "beta-2"])
@pytest.mark.parametrize("form", [None, "binary", "buffer"], ids=["as-it-is", "binary", "buffer"])
async def test_the_document_s_client_shows_an_octane_unchanged_but_for_host_and_port(
    edge_factory: EdgeFactory, own_nats: str, page: Page, generation: OctaneGeneration, form: str | None
) -> None:
    settings = replace(LONG, generation=generation)
    async with edge_factory(nats=own_nats) as edge, watched_octane(own_nats, settings) as simulator:
        # As its server does: it is healthy, or the client would not go on.
        await eventually(lambda: health_is(edge, "ok"))
        await page.goto(f"{edge.url}/livez")
        await page.evaluate(
            "(sample) => { window.DOCUMENT = sample }", octane_document.as_javascript(octane_document.STREAM_HANDLER)
        )
        await page.add_script_tag(content=(HERE / "viewport_page.js").read_text())
        subscribe = {"type": "subscribe"} if form is None else {"type": "subscribe", "pixels": form}
        await page.evaluate("(given) => connect(...given)", [edge.url, subscribe])

        # Callback registration succeeds, images are received and displayed, and go on being so.
        await page.wait_for_function("shown.images >= 5")
        await page.wait_for_function("shown.events.some((each) => each.type === 'newStatistics')")
        # Pixel for pixel what Octane has, once it stands still.
        simulator.render.pause()
        image = await simulator.image()
        assert image is not None
        rows = np.frombuffer(image.buffer.data, np.uint8).reshape(27, image.pitch, 4)[:, :48]
        there = json.dumps(rows.flatten().tolist(), separators=(",", ":"))
        await page.wait_for_function(f"(there) => JSON.stringify({DRAWN}) === there", arg=there)
        simulator.fail(wire.RENDER_ERROR_KERNEL_FAILED)
        await page.wait_for_function("shown.events.some((each) => each.type === 'renderFailure')")
        simulator.reset()
        await page.wait_for_function("shown.events.some((each) => each.type === 'projectManagerChanged')")
        told = await page.evaluate("shown")

    # At the moment of asking there may have been no picture yet.
    assert told["health"].pop("picture", "live") == "live"
    for line in octane_document.BROWSER_CONSOLE.split("\n")[1:-1]:
        assert line in told["logged"]
    assert told["health"] | {"timestamp": ""} == {
        "status": "ok", "octane": "connected", "server": "callboard", "timestamp": "", "id": "main", "state": "connected",
        "name": "Callboard simulator of Octane", "version": told["health"]["version"], "simulated": True,
    }  # fmt: skip
    assert (told["emitted"], told["callback"], told["kind"]) == ("OnNewImage", [1, "0"], form or "base64")
    assert told["status"].startswith("48x27 | 5.1KB | ")
    statistics = next(each for each in told["events"] if each["type"] == "newStatistics")["data"]["statistics"]
    assert statistics["usedSize"] == {"x": 48, "y": 27} and statistics["state"].startswith("RSTATE_")
    # No black or single-coloured plane: sky, floor and balls.
    assert len(np.unique(rows.reshape(-1, 4), axis=0)) > 50 and (rows[:, :, 3] == 255).all()


async def health_is(edge: RunningEdge, status: str, query: str = "") -> bool:
    answer = await edge.http.get(f"/api/health{query}")
    return answer.status_code == 200 and answer.json()["status"] == status
