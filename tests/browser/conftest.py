"""Fixtures of browser tests: a real browser, and a connection to the server that can be cut."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from aiohttp import web
from playwright.async_api import Browser, ConsoleMessage, Error, Page, WebSocket, async_playwright, expect

from tests import parts
from tests.browser.standin import Standin
from tests.waiting import PATIENCE

# Five seconds, as playwright has it, are short on a busy machine.
expect.set_options(timeout=PATIENCE * 1000)

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

# Measures, from now on, by how many ms in all the machine was late for what the page had it do every 100 ms.
LATENESS = """() => {
  window.lateness = 0;
  let due = performance.now() + 100;
  setInterval(() => {
    const now = performance.now();
    window.lateness += Math.max(0, now - due);
    due = now + 100;
  }, 100);
}"""


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser's path; a machine without one skips these tests, CI may not."""
    return parts.program(parts.CHROMIUM)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser(chromium: str) -> AsyncIterator[Browser]:
    """A browser without a window, one per test file; each test has a profile of its own."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield browser
        await browser.close()


# What a page shows and knows, for who has to find out why it did not come to what a test waited for.
SHOWN = """() => ({
  address: location.href,
  hidden: document.hidden,
  client: globalThis.callboard?.client.state ?? null,
  situations: globalThis.callboard && ["events", "runs", "alerts", "cameras", "octanes"]
    .map((name) => callboard.store.situation(name)),
  cameras: globalThis.callboard && [...callboard.store.cameras.values()]
    .map(({ id, status, reason, viewers }) => ({ id, status, reason, viewers })),
  player: globalThis.player?.state ?? null,
  badges: [...document.querySelectorAll(".badge")].map(({ textContent, title }) => [textContent, title]),
  text: document.body.innerText.slice(0, 1500),
})"""
# So many of the last things that happened in a page are kept, to be told where a test fails.
KEPT = 80


@dataclass
class Tab:
    """A page, and what its console complained of."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    happened: deque[str] = field(default_factory=lambda: deque(maxlen=KEPT))

    def __post_init__(self) -> None:
        self.page.on("console", lambda message: self._note(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda fault: self._note(f"uncaught: {fault}"))
        self.page.on("crash", lambda _: self._note("the page crashed"))
        self.page.on("framenavigated", lambda frame: self._note(f"shows {frame.url}"))
        self.page.on("requestfailed", lambda asked: self._note(f"{asked.method} {asked.url} failed: {asked.failure}"))
        self.page.on("websocket", self._watch)

    def _note(self, text: str) -> None:
        self.happened.append(f"{time.strftime('%H:%M:%S')} {text[:300]}")

    def _watch(self, socket: WebSocket) -> None:
        self._note(f"WebSocket {socket.url}")
        socket.on("socketerror", lambda fault: self._note(f"WebSocket {socket.url} failed: {fault}"))
        socket.on("close", lambda _: self._note(f"WebSocket {socket.url} is closed"))

    async def _told(self) -> str:
        """What the page shows, and what happened in it last."""
        try:
            async with asyncio.timeout(PATIENCE / 4):
                shown = json.dumps(await self.page.evaluate(SHOWN), indent=1)
        except (Error, TimeoutError) as fault:
            shown = f"it does not answer: {fault!r}"
        return "\n".join(["what happened in the page last:", *self.happened, f"what it shows: {shown}"])

    def heard(self, message: ConsoleMessage) -> None:
        # Containers of other tests come and go, and with them network interfaces: chromium then ends what it loads.
        if message.type in ("error", "warning") and "ERR_NETWORK_CHANGED" not in message.text:
            self.complaints.append(f"{message.type}: {message.text}")

    def failed(self, fault: Error) -> None:
        self.complaints.append(f"uncaught: {fault}")

    async def until(self, condition: str, argument: Any = None, within: float = PATIENCE) -> Any:
        """Waits until a JavaScript function gives something true, and returns that.

        A page whose scripts the network failed loads anew: until then there is nothing that the function could ask.
        """
        patient = f"""(given) => {{
          try {{
            return ({condition})(given);
          }} catch (fault) {{
            if (fault instanceof ReferenceError && fault.message.startsWith("callboard ")) return false;
            throw fault;
          }}
        }}"""
        try:
            handle = await self.page.wait_for_function(patient, arg=argument, timeout=within * 1000)
        except Error as fault:
            fault.add_note(await self._told())
            raise
        return await handle.json_value()


@pytest_asyncio.fixture(loop_scope="module")
async def tab(browser: Browser) -> AsyncIterator[Tab]:
    """A tab of a desk's size."""
    context = await browser.new_context(viewport={"width": 1440, "height": 900})
    context.set_default_timeout(PATIENCE * 1000)
    tab = Tab(await context.new_page())
    tab.page.on("console", tab.heard)
    tab.page.on("pageerror", tab.failed)
    yield tab
    await context.close()


class Wire:
    """A TCP relay before a server: it can be cut, as a cable can."""

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self._target = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._writers: set[asyncio.StreamWriter] = set()
        self._open = True
        self._flowing = asyncio.Event()
        self._flowing.set()
        self.url = ""

    async def __aenter__(self) -> Wire:
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.cut()
        self._server.close()
        await self._server.wait_closed()

    def cut(self) -> None:
        """Breaks off every connection at once, and refuses new ones until `mend`."""
        self._open = False
        for writer in list(self._writers):
            writer.transport.abort()

    def mend(self) -> None:
        self._open = True

    def hold(self) -> None:
        """Passes nothing on any more, as a network that is gone does; connections stay open."""
        self._flowing.clear()

    def release(self) -> None:
        """Passes on what was held, and what comes."""
        self._flowing.set()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._open:
            writer.transport.abort()
            return
        with contextlib.suppress(OSError):
            far_reader, far_writer = await asyncio.open_connection(*self._target)
            mine = {writer, far_writer}
            if not self._open:
                # Cut meanwhile: this one must not outlive that.
                for each in mine:
                    each.transport.abort()
                return
            self._writers |= mine
            try:
                tasks = [
                    asyncio.ensure_future(self._pour(reader, far_writer)),
                    asyncio.ensure_future(self._pour(far_reader, writer)),
                ]
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            finally:
                self._writers -= mine
                for each in mine:
                    each.close()

    async def _pour(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while some := await reader.read(65536):
            await self._flowing.wait()
            writer.write(some)
            await writer.drain()


@pytest.fixture
def wire() -> Callable[[str], Wire]:
    """Makes a relay to a server: `async with wire(url) as relay`."""
    return Wire


@pytest_asyncio.fixture(loop_scope="module")
async def standin() -> AsyncIterator[Standin]:
    """The server that misbehaves on order; its address is `standin.url`."""
    server = Standin()
    runner = web.AppRunner(server.app(), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    server.url = f"http://{host}:{port}"
    yield server
    server.cut()
    await runner.cleanup()
