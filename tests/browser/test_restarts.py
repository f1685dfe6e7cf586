"""Graceful restarts as EventSources see them: native and polyfilled readers of chromium all come back and lose nothing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.async_api import Page, async_playwright

from router.nats.embedded import free_port
from tests.browser.conftest import ARGUMENTS
from tests.e2e.tree import RunningCallboard, running_tree
from tests.edge.test_nginx import SILENCE, Nginx, nginx_binary
from tests.npm import node_with
from tests.waiting import PATIENCE, eventually

__all__ = ["nginx_binary"]

pytestmark = [pytest.mark.browser, pytest.mark.slow]

POLYFILL = "event-source-polyfill@1.0.31"
# chromium opens six sockets to a host in one profile; one is for what else the page asks.
PROFILES, READERS = 4, 5
RESTARTS = 3

OPEN = """([kind, url, count]) => {
  window.readers = Array.from({ length: count }, () => {
    const source = new window[kind](url);
    const reader = { source, seen: [], failed: 0 };
    source.onmessage = (event) => reader.seen.push(JSON.parse(event.data).data.n);
    source.onerror = () => { if (source.readyState === 2) reader.failed += 1; };
    return reader;
  });
}"""
STATE = "readers.map(({ source, seen, failed }) => ({ state: source.readyState, seen, failed }))"


class Tree:
    """A `callboard up` of a few parts, on a fixed port and with the same data at each start."""

    def __init__(self, folder: Path, *parts: str) -> None:
        self.port = free_port()
        self._only = [word for part in parts or ("edge",) for word in ("--only", part)]
        self._folder = folder
        self._nats = str(free_port())
        self._running: contextlib.AbstractContextManager[RunningCallboard] | None = None
        self.callboard: RunningCallboard | None = None

    async def start(self) -> None:
        self._running = running_tree(self._folder, "--port", str(self.port), *self._only, EMBEDDED_PORT=self._nats)
        self.callboard = await asyncio.to_thread(self._running.__enter__)

    async def stop(self) -> None:
        """Ends it as Ctrl-C does."""
        running, self._running = self._running, None
        if running is not None:
            await asyncio.to_thread(running.__exit__, None, None, None)

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    async def restart_edge(self, by: signal.Signals = signal.SIGTERM) -> None:
        """Ends the edge in order, or by another signal; `up` starts the next one."""
        assert self.callboard is not None
        before = self.callboard.children()["edge"]
        os.kill(before, by)
        await eventually(lambda: self._children().get("edge", before) != before)

    def _children(self) -> dict[str, int]:
        assert self.callboard is not None
        return self.callboard.children()


@dataclass
class Before:
    """What nginx passes requests on to."""

    port: int


@pytest.fixture
async def tree(tmp_path: Path) -> AsyncIterator[Tree]:
    tree = Tree(tmp_path)
    await tree.start()
    try:
        yield tree
    finally:
        await tree.stop()


@pytest.fixture
def polyfill(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The polyfill's script, for a page."""
    folder = tmp_path_factory.mktemp("polyfill")
    node_with(folder, POLYFILL)
    yield folder / "node_modules" / "event-source-polyfill" / "src" / "eventsource.js"


async def publish(tree: Tree, entity: str, *numbers: int) -> list[int]:
    """Publishes until each is stored; a repeat is stored once."""
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{tree.port}", timeout=PATIENCE, trust_env=False) as http:
        for n in numbers:
            event = {"subject": f"job.{entity}.output", "data": {"n": n}}

            async def stored(event: dict[str, Any] = event, n: int = n) -> bool:
                try:
                    headers = {"Idempotency-Key": f"{entity}-{n}"}
                    return (await http.post("/events", json=event, headers=headers)).status_code == 201
                except httpx.TransportError:
                    return False

            await eventually(stored)
    return list(numbers)


