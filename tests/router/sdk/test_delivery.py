"""Tests of router/sdk/delivery.py: the same over NATS and HTTP, with asyncio and without, whatever the network does."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from pathlib import Path

import pytest

from router.broker import Broker
from router.sdk import OutboxFull, Overflow, Run, RunSettings, Unsent
from router.sdk.spool import SpoolFile
from tests.proxy import Proxy
from tests.router.sdk.runs import Way, events_of, port_of, types
from tests.waiting import PATIENCE, eventually


async def test_a_run_s_events_are_stored_in_their_order_once(way: Way, entity: str) -> None:
    tokens = [f"wörd{n} " for n in range(400)]

    async with way.program(entity, name="Report") as run:
        for n in range(300):
            await run.emit("noted", {"n": n})
        for token in tokens:
            await run.chunk(token)
        await run.complete({"rows": 3}, tokens_used=7)

    events = await events_of(way.broker, entity)
    assert [event.data["n"] for event in events if event.type == "noted"] == list(range(300))
    assert "".join(e.data["content"] for e in events if e.type == "streaming_chunk") == "".join(tokens)
    assert types(events)[0] == "workflow_start" and types(events)[-1] == "completion"
    assert types(events).count("completion") == 1
    assert events[0].data["name"] == "Report" and events[-1].data["result"] == {"rows": 3}
    assert [event.id for event in events] == [
        f"{entity}.{events[0].data['incarnation']}.{n + 1}" for n in range(len(events))
    ]
    assert run.run.report.unsent == run.run.report.refused == run.run.report.dropped == 0


async def test_a_run_that_starts_and_ends_while_the_server_is_away_is_delivered_by_a_flush(
    way: Way, entity: str, caplog: pytest.LogCaptureFixture
) -> None:
    way.proxy.refuse()

    with caplog.at_level(logging.WARNING):
        async with asyncio.timeout(PATIENCE), way.program(entity) as run:
            for n in range(50):
                await run.emit("noted", {"n": n})

    report = run.run.report
    assert (report.unsent, report.stored) == (52, 0) and report.spool is not None and report.spool.exists()
    assert "callboard flush" in caplog.text
    assert await events_of(way.broker, entity) == []
    assert [told.left is None for told in await way.flush(patience=0.0)] == [False]
    way.proxy.accept()
    (told,) = await way.flush()
    assert (told.stored, told.refused, told.left) == (52, 0, None)
    events = await events_of(way.broker, entity)
    assert types(events) == ["workflow_start", *["noted"] * 50, "completion"]
    assert [event.data["n"] for event in events[1:-1]] == list(range(50))
    assert events[-1].data["success"] is True and not report.spool.exists()
    assert await way.flush() == []


async def test_an_outage_in_the_middle_loses_nothing_and_keeps_the_order(way: Way, entity: str) -> None:
    async with way.program(entity) as run:
        await eventually(lambda: run.waiting == 0)
        way.proxy.refuse()
        for n in range(200):
            await run.emit("noted", {"n": n})
        await eventually(lambda: run.run.report.spool)
        for n in range(200, 400):
            await run.emit("noted", {"n": n})
        way.proxy.accept()
        await eventually(lambda: run.waiting == 0)
        await run.emit("noted", {"n": 400})

    events = await events_of(way.broker, entity)
    assert [event.data["n"] for event in events if event.type == "noted"] == list(range(401))
    assert types(events).count("completion") == 1
    assert not list(way.folder.glob("*.spool"))


async def test_what_a_frozen_server_kept_a_run_from_storing_is_delivered_by_its_next_process(
    way: Way, entity: str
) -> None:
    settings = way.settings(drain=0.3)
    async with way.program(entity, settings) as first:
        await eventually(lambda: first.waiting == 0)
        way.proxy.blackhole()
        for n in range(6):
            await first.emit("noted", {"n": n})
    assert first.run.report.unsent == 7

    way.proxy.flow()
    async with way.program(entity) as second:
        await second.emit("noted", {"n": 6})

    events = await events_of(way.broker, entity)
    assert [event.data["n"] for event in events if event.type == "noted"] == list(range(7))
    assert types(events).count("completion") == 2
    assert [event.data["incarnation"] for event in events if "incarnation" in event.data] == [
        *[events[0].data["incarnation"]] * 2, *[events[-1].data["incarnation"]] * 2,
    ]  # fmt: skip
    assert second.run.report.unsent == 0 and not list(way.folder.glob("*.spool"))


async def test_what_can_not_be_spooled_is_raised(way: Way, entity: str) -> None:
    way.proxy.refuse()

    with pytest.raises(Unsent, match="3 events"):
        async with way.program(entity, way.settings(spool=False, drain=0.2)) as run:
            await run.thinking("into the void")

    assert run.run.report.unsent == 3 and run.run.report.spool is None


async def test_an_exception_of_the_program_is_not_replaced_by_what_is_unsent(way: Way, entity: str) -> None:
    way.proxy.refuse()

    with pytest.raises(LookupError):
        async with way.program(entity, way.settings(spool=False, drain=0.2)):
            raise LookupError("gone")


async def test_runs_that_share_a_connection_deliver_beside_one_another(way: Way, entity: str) -> None:
    async with Run.connect(way.url) as shared, Run(entity, shared) as one, one.child(f"{entity}c") as child:
        await child.thinking("a part of it")

    (start, _, _) = await events_of(way.broker, f"{entity}c")
    assert (start.data["parent"], start.data["parent_domain"]) == (entity, "agent")
    assert types(await events_of(way.broker, entity)) == ["workflow_start", "completion"]


async def test_a_full_outbox_makes_who_wants_it_wait_and_gives_up_with_an_error(way: Way, entity: str) -> None:
    settings = way.settings(overflow=Overflow.WAIT, capacity=5, wait_limit=0.2)
    async with way.program(entity, settings) as run:
        await eventually(lambda: run.waiting == 0)
        way.proxy.refuse()
        for n in range(5):
            await run.emit("noted", {"n": n})
        with pytest.raises(OutboxFull):
            await run.emit("noted", {"n": 5})
        way.proxy.accept()
        await eventually(lambda: run.waiting == 0)
        for n in range(5, 25):
            await run.emit("noted", {"n": n})

    events = await events_of(way.broker, entity)
    assert [event.data["n"] for event in events if event.type == "noted"] == list(range(25))


async def test_what_is_spooled_is_forced_to_the_disk_after_a_second_and_at_the_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, entity: str
) -> None:
    forced: list[tuple[int, bool]] = []
    fdatasync = os.fdatasync

    def sync(descriptor: int) -> None:
        fdatasync(descriptor)
        forced.append((os.fstat(descriptor).st_size, threading.current_thread() is threading.main_thread()))

    monkeypatch.setattr(os, "fdatasync", sync)
    settings = RunSettings(spool_dir=tmp_path, spool_after=0.01, drain=0.0)
    async with Run(entity, url="nats://127.0.0.1:1", settings=settings) as run:
        await eventually(lambda: len(forced) == 1)
        for _ in range(100):
            await run.thinking("on")

    assert run.report.spool is not None
    assert forced[-1] == (run.report.spool.stat().st_size, False) and 2 <= len(forced) <= 4


async def test_a_disk_that_cannot_be_forced_ends_no_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, entity: str, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", fail)
    settings = RunSettings(spool_dir=tmp_path, spool_after=0.01, drain=0.0)

    async with Run(entity, url="nats://127.0.0.1:1", settings=settings) as run:
        await run.thinking("on")

    assert run.report.spool is not None and "a power cut may take it" in caplog.text


async def test_a_spool_knows_the_life_that_a_revived_run_goes_on_as(
    broker: Broker, nats_server: str, tmp_path: Path, entity: str
) -> None:
    async with Proxy(port_of(nats_server)) as proxy:
        url = f"nats://127.0.0.1:{proxy.port}"
        settings = RunSettings(spool_dir=tmp_path, spool_after=0.01, drain=0.0)
        async with Run(entity, url=url, settings=settings) as run:
            await eventually(lambda: run.waiting == 0)
            proxy.refuse()
            await run.thinking("on")
            await eventually(lambda: run.report.spool is not None)
            run._delivery.revive()
        assert run.report.spool is not None
        file = SpoolFile.open(run.report.spool)

    assert file is not None and file.header.incarnation == run.incarnation
    assert [item.subject.rpartition(".")[2] for item, _ in file.read(file.start)] == ["thinking", "completion"]
    file.close()
