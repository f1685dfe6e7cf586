"""Puts into the report of a test that ended its process of pytest-xdist why it did, and where all tasks and threads stood.

pytest-xdist alone says that the process crashed, also of a test that ran out of time: what pytest-timeout prints in such a
process goes nowhere, and of a coroutine that waits a stack of threads shows nothing. So each process has a file; there it
writes where a test hangs, and faulthandler what crashed natively. The process that reports adds that to the test's report.
"""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import os
import tempfile
import threading
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = str(Path(__file__).parents[1])
# An edge under test has some 150 tasks; those that tell most come first.
MOST_TASKS = 60


def register(config: pytest.Config) -> None:
    """Makes this process keep its last words, or report those of others."""
    given = getattr(config, "workerinput", None)
    config.pluginmanager.register(Reporter() if given is None else Speaker(Path(given["last_words"])), "last words")


class Reporter:
    """Gives each process a file, and adds what it says to the report of the test that ended the process."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="last-words-")

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        node.workerinput["last_words"] = str(self._file(node))

    @pytest.hookimpl(optionalhook=True)
    def pytest_handlecrashitem(self, report: Any) -> None:
        said = self._file(report.node).read_text(errors="replace").strip()
        report.longrepr = f"{report.longrepr}\n{said or 'It left no last words: it was killed, or exited by itself.'}"

    def pytest_unconfigure(self) -> None:
        self._folder.cleanup()

    def _file(self, node: Any) -> Path:
        return Path(self._folder.name, node.gateway.id)


class Speaker:
    """Writes what ends this process into its file, and ends it when a test takes too long."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w")
        self._timer: threading.Timer | None = None
        faulthandler.enable(self._file)

    @pytest.hookimpl(optionalhook=True)
    def pytest_timeout_set_timer(self, item: pytest.Item, settings: Any) -> bool | None:
        if settings.method != "thread":
            return None
        self._timer = threading.Timer(settings.timeout, self._end, (item.nodeid, settings.timeout))
        self._timer.start()
        return True

    @pytest.hookimpl(optionalhook=True)
    def pytest_timeout_cancel_timer(self) -> bool | None:
        if (timer := self._timer) is None:
            return None
        self._timer = None
        timer.cancel()
        timer.join()
        return True

    def _end(self, test: str, seconds: float) -> None:
        try:
            print(f"{test} took more than {seconds:g} s.", end="\n\n", file=self._file, flush=True)
            faulthandler.dump_traceback(self._file)
            print("", "Tasks, each with what it awaits:", *standing(), sep="\n", file=self._file, flush=True)
        finally:
            os._exit(1)


def standing() -> list[str]:
    """Where each task of the loops that run in this process stands; first those that go on though they were cancelled."""
    loops = [each for each in gc.get_objects() if issubclass(type(each), asyncio.AbstractEventLoop)]
    tasks = [task for loop in loops if loop.is_running() for task in asyncio.all_tasks(loop)]
    found = [(not task.cancelling(), "tests/" not in (stands := _stands(task)), stands) for task in tasks]
    lines = [stands for *_, stands in sorted(found)]
    left = len(lines) - MOST_TASKS
    return lines[:MOST_TASKS] + ([f"and {left} more tasks"] if left > 0 else [])


def _stands(task: asyncio.Task[Any]) -> str:
    cancelled = f", cancelled {task.cancelling()} times" if task.cancelling() else ""
    return f"{task.get_name()}{cancelled}: {' > '.join(_awaits(task.get_coro()))}"


def _awaits(coroutine: Any) -> Iterator[str]:
    """The places at which a coroutine, what it awaits, and so on, have stopped."""
    while coroutine is not None:
        kind = next((each for each in ("cr", "ag", "gi") if hasattr(coroutine, f"{each}_frame")), "")
        if not kind:
            # What steps an asynchronous generator does not say which one; the collector of garbage does.
            known = gc.get_referents(coroutine)
            coroutine = next((each for each in known if isinstance(each, types.AsyncGeneratorType)), None)
            continue
        if frame := getattr(coroutine, f"{kind}_frame"):
            file = frame.f_code.co_filename.removeprefix(f"{ROOT}/").rpartition("site-packages/")[2]
            yield f"{coroutine.__qualname__} ({file}:{frame.f_lineno})"
        coroutine = getattr(coroutine, "gi_yieldfrom" if kind == "gi" else f"{kind}_await")
