"""Tests of programs that emit by adapters, as the page shows them: live, to a second reader that joins late, and stopped."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.browser.conftest import Tab
from tests.browser.programs import WORDS
from tests.browser.test_console_page import open_console
from tests.e2e.tree import RunningCallboard
from tests.ops.command import ROOT
from tests.waiting import PATIENCE, in_time

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

TESTS = """
import pathlib, time, pytest

@pytest.mark.parametrize("n", range(100))
def test_of_many(n):
    while n == 50 and not pathlib.Path({go!r}).exists():
        time.sleep(0.02)
"""


class Programs:
    """Starts programs beside the running system, and ends what is left of them."""

    def __init__(self, tree: RunningCallboard) -> None:
        self._tree = tree
        self._started: list[asyncio.subprocess.Process] = []

    async def start(self, *argv: str, cwd: Path = ROOT, **variables: str) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            *argv,
            cwd=cwd,
            env={**self._tree.environment, **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self._started.append(process)
        return process

    async def adapter(self, what: str, run: str, go: Path) -> asyncio.subprocess.Process:
        return await self.start(sys.executable, "-m", "tests.browser.programs", what, self._tree.nats_url, run, str(go))

    async def end(self) -> None:
        for process in self._started:
            if process.returncode is None:
                process.kill()
            await process.communicate()


@pytest_asyncio.fixture(loop_scope="module")
async def programs(running_callboard: RunningCallboard) -> AsyncIterator[Programs]:
    found = Programs(running_callboard)
    yield found
    await found.end()


def row(run: str) -> str:
    return f'#runs li[data-run="{run}"]'


async def until_status(tab: Tab, run: str, status: str) -> None:
    await tab.until("([row, status]) => document.querySelector(row)?.dataset.status === status", [row(run), status])


async def until_said(tab: Tab, run: str, text: str) -> None:
    await tab.until("([row, text]) => document.querySelector(row)?.textContent.includes(text)", [row(run), text])


async def late_reader(tab: Tab, url: str) -> Tab:
    """A second reader in a browser context of its own, which has seen nothing before."""
    context = await tab.page.context.browser.new_context()  # type: ignore[union-attr]
    context.set_default_timeout(PATIENCE * 1000)
    second = Tab(await context.new_page())
    await open_console(second, url, "runs")
    return second


async def events_of(tab: Tab, pattern: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = await tab.page.evaluate("(p) => callboard.client.history([p], 500)", pattern)
    return found


@pytest.mark.slow
async def test_a_langchain_agent_is_seen_live_and_whole_by_who_joins_late(
    tab: Tab, running_callboard: RunningCallboard, programs: Programs, entity: str, tmp_path: Path
) -> None:
    await open_console(tab, running_callboard.url, "runs")
    process = await programs.adapter("agent", entity, tmp_path / "go")

    await until_said(tab, entity, "LangChain agent")
    await until_said(tab, entity, "tools")  # the node in which the tool waits
    await until_status(tab, entity, "running")
    second = await late_reader(tab, running_callboard.url)
    (tmp_path / "go").touch()
    assert await in_time(process.wait()) == 0, (await process.stdout.read()).decode()  # type: ignore[union-attr]

    for reader in (tab, second):
        await until_status(reader, entity, "completed")
        events = await events_of(reader, f"agent.{entity}.>")
        text = "".join(e["data"]["content"] for e in events if e["event_type"] == "streaming_chunk")
        assert text == WORDS
        assert [e["data"]["tool_name"] for e in events if e["event_type"] == "tool_result"] == ["look_up"]
        # The fake model says what it used only where it calls a tool.
        assert [e["data"]["tokens_used"] for e in events if e["event_type"] == "completion"] == [12]
    await second.page.context.close()


@pytest.mark.slow
async def test_the_dots_of_pytest_under_callboard_run_are_progress_on_the_page(
    tab: Tab, running_callboard: RunningCallboard, programs: Programs, entity: str, tmp_path: Path
) -> None:
    (tmp_path / "test_many.py").write_text(TESTS.format(go=str(tmp_path / "go")))
    await open_console(tab, running_callboard.url, "runs")
    argv = running_callboard.command("run", "--job", entity, "--", sys.executable, "-m", "pytest", "-o", "addopts=")
    process = await programs.start(*argv, cwd=tmp_path, PYTEST_DISABLE_PLUGIN_AUTOLOAD="1", PYTEST_ADDOPTS="")

    await until_said(tab, entity, "50 passed")
    await until_said(tab, entity, "50 %")
    second = await late_reader(tab, running_callboard.url)
    await until_said(second, entity, "50 passed")
    (tmp_path / "go").touch()
    await in_time(process.wait())

    assert process.returncode == 0, (await process.stdout.read()).decode()  # type: ignore[union-attr]
    for reader in (tab, second):
        await until_status(reader, entity, "completed")
    await second.page.context.close()


async def test_a_tqdm_loop_is_seen_live_and_stopped_from_the_page(
    tab: Tab, running_callboard: RunningCallboard, programs: Programs, entity: str, tmp_path: Path
) -> None:
    await open_console(tab, running_callboard.url, "runs")
    process = await programs.adapter("bars", entity, tmp_path / "go")

    await until_said(tab, entity, "50 %")
    await until_said(tab, entity, "epochs")
    (tmp_path / "go").touch()
    second = await late_reader(tab, running_callboard.url)
    await second.page.click(f"{row(entity)} button.run")
    await second.page.click(f"{row(entity)} button.stop")

    assert await in_time(process.wait()) == 0, (await process.stdout.read()).decode()  # type: ignore[union-attr]
    for reader in (tab, second):
        await until_status(reader, entity, "cancelled")
    assert not await second.page.is_visible(f"{row(entity)} button.stop")
    await second.page.context.close()


async def test_a_command_is_stopped_from_the_page(
    tab: Tab, running_callboard: RunningCallboard, programs: Programs, entity: str
) -> None:
    await open_console(tab, running_callboard.url, "runs")
    process = await programs.start(*running_callboard.command("run", "--job", entity, "--", "sleep", "600"))
    await until_status(tab, entity, "running")
    await tab.page.click(f"{row(entity)} button.run")

    await tab.page.click(f"{row(entity)} button.stop")

    assert await in_time(process.wait()) == 143
    await until_status(tab, entity, "cancelled")
    assert tab.complaints == []
