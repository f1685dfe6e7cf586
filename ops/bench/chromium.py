"""Runs chromium for the benchmark of the console and speaks the DevTools protocol with one page of it.

A profile of its own, in a temporary folder; no window. The page is software-rendered, on the cores that everybody shares.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

from ops.bench.stand import READY_SECONDS, BenchError, process

NAMES = ("chromium", "google-chrome")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--log-level=3",
    "--remote-debugging-port=0",
)
# RunTask, with the CPU time of each task, and Commit.
TRACED = ["disabled-by-default-devtools.timeline", "devtools.timeline"]
ANSWER_SECONDS = 60.0


def found() -> str | None:
    """Where chromium is; None where it is not installed."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class ChromiumPage:
    """One page, and what it is asked by the DevTools protocol."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._asked = 0
        self._trace: list[dict[str, Any]] = []

    async def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """Asks, and returns the result. Raises BenchError, TimeoutError."""
        self._asked += 1
        await self._socket.send_json({"id": self._asked, "method": method, "params": params})
        said = await self._heard("id", self._asked)
        if "error" in said:
            raise BenchError(f"chromium refuses {method}: {said['error'].get('message')}")
        result: dict[str, Any] = said["result"]
        return result

    async def _heard(self, name: str, value: object) -> dict[str, Any]:
        """Reads on up to a message with this value, and keeps what comes of a trace."""
        async with asyncio.timeout(ANSWER_SECONDS):
            while True:
                said: dict[str, Any] = await self._socket.receive_json()
                if said.get("method") == "Tracing.dataCollected":
                    self._trace += said["params"]["value"]
                elif said.get(name) == value:
                    return said

    async def evaluate(self, expression: str) -> Any:
        """The value of an expression of the page; a promise's. Raises BenchError."""
        found = await self.ask("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in found:
            raise BenchError(f"the page says {found['exceptionDetails']['exception'].get('description')}")
        return found["result"].get("value")

    async def until(self, condition: str, seconds: float = READY_SECONDS) -> None:
        """Returns once an expression of the page is true. Raises BenchError."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + seconds
        while clock() < deadline:
            if await self.evaluate(f"Boolean({condition})"):
                return
            await asyncio.sleep(0.1)
        raise BenchError(f"the page has not come to {condition} within {seconds:g} s")

    async def task_seconds(self) -> float:
        """CPU seconds that the main thread of the page has spent so far."""
        metrics = (await self.ask("Performance.getMetrics"))["metrics"]
        return next(float(each["value"]) for each in metrics if each["name"] == "TaskDuration")

    async def heap(self) -> float:
        """Bytes of JavaScript objects that are in use after a garbage collection."""
        await self.ask("HeapProfiler.collectGarbage")
        return float((await self.ask("Runtime.getHeapUsage"))["usedSize"])

    async def trace(self, seconds: float) -> list[dict[str, Any]]:
        """What the browser did for so long, as events of Chrome's trace format."""
        self._trace = []
        await self.ask("Tracing.start", transferMode="ReportEvents", traceConfig={"includedCategories": TRACED})
        await asyncio.sleep(seconds)
        await self.ask("Tracing.end")
        await self._heard("method", "Tracing.tracingComplete")
        return self._trace


@contextlib.asynccontextmanager
async def chromium_page(binary: str, size: str = "1440,900") -> AsyncIterator[ChromiumPage]:
    """Runs chromium with an empty page until the block ends. Raises BenchError."""
    async with contextlib.AsyncExitStack() as stack:
        profile = stack.enter_context(
            tempfile.TemporaryDirectory(prefix="callboard-bench-", ignore_cleanup_errors=True)
        )
        child = await stack.enter_async_context(
            process(binary, *FLAGS, f"--user-data-dir={profile}", f"--window-size={size}", "about:blank")
        )
        port = await _port(Path(profile), child)
        http = await stack.enter_async_context(aiohttp.ClientSession(f"http://127.0.0.1:{port}"))
        async with http.get("/json/list") as answer:
            (target, *_) = [each for each in await answer.json() if each["type"] == "page"]
        # A trace comes in messages of many MB.
        socket = await stack.enter_async_context(http.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0))
        page = ChromiumPage(socket)
        # The CPU time of the thread: on a busy machine it says what the work costs, and not who else worked.
        await page.ask("Performance.enable", timeDomain="threadTicks")
        yield page


async def _port(profile: Path, child: asyncio.subprocess.Process) -> int:
    """The port of DevTools: chromium writes it into its profile once it listens."""
    said = profile / "DevToolsActivePort"
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(READY_SECONDS):
            while child.returncode is None:
                if said.exists() and (lines := said.read_text().split()):
                    return int(lines[0])
                await asyncio.sleep(0.05)
    raise BenchError("chromium has not begun to listen for DevTools")
