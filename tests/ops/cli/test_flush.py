"""`callboard flush`: what a run left behind is delivered, and what stays is told."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import msgspec
import pytest

from ops.cli.flush import FlushRequest, _senders
from ops.register import Ambiguous
from ops.settings import Mistakes, Settings
from router.broker import Broker
from router.nats.embedded import free_port
from router.sdk import Run, RunSettings
from router.sdk.spool import SpoolHeader


async def flushed(*arguments: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ops", "flush", *arguments, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode()


async def test_what_a_run_left_is_delivered_to_the_server_that_is_named(
    broker: Broker, nats_server: str, entity: str, tmp_path: Path
) -> None:
    away = f"nats://127.0.0.1:{free_port()}"
    async with Run(entity, url=away, settings=RunSettings(spool_dir=tmp_path, spool_after=0.1)) as run:
        await run.thinking("unsent")
    where = ("--dir", str(tmp_path), "--run", entity)

    still = await flushed(*where, "--patience", "0")
    done = await flushed(*where, "--url", nats_server, "--json")
    nothing = await flushed(*where)

    assert still[0] == 1 and "0 events stored" in still[1] and str(tmp_path) in still[1]
    told = json.loads(done[1])
    assert done[0] == 0 and (told["run"], told["stored"], told["left"]) == (entity, 3, None)
    assert nothing == (0, f"nothing waits in {tmp_path} for {entity}\n")
    events = (await broker.read(f"agent.{entity}.>", 0)).records
    assert [r.event.type for r in events if r.event] == ["workflow_start", "thinking", "completion"]


def test_a_spool_that_knows_its_address_needs_no_choice_among_several_running(tmp_path: Path) -> None:
    several = Settings(ambiguous=Ambiguous([]))
    header = SpoolHeader("agent", "one", "a1", "sdk", "nats://there:4222", 0)

    sender = _senders(several, FlushRequest())(header)

    assert sender.url == "nats://there:4222"
    with pytest.raises(Mistakes):
        _senders(several, FlushRequest())(msgspec.structs.replace(header, url="nats://***@there:4222"))
