"""Tests of logging.py: records of a program become events of its run, and none of them makes others."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

import pytest

from router.broker import Broker
from router.sdk import Run, SyncRun
from router.sdk.adapters.context import reporting_to
from router.sdk.adapters.logging import RunLogHandler
from tests.router.sdk.runs import events_of, types


@pytest.fixture
def logger(entity: str) -> Iterator[logging.Logger]:
    logger = logging.getLogger(f"program.{entity}")
    logger.setLevel(logging.DEBUG)
    yield logger
    logger.handlers.clear()


async def test_records_are_output_and_errors_are_errors(broker: Broker, entity: str, logger: logging.Logger) -> None:
    async with Run(entity, broker) as run:
        logger.addHandler(RunLogHandler(run))
        logger.debug("not asked for")
        logger.info("read %d rows", 3)
        logger.warning("slow")
        try:
            _ = 1 / 0
        except ZeroDivisionError:
            logger.exception("could not divide")

    events = await events_of(broker, entity)
    assert types(events) == ["workflow_start", "output", "output", "error", "completion"]
    assert events[1].data == {"line": "read 3 rows", "stream": "log", "level": "info", "logger": logger.name}
    error = events[3].data
    assert (error["error"], error["error_type"], error["recoverable"]) == (
        "could not divide",
        "ZeroDivisionError",
        True,
    )
    assert "1 / 0" in error["traceback"]
    assert events[-1].data["success"] is True


async def test_one_handler_serves_many_runs_each_in_its_context(
    broker: Broker, entity: str, logger: logging.Logger
) -> None:
    logger.addHandler(RunLogHandler())

    async def work(name: str) -> None:
        async with Run(f"{entity}-{name}", broker) as run:
            with reporting_to(run):
                logger.info("of %s", name)
                await asyncio.to_thread(logger.info, "of %s, in a thread", name)

    await asyncio.gather(work("a"), work("b"))
    logger.info("of nobody")

    for name in "ab":
        lines = [e.data["line"] for e in await events_of(broker, f"{entity}-{name}") if e.type == "output"]
        assert lines == [f"of {name}", f"of {name}, in a thread"]


async def test_what_the_sdk_logs_about_an_event_makes_no_event(broker: Broker, entity: str) -> None:
    root = logging.getLogger()
    handler = RunLogHandler(level=logging.DEBUG)
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        async with Run(entity, broker) as run:
            with reporting_to(run):
                logging.getLogger("router.sdk.run").warning("an event was dropped")
                logging.getLogger("nats.aio.client").warning("reconnecting")
                logging.getLogger("program").info("mine")
    finally:
        root.removeHandler(handler)
        root.setLevel(before)

    lines = [event.data["line"] for event in await events_of(broker, entity) if event.type == "output"]
    assert [line for line in lines if line != "mine"] == [] and len(lines) == 1


async def test_threads_of_a_program_without_asyncio_log_to_its_run(
    nats_server: str, broker: Broker, entity: str, logger: logging.Logger
) -> None:
    def program() -> None:
        with SyncRun(entity, nats_server) as run:
            logger.addHandler(RunLogHandler(run))
            logger.info("one")
            logger.error("two")

    await asyncio.to_thread(program)

    events = await events_of(broker, entity)
    assert types(events) == ["workflow_start", "output", "error", "completion"]


async def test_a_record_that_cannot_be_made_into_text_disturbs_nobody(
    broker: Broker, entity: str, logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    async with Run(entity, broker) as run:
        logger.addHandler(RunLogHandler(run))
        logger.propagate = False
        logger.info("%d rows", "three")
        logger.info("on it goes")

    assert "Logging error" in capsys.readouterr().err
    assert [e.data["line"] for e in await events_of(broker, entity) if e.type == "output"] == ["on it goes"]
