"""A test that ends its process of pytest-xdist is reported with what ended it, and with where its tasks stood."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.last_words import standing
from tests.waiting import PATIENCE

ROOT = Path(__file__).parents[1]
DEADLY = """
import asyncio, contextlib, os, signal, pytest

@contextlib.asynccontextmanager
async def viewing():
    task = asyncio.create_task(asyncio.Event().wait(), name="viewer")
    yield
    await task

@pytest.mark.timeout(10)
async def test_hangs():
    async with viewing():
        pass

def test_crashes():
    os.kill(os.getpid(), signal.SIGSEGV)

def test_is_killed():
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_what_ended_a_process_is_reported_with_its_test(tmp_path: Path) -> None:
    (tmp_path / "test_deadly.py").write_text(DEADLY)
    options = ("-c", str(ROOT / "pyproject.toml"), f"--rootdir={tmp_path}", "-p", "tests.conftest", "-n", "3")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(tmp_path)],
        cwd=ROOT, env=environment, timeout=2 * PATIENCE, capture_output=True, text=True,
    )  # fmt: skip
    _, *reports = re.split("crashed while running 'test_deadly.py::(?=.*'\n)", ran.stdout)
    said = {report.partition("'")[0]: report for report in reports}

    assert set(said) == {"test_hangs", "test_crashes", "test_is_killed"}, ran.stdout + ran.stderr
    assert "test_hangs took more than 10 s." in said["test_hangs"]
    assert "most recent call first" in said["test_hangs"] and "in pytest_pyfunc_call" in said["test_hangs"]
    assert "viewing (" in said["test_hangs"] and "viewer: Event.wait (" in said["test_hangs"]
    assert (
        "Fatal Python error: Segmentation fault" in said["test_crashes"] and "in test_crashes" in said["test_crashes"]
    )
    assert "It left no last words" in said["test_is_killed"]


async def test_what_goes_on_though_it_was_cancelled_is_told_first() -> None:
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def deaf() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            begun.set()
            await asyncio.Event().wait()
        await may_end.wait()

    @contextlib.asynccontextmanager
    async def viewing() -> AsyncIterator[None]:
        yield
        await may_end.wait()

    async def view() -> None:
        async with viewing():
            pass

    viewer, cancelled = asyncio.create_task(view(), name="viewer"), asyncio.create_task(deaf(), name="deaf")
    await begun.wait()
    cancelled.cancel()
    for _ in range(5):
        await asyncio.sleep(0)
    told = standing()
    may_end.set()
    await asyncio.gather(viewer, cancelled)

    assert told[0].startswith("deaf, cancelled 1 times: ") and "deaf (tests/test_last_words.py:" in told[0]
    (shown,) = (each for each in told if each.startswith("viewer: "))
    assert "viewing (tests/test_last_words.py:" in shown and "Event.wait (" in shown
