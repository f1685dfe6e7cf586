"""Logs: lines with ids, never more than a disk can bear, and as talkative as one wants while the process runs."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from ops.process.logs import BadLevel, configure, levels, set_level
from ops.process.workers import merged
from ops.sections import LogSettings
from router.nats.embedded import free_port
from router.tracing import begin, bind, trace_id
from tests.ops.command import callboard, running
from tests.waiting import eventually


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
        for name in ("edge", "edge.hub"):
            logging.getLogger(name).setLevel(logging.NOTSET)


def _said(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_carries_the_ids_that_the_work_is_bound_to(lines: io.StringIO) -> None:
    trace = trace_id(begin())
    with bind(event="e1", trace=trace), bind(session="sess_1"):
        logging.getLogger("edge.hub").info("a reader failed", extra={"reader": 3})
    logging.getLogger("edge.hub").info("another thing")

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
    log = logging.getLogger("edge.hub")
    for number in range(50):
        log.warning("it failed again", extra={"number": number})
    log.warning("something else")
    now += 1.5
    log.warning("it failed again", extra={"number": 50})

    said = _said(lines)
    assert [line.get("number") for line in said] == [0, 1, 2, None, 50]
    assert said[-1]["left_out"] == 47


def test_levels_are_changed_while_the_process_runs(lines: io.StringIO) -> None:
    log = logging.getLogger("edge.hub")
    log.debug("before")
    set_level("edge", "debug")
    log.debug("after")

    assert [line["text"] for line in _said(lines)] == ["after"]
    assert levels()["edge"] == "debug"


@pytest.mark.parametrize(
    ("logger", "level"), [("edge", "loud"), ("edgy", "debug"), ("", "debug"), ("edge..hub", "info")]
)
def test_a_slip_of_the_pen_is_refused_and_changes_nothing(lines: io.StringIO, logger: str, level: str) -> None:
    before = levels()

    with pytest.raises(BadLevel):
        set_level(logger, level)

    assert levels() == before


async def test_the_command_changes_the_level_in_every_worker(tmp_path: Path, own_nats: str) -> None:
    inside = free_port()
    async with running(
        "edge", "--workers", "2", "--port", str(free_port()), NATS_URL=own_nats, INTERNAL_PORT=str(inside),
        LOG_FORMAT="json",
    ) as edge:  # fmt: skip

        async def ready() -> bool:
            done = await asyncio.to_thread(callboard, "health", INTERNAL_PORT=str(inside))
            return done.returncode == 0

        await eventually(ready)
        await eventually(lambda: edge.err.count("edge is listening") == 2)
        done = await asyncio.to_thread(callboard, "logs", "level", "root", "debug", "--port", str(inside))
        assert done.returncode == 0, done.stderr
        assert "root debug" in done.stdout
        wrong = await asyncio.to_thread(callboard, "logs", "level", "edgy", "debug", "--port", str(inside))
        assert wrong.returncode == 2 and "edge.hub" in wrong.stderr

        # Each worker says so itself; the process above them only passes it on.
        await eventually(lambda: edge.err.count("log level changed") == 2)


def test_expositions_of_several_workers_become_one() -> None:
    one = (
        "# HELP edge_spills Mailboxes.\n# TYPE edge_spills counter\nedge_spills_total 2.0\n"
        '# TYPE edge_seconds histogram\nedge_seconds_bucket{le="1.0"} 1.0 # {trace_id="a{b} c"} 0.5\n'
        'edge_seconds_bucket{le="+Inf"} 1.0\nedge_seconds_count 1.0\nedge_seconds_sum 0.5\n# EOF\n'
    )
    two = "# HELP edge_spills Mailboxes.\n# TYPE edge_spills counter\nedge_spills_total 3.0\n# EOF\n"

    text = merged([("1", one), ("2", two)])

    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert [(s.labels["worker"], s.value) for s in families["edge_spills"].samples] == [("1", 2.0), ("2", 3.0)]
    (bucket, *_) = families["edge_seconds"].samples
    assert bucket.labels == {"worker": "1", "le": "1.0"}
    assert bucket.exemplar and bucket.exemplar.labels == {"trace_id": "a{b} c"}
    assert text.count("# TYPE edge_spills") == 1
