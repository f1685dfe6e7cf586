"""Logs: lines with ids, never more than a disk can bear, and as talkative as one wants while the process runs."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator

import pytest

from ops.process.logs import configure
from ops.sections import LogSettings
from router.log_levels import levels, set_level
from router.tracing import begin, bind, trace_id


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """Where the root logger writes JSON lines while the test runs."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    stream = io.StringIO()
    configure(LogSettings(format="json", burst=3, per_second=1.0), stream)
    try:
        yield stream
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        for name in ("edge", "edge.hub.hub"):
            logging.getLogger(name).setLevel(logging.NOTSET)


def _said(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_carries_the_ids_that_the_work_is_bound_to(lines: io.StringIO) -> None:
    trace = trace_id(begin())
    with bind(event="e1", trace=trace), bind(session="sess_1"):
        logging.getLogger("edge.hub.hub").info("a reader failed", extra={"reader": 3})
    logging.getLogger("edge.hub.hub").info("another thing")

    bound, free = _said(lines)
    assert bound["event"] == "e1" and bound["session"] == "sess_1" and bound["trace"] == trace and bound["reader"] == 3
    assert not {"event", "session", "trace"} & free.keys()


async def test_ids_are_bound_to_one_task_and_no_other(lines: io.StringIO) -> None:
    async def work(event: str) -> None:
        with bind(event=event):
            await asyncio.sleep(0)
            logging.getLogger("edge").info("worked on %s", event)

    await asyncio.gather(work("a"), work("b"))

    assert [(line["text"], line["event"]) for line in _said(lines)] == [("worked on a", "a"), ("worked on b", "b")]


def test_one_text_is_said_a_few_times_and_then_counted(lines: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("time.time", lambda: now)
    log = logging.getLogger("edge.hub.hub")
    for number in range(50):
        log.warning("it failed again", extra={"number": number})
    log.warning("something else")
    now += 1.5
    log.warning("it failed again", extra={"number": 50})

    said = _said(lines)
    assert [line.get("number") for line in said] == [0, 1, 2, None, 50]
    assert said[-1]["left_out"] == 47


def test_levels_are_changed_while_the_process_runs(lines: io.StringIO) -> None:
    log = logging.getLogger("edge.hub.hub")
    log.debug("before")
    set_level("edge", "debug")
    log.debug("after")

    assert [line["text"] for line in _said(lines)] == ["after"]
    assert levels()["edge"] == "debug"