async def readers_live_through(tree: Tree, url: str, entity: str, chromium: str, polyfill: Path, way: str) -> None:
    async with httpx.AsyncClient(base_url=url, timeout=PATIENCE, trust_env=False) as http:
        made = await http.post("/callbacks/sessions", json={"subjects": [f"job.{entity}.>"]})
        stream = f"{url}/callbacks/sessions/{made.raise_for_status().json()['session_id']}/sse"
    async with (
        async_playwright() as playwright,
        await playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS) as browser,
    ):
        pages: list[Page] = []
        for profile in range(2 * PROFILES):
            page = await (await browser.new_context()).new_page()
            page.set_default_timeout(PATIENCE * 1000)
            await page.goto(f"{url}/openapi.json")
            await page.add_script_tag(path=polyfill)
            kind = "EventSource" if profile < PROFILES else "EventSourcePolyfill"
            await page.evaluate(OPEN, [kind, stream, READERS])
            pages.append(page)

        async def all_have(wanted: list[int]) -> bool:
            readers = [reader for page in pages for reader in await page.evaluate(STATE)]
            assert len(readers) == 2 * PROFILES * READERS
            for number, reader in enumerate(readers):
                assert (reader["failed"], reader["seen"]) == (0, wanted), (number, reader)
            return True

        wanted = await publish(tree, entity, 0)
        await eventually(lambda: all_have(wanted))
        for turn in range(RESTARTS):
            wanted += await publish(tree, entity, *range(10 * turn + 1, 10 * turn + 6))
            await (tree.restart_edge() if way == "edge" else tree.restart())
            wanted += await publish(tree, entity, *range(10 * turn + 6, 10 * turn + 11))
            await eventually(lambda: all_have(wanted))


@pytest.mark.parametrize("way", ["up", "edge"])
async def test_every_event_source_comes_back_after_each_restart(
    tree: Tree, entity: str, chromium: str, polyfill: Path, way: str
) -> None:
    await readers_live_through(tree, f"http://127.0.0.1:{tree.port}", entity, chromium, polyfill, way)


async def test_every_event_source_behind_nginx_comes_back_after_each_restart(
    tree: Tree, entity: str, chromium: str, polyfill: Path, nginx_binary: str
) -> None:
    # Not pytest's folder: only its owner may enter that.
    with tempfile.TemporaryDirectory(prefix="callboard-nginx-") as folder:
        nginx = Nginx(nginx_binary, Path(folder), [Before(tree.port), Before(free_port())])  # type: ignore[list-item]
        nginx.write(nginx.edited().replace(f"proxy_read_timeout {SILENCE}s;", "proxy_read_timeout 75s;"))
        await nginx.start()
        try:
            await readers_live_through(tree, nginx.url, entity, chromium, polyfill, "up")
        finally:
            await nginx.stop()


@pytest.mark.parametrize("way", ["up", "edge", "kill"])
async def test_tabs_that_share_the_client_s_connection_miss_nothing_through_restarts(
    tree: Tree, entity: str, chromium: str, way: str
) -> None:
    url = f"http://127.0.0.1:{tree.port}"
    async with (
        async_playwright() as playwright,
        await playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS) as browser,
    ):
        context = await browser.new_context()
        context.set_default_timeout(PATIENCE * 1000)
        pages = [await context.new_page() for _ in range(2)]
        for page in pages:
            await page.goto(f"{url}/openapi.json")
            await page.evaluate(
                """async ([url, subjects]) => {
                  const { connect } = await import("/client.js");
                  window.seen = [];
                  window.board = connect(url, { subjects, cursor: "earliest" });
                  board.on("*", (event) => seen.push(event.data.n));
                }""",
                [url, [f"job.{entity}.>"]],
            )
        wanted: list[int] = []

        async def all_have() -> bool:
            return all([await page.evaluate("seen") == wanted for page in pages])

        for turn in range(RESTARTS):
            wanted += await publish(tree, entity, *range(10 * turn, 10 * turn + 5))
            if way == "up":
                await tree.restart()
            else:
                await tree.restart_edge(signal.SIGKILL if way == "kill" else signal.SIGTERM)
            wanted += await publish(tree, entity, *range(10 * turn + 5, 10 * turn + 10))
            await eventually(all_have)
        assert await pages[0].evaluate("board.stats.gaps") == 0
