"""Fixtures of end-to-end tests: an HTTP client, a browser, and the guide's receiver as a process."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from router.nats.embedded import free_port
from tests.browser.conftest import browser, chromium, tab
from tests.e2e import guide
from tests.e2e.tree import RunningCallboard
from tests.waiting import PATIENCE, eventually

__all__ = ["browser", "chromium", "tab"]


@pytest.fixture
async def http(running_callboard: RunningCallboard) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the running edge."""
    async with httpx.AsyncClient(base_url=running_callboard.url, timeout=PATIENCE, trust_env=False) as client:
        yield client


class FlaskReceiver:
    """The guide's Flask application in a process of its own, and the lines it prints."""

    def __init__(self, port: int, said: Path) -> None:
        self.port = port
        self._said = said

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/callbacks"

    def lines(self) -> list[str]:
        """What the sample printed about the events it got, in the order it got them."""
        # Its threads print beside one another, and a line's end is written apart from the line.
        begin = "AI is thinking:|Progress:|Task completed:"
        return re.findall(rf"(?:{begin}).*?(?={begin}|\n)", self._said.read_text())


@pytest.fixture
def flask_receiver(tmp_path: Path) -> Iterator[FlaskReceiver]:
    """The receiver of the guide, listening."""
    port = free_port()
    script, said = tmp_path / "receiver.py", tmp_path / "receiver.out"
    script.write_text(guide.met(guide.FLASK, port=0, receiver=port))
    with said.open("wb") as out, (tmp_path / "receiver.err").open("wb") as err:
        process = subprocess.Popen(
            [sys.executable, "-u", str(script)], stdin=subprocess.DEVNULL, stdout=out, stderr=err
        )
    try:
        asyncio.run(eventually(lambda: listens(port)))
        yield FlaskReceiver(port, said)
    finally:
        process.kill()
        process.wait()


async def listens(port: int) -> bool:
    """Says whether somebody takes connections on a port."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True
