"""A Callboard beside a simulated Octane in this process, and people who have its viewport open."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser

from actors.octane.simulator.server import run
from actors.octane.simulator.settings import SimulatorSettings
from actors.octane.simulator.simulator import Simulator
from edge.auth.grants import Grants
from edge.auth.token import mint
from router.nats.embedded import free_port
from tests.browser.conftest import Tab
from tests.e2e.tree import running_tree
from tests.waiting import PATIENCE, in_time

STAGE = "#render .stage.viewport"
BADGE = "() => document.querySelector('#render .badge')?.textContent"
SECRET = secrets.token_hex(32)
SIMULATED = SimulatorSettings(
    width=192,
    height=108,
    pitch=192,
    max_samples=1_000_000,
    samples_per_second=40.0,
    images_per_second=10.0,
    rest=1e6,
    passes=3,
)


@dataclass
class Studio:
    """A Callboard whose octane actor watches a simulator in this process."""

    url: str
    octane: Simulator
    renders: Path
    serving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.serving = asyncio.create_task(run(self.octane, ready.set_result))
        await in_time(ready)

    async def stop(self) -> None:
        if self.serving is not None:
            self.serving.cancel()
            await asyncio.wait({self.serving})


@contextlib.asynccontextmanager
async def running_studio(folders: pytest.TempPathFactory) -> AsyncIterator[Studio]:
    """A Callboard and a simulator, for all tests of a module."""
    port = free_port()
    tree = running_tree(
        folders.mktemp("studio"),
        *("--only", "edge,octane"),
        OCTANE_ADDRESS=f"127.0.0.1:{port}",
        JWT_SECRET=SECRET,
    )
    callboard = await asyncio.to_thread(tree.__enter__)
    renders = folders.mktemp("renders")
    octane = Simulator(replace(SIMULATED, port=port, save_directory=renders))
    studio = Studio(callboard.url, octane, renders)
    try:
        await studio.start()
        yield studio
    finally:
        await studio.stop()
        await asyncio.to_thread(tree.__exit__, None, None, None)


@contextlib.asynccontextmanager
async def person(browser: Browser, studio: Studio, name: str, **grants: Any) -> AsyncIterator[Tab]:
    """Somebody who has the viewport open in a browser of their own."""
    rights = {"read": [">"], "command": ["octane.>"], **grants}
    token = mint(SECRET, name, Grants.of(**rights), 600.0, None, None)
    context = await browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(PATIENCE * 1000)
    tab = Tab(await context.new_page())
    try:
        await tab.page.goto(f"{studio.url}/console/renders#token={token}")
        await tab.until(f"() => document.querySelector('{STAGE} canvas')?.width > 64")
        await shown(tab, "Rendering")
        yield tab
    finally:
        await context.close()


async def shown(tab: Tab, word: str) -> None:
    await tab.until(f"(word) => ({BADGE})() === word", word)
