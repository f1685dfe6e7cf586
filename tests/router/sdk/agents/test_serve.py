"""Agents as a program of their own: it needs the light installation alone, drains when it is told, and may be killed."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from router.broker import Broker
from router.errors import BadInput
from router.sdk.agents import AgentInput, agent, serve
from router.sdk.agents.serve import serve_until
from tests.router.sdk.agents.conftest import Served
from tests.router.sdk.runs import types
from tests.waiting import eventually, in_time

ROOT = Path(__file__).parents[4]
PROGRAM = """
import asyncio, sys
for name in ("starlette", "uvicorn", "av", "grpc", "numpy", "PIL", "prometheus_client", "cel", "rich", "uvloop"):
    sys.modules[name] = None
from callboard import RunSettings, agent, serve

@agent(sys.argv[1])
async def assistant(run, input):
    await run.chunk("working")
    if input.get("deaf"):
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                pass
    await asyncio.sleep(3600 if input.get("long") else 0)
    return input.text

serve(assistant, url=sys.argv[2], grace=0.1, settings=RunSettings(ttl=1.0), ready=lambda where: print("ready", flush=True))
"""


@asynccontextmanager
async def program(broker: Broker, url: str, name: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, Served]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-c", PROGRAM, name, url, cwd=ROOT,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None and process.stderr is not None
    try:
        said = await in_time(process.stdout.readline())
        assert said == b"ready\n", (await process.stderr.read()).decode()
        yield process, Served(broker, None, name)  # type: ignore[arg-type]
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_the_light_installation_serves_and_drains_when_it_is_told(
    nats_server: str, broker: Broker, entity: str
) -> None:
    async with program(broker, nats_server, entity) as (process, served):
        await served.begin(f"{entity}-1", {"prompt": "hi"})
        short = await served.ended(f"{entity}-1")
        await served.begin(f"{entity}-2", {"long": True})
        process.send_signal(signal.SIGTERM)
        long = await served.ended(f"{entity}-2")
        code = await in_time(process.wait())

    assert types(short) == ["workflow_start", "streaming_chunk", "completion"]
    assert short[-1].data["result"] == "hi"
    assert "shut down" in long[-1].data["error"]
    assert code == 0


async def test_an_address_of_an_edge_is_none_to_serve_at() -> None:
    @agent("nowhere")
    async def assistant(run: object, input: AgentInput) -> None: ...

    with pytest.raises(BadInput, match="over NATS"):
        await serve_until(asyncio.Event(), assistant, url="http://127.0.0.1:8000")
    with pytest.raises(BadInput, match="no agent"):
        await serve_until(asyncio.Event(), url="nats://127.0.0.1:4222")


async def test_what_is_told_to_stop_before_there_is_a_server_ends() -> None:
    @agent("nowhere")
    async def assistant(run: object, input: AgentInput) -> None: ...

    stop = asyncio.Event()
    stop.set()
    assert await serve_until(stop, assistant, url="nats://127.0.0.1:1") == 0
    assert callable(serve)


@pytest.mark.slow
async def test_of_two_replicas_one_that_is_killed_fails_its_run_once_and_the_other_takes_the_thread(
    nats_server: str, broker: Broker, entity: str
) -> None:
    async with program(broker, nats_server, entity) as (one, served):
        await served.begin(entity, {"long": True})
        async with program(broker, nats_server, entity) as (_, other):
            os.kill(one.pid, signal.SIGKILL)
            await one.wait()

            async def taken() -> bool:
                code, reason = await other.start(entity)
                assert code in ("", "409"), reason
                return code == ""

            await eventually(taken)
            said = await other.ended(entity, times=2)

    assert [each for each in types(said) if each != "streaming_chunk"] == ["workflow_start", "completion"] * 2
    ends = [each.data for each in said if each.type == "completion"]
    assert (ends[0]["synthesized"], ends[0]["success"], ends[1]["success"]) == (True, False, True)


@pytest.mark.slow
async def test_a_program_whose_work_does_not_end_ends_all_the_same(
    nats_server: str, broker: Broker, entity: str
) -> None:
    async with program(broker, nats_server, entity) as (process, served):
        await served.begin(entity, {"deaf": True})
        process.send_signal(signal.SIGTERM)
        said = await served.ended(entity)
        code = await in_time(process.wait())

    assert said[-1].data["success"] is False
    assert code == 1
