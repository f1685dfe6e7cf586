"""Tests of router/sdk/flush.py against a real nats-server and a real edge."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from router.broker import Broker
from router.codec import encode
from router.event import Event
from router.runs import RunLedger
from router.sdk import Run, RunSettings
from router.sdk.connect import sender_to
from router.sdk.encoder import RunEncoder
from router.sdk.flush import flush
from router.sdk.queued import Kind
from router.sdk.spool import SpoolFile, new_header
from tests.router.sdk.runs import Way, events_of, types
from tests.waiting import in_time

# A program that is killed in the middle of an outage: it says that it has spooled, and waits for its end.
KILLED = """
import asyncio, sys
from pathlib import Path
from router.sdk import Run, RunSettings, SyncRun
url, run, folder, kind = sys.argv[1:]
settings = RunSettings(spool_dir=Path(folder), spool_after=0.1)
def ready():
    print("spooled", flush=True)
if kind == "async":
    async def main():
        async with Run(run, url=url, settings=settings) as made:
            for n in range(20):
                await made.emit("noted", {"n": n})
            while not made.report.spool:
                await asyncio.sleep(0.01)
            await made.emit("noted", {"n": 20})
            ready()
            await asyncio.sleep(600)
    asyncio.run(main())
else:
    import time
    with SyncRun(run, url, settings=settings) as made:
        for n in range(20):
            made.emit("noted", {"n": n})
        while not made.report.spool:
            time.sleep(0.01)
        made.emit("noted", {"n": 20})
        ready()
        time.sleep(600)
"""


async def test_a_program_that_is_killed_in_an_outage_is_delivered_and_ended(way: Way, entity: str) -> None:
    way.proxy.refuse()
    kind = "async" if way.asyncio else "sync"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", KILLED, way.url, entity, str(way.folder), kind, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await in_time(process.stdout.readline()) == b"spooled\n"
    way.proxy.accept()
    (told,) = await way.flush(patience=0.0)
    assert told.left == "its run is still open"
    way.proxy.refuse()
    os.kill(process.pid, signal.SIGKILL)
    await process.wait()
    way.proxy.accept()

    (told,) = await way.flush()

    assert told.left is None and told.over is None
    events = await events_of(way.broker, entity)
    assert [event.data["n"] for event in events if event.type == "noted"] == list(range(21))
    assert types(events)[0] == "workflow_start" and types(events).count("completion") == 1
    assert events[-1].data["success"] is False and "without a completion" in events[-1].data["error"]


async def test_a_life_that_is_superseded_is_not_delivered_behind_the_new_one(
    broker: Broker, nats_server: str, entity: str, tmp_path: Path
) -> None:
    encoder = RunEncoder("agent", entity, "sdk")
    file = SpoolFile.create(tmp_path, new_header(encoder.life, nats_server))
    old = encoder.encode(1, "workflow_start", {"incarnation": encoder.incarnation}, kind=Kind.START)[1]
    file.append([old, encoder.encode(2, "noted", {"n": 2})[1]])
    file.close()
    ledger = RunLedger(broker)
    await ledger.begin("agent", entity, encoder.incarnation)
    async with Run(entity, broker, settings=RunSettings(spool_dir=tmp_path / "other")):
        pass

    (told,) = [told async for told in flush(tmp_path, lambda header: sender_to(broker, header.life, 10.0, None))]

    assert (told.stored, told.refused) == (0, 2) and "another incarnation" in str(told.over)
    assert types(await events_of(broker, entity)) == ["workflow_start", "completion"]


async def test_only_the_files_of_one_run_are_delivered_where_one_is_named(way: Way, entity: str) -> None:
    way.proxy.refuse()
    for name in (entity, f"{entity}b"):
        async with way.program(name):
            pass
    way.proxy.accept()

    (told,) = await way.flush(run=entity)

    assert told.header is not None and told.header.run == entity and len(list(way.folder.iterdir())) == 1


@pytest.mark.parametrize("ended", [False, True], ids=["killed", "left with its completion"])
async def test_what_a_run_left_that_was_failed_meanwhile_comes_behind_the_start_of_its_next_life(
    way: Way, entity: str, ended: bool
) -> None:
    encoder = _left(way, entity, ended)
    await RunLedger(way.broker).begin("agent", entity, encoder.incarnation)
    await _fail(way.broker, entity)

    (told,) = await way.flush()

    assert told.left is None and told.over is None
    events = await events_of(way.broker, entity)
    assert types(events) == ["completion", "workflow_start", "noted", "noted", "completion"]
    assert events[1].data["resumed"] is True and events[-1].data["incarnation"] == events[1].data["incarnation"]
    assert events[-1].data["success"] is ended


async def test_the_next_process_of_a_run_whose_spool_revives_it_ends_its_own_life(way: Way, entity: str) -> None:
    encoder = _left(way, entity, ended=True)
    await RunLedger(way.broker).begin("agent", entity, encoder.incarnation)
    await _fail(way.broker, entity)

    async with way.program(entity) as program:
        await program.thinking("mine")

    events = await events_of(way.broker, entity)
    assert types(events) == [
        "completion", "workflow_start", "noted", "noted", "completion", "workflow_start", "thinking", "completion",
    ]  # fmt: skip
    starts = [event.data["incarnation"] for event in events if event.type == "workflow_start"]
    assert [event.data.get("incarnation") for event in events if event.type == "completion"] == [None, *starts]


def _left(way: Way, entity: str, ended: bool) -> RunEncoder:
    """What a program left whose start is stored, and the rest not."""
    encoder = RunEncoder("agent", entity, "sdk")
    file = SpoolFile.create(way.folder, new_header(encoder.life, way.url))
    file.append([encoder.encode(n, "noted", {"n": n})[1] for n in (2, 3)])
    if ended:
        data = {"success": True, "incarnation": encoder.incarnation}
        file.append([encoder.encode(4, "completion", data, kind=Kind.END)[1]])
    file.close()
    return encoder


async def _fail(broker: Broker, entity: str) -> None:
    """What the agent actor does for a producer whose lease ran out."""
    gone = Event.new(f"agent.{entity}.completion", {"success": False, "synthesized": True}, source="agent")
    await RunLedger(broker).end(gone, encode(gone), synthesized=True)


async def test_a_program_that_is_killed_after_it_revived_is_delivered_into_its_last_life(way: Way, entity: str) -> None:
    encoder = _left(way, entity, ended=False)
    ledger = RunLedger(way.broker)
    await ledger.begin("agent", entity, encoder.incarnation)
    await _fail(way.broker, entity)
    file = SpoolFile.open(next(way.folder.iterdir()))
    assert file is not None
    encoder.renew()
    await ledger.begin("agent", entity, encoder.incarnation, resumed=True)
    file.note_life(encoder.incarnation)
    file.append([encoder.encode(4, "noted", {"n": 4})[1]])
    file.close()

    (told,) = await way.flush()

    assert told.over is None and told.refused == 0
    events = await events_of(way.broker, entity)
    assert [event.data["n"] for event in events if event.type == "noted"] == [2, 3, 4]
    assert events[-1].data["incarnation"] == encoder.incarnation and events[-1].data["synthesized"] is True
