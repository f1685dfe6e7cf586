"""Agents behind a whole Callboard: the README's ten lines, and a stop by each protocol, in mid-answer, that all readers see."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from router.broker import Broker
from router.nats.settings import BrokerSettings
from router.sdk import Run
from router.sdk.agents import AgentInput, agent
from router.sdk.agents.server import AgentServer
from tests.e2e.test_readme import blocks, pasted
from tests.e2e.tree import RunningCallboard
from tests.npm import Libraries
from tests.ops.command import environment
from tests.router.sdk.runs import events_of
from tests.waiting import PATIENCE, eventually, in_time

HERE = Path(__file__).parent
USER = [{"id": "u1", "role": "user", "content": "hi", "parts": [{"type": "text", "text": "hi"}]}]


class Page:
    """A stream as a page reads it."""

    def __init__(self, answer: httpx.Response) -> None:
        self.said = ""
        self.status = answer.status_code
        self._parts = answer.aiter_text()

    async def shows(self, text: str) -> None:
        async with asyncio.timeout(PATIENCE):
            while text not in self.said:
                self.said += await anext(self._parts)

    async def rest(self) -> list[dict[str, Any]]:
        """All events of the stream, once it has ended."""
        async with asyncio.timeout(PATIENCE):
            async for part in self._parts:
                self.said += part
        return [json.loads(line[6:]) for line in self.said.split("\n") if line.startswith("data: {")]


@contextlib.asynccontextmanager
async def page(http: httpx.AsyncClient, method: str, path: str, body: Any = None) -> AsyncIterator[Page]:
    async with http.stream(method, path, json=body) as answer:
        yield Page(answer)


class Slow:
    """An agent that says some words and then takes for ever, until it is cancelled."""

    def __init__(self, broker: Broker) -> None:
        self.name = f"slow-{secrets.token_hex(4)}"
        self.cancelled = 0
        self.broker = broker

        @agent(self.name)
        async def slow(run: Run, input: AgentInput) -> Any:
            yield "half of "
            yield "an answer"
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                self.cancelled += 1
                raise

        self.agent = slow

    async def ends(self, thread: str) -> list[str | None]:
        """How the runs of a thread have ended."""
        return [
            each.data.get("status")
            for each in await events_of(self.broker, thread, "thread")
            if each.type == "completion"
        ]


@pytest.fixture
async def http(running_callboard: RunningCallboard) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=running_callboard.url, timeout=PATIENCE, trust_env=False) as client:
        yield client


@pytest.fixture
async def slow(running_callboard: RunningCallboard) -> AsyncIterator[Slow]:
    """The agent, served."""
    async with Broker(BrokerSettings(running_callboard.nats_url, request_timeout=60), "test") as broker:
        made, stop, ready = Slow(broker), asyncio.Event(), asyncio.Event()
        serving = asyncio.ensure_future(AgentServer([made.agent], broker, grace=0).run(stop, ready.set))
        await ready.wait()
        yield made
        stop.set()
        await serving


async def test_the_agent_of_the_readme_answers_a_chat(running_callboard: RunningCallboard, tmp_path: Path) -> None:
    tree = running_callboard
    (sample,) = blocks("python", "An agent in ten lines")
    (curl,) = [each for each in blocks("sh", "An agent in ten lines") if "curl" in each]
    (tmp_path / "assistant.py").write_text(sample)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "assistant.py", cwd=tmp_path, env=environment({"CALLBOARD_URL": tree.nats_url}),
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    try:
        line = await in_time(process.stderr.readline())
        assert b"serving assistant at nats://" in line, line + await process.stderr.read()
        done = await asyncio.to_thread(
            subprocess.run,
            ["sh", "-c", pasted(curl, tree)],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=True,
        )
        process.send_signal(signal.SIGINT)
        code = await in_time(process.wait())
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()

    said = [json.loads(line[6:]) for line in done.stdout.split("\n") if line.startswith("data: {")]
    assert (
        "".join(each["delta"] for each in said if each["type"] == "text-delta") == "5 words: How many words are these "
    )
    assert [each["output"] for each in said if each["type"] == "tool-output-available"] == [5]
    assert (said[-1]["type"], code) == ("finish", 0)


async def test_a_chat_of_the_ai_sdk_is_stopped_in_mid_answer_for_both_tabs_and_goes_on_afterwards(
    http: httpx.AsyncClient, slow: Slow, entity: str
) -> None:
    body = {"id": entity, "messages": USER, "agent": slow.name}

    async with page(http, "POST", "/api/chat", body) as one, page(http, "GET", f"/api/chat/{entity}/stream") as two:
        await asyncio.gather(one.shows("an answer"), two.shows("an answer"))
        busy = await http.post("/api/chat", json=body)
        stopped = await http.post(f"/api/chat/{entity}/stop")
        # The person who has stopped it writes on at once.
        async with page(http, "POST", "/api/chat", body) as next:
            await next.shows("an answer")
            ends = await slow.ends(entity)
            first, second = await asyncio.gather(one.rest(), two.rest())
            await http.post(f"/api/chat/{entity}/stop")
            await next.rest()
    again = await http.post(f"/api/chat/{entity}/stop")
    idle = await http.get(f"/api/chat/{entity}/stream")

    assert first == second
    types = [each["type"] for each in first]
    assert types[0] == "start" and types[-2:] == ["text-end", "abort"]
    assert "".join(each["delta"] for each in first if each["type"] == "text-delta") == "half of an answer"
    # One that has heard nothing for a while is sent a comment, which no client sees.
    shown = [each.said.replace(": keep-alive\n\n", "") for each in (one, two)]
    assert shown[0] == shown[1] and shown[0].endswith("data: [DONE]\n\n")
    assert (busy.status_code, busy.json()["code"]) == (409, "busy")
    assert (stopped.status_code, stopped.json()["status"]) == (200, "stopping")
    assert (again.status_code, again.json()["code"], idle.status_code) == (409, "run_over", 204)
    assert ends == ["cancelled"] and slow.cancelled == 2


async def test_a_message_that_waits_in_line_is_read_from_its_own_beginning_on(
    running_callboard: RunningCallboard, http: httpx.AsyncClient, entity: str
) -> None:
    go = asyncio.Event()

    @agent(entity, queue=1)
    async def assistant(run: Run, input: str) -> Any:
        yield f"answer to {input}"
        await go.wait()
        yield ", and more"

    def body(text: str) -> dict[str, Any]:
        return {"id": entity, "agent": entity, "messages": [{"role": "user", "content": text}]}

    async with Broker(BrokerSettings(running_callboard.nats_url, request_timeout=60), "test") as broker:
        stop, ready = asyncio.Event(), asyncio.Event()
        serving = asyncio.ensure_future(AgentServer([assistant], broker).run(stop, ready.set))
        await ready.wait()
        async with page(http, "POST", "/api/chat", body("one")) as one:
            await one.shows("answer to one")
            async with page(http, "POST", "/api/chat", body("two")) as two:
                full = await http.post("/api/chat", json=body("three"))
                go.set()
                first, second = await asyncio.gather(one.rest(), two.rest())
        stop.set()
        await serving

    texts = ["".join(each["delta"] for each in said if each["type"] == "text-delta") for said in (first, second)]
    assert texts == ["answer to one, and more", "answer to two, and more"]
    assert [said[-1]["type"] for said in (first, second)] == ["finish", "finish"]
    assert (full.status_code, full.json()["code"]) == (409, "busy")


async def test_a_run_of_ag_ui_outlives_its_client_and_is_stopped_at_an_address_of_ours(
    http: httpx.AsyncClient, slow: Slow, entity: str
) -> None:
    body = {"threadId": entity, "runId": "r-1", "messages": USER}

    async with page(http, "POST", f"/ag-ui/{slow.name}", body) as one:
        await one.shows("an answer")
    # What `abortRun` of its client does: the connection is gone, and the run is not.
    async with page(http, "GET", f"/ag-ui/threads/{entity}") as two:
        await two.shows("an answer")
        assert slow.cancelled == 0
        stopped = await http.post(f"/ag-ui/threads/{entity}/stop", json={"reason": "enough"})
        said = await two.rest()
    again = await http.post(f"/ag-ui/threads/{entity}/stop")
    unknown = await http.post(f"/ag-ui/threads/{entity}-none/stop")

    types = [each["type"] for each in said]
    assert types[0] == "RUN_STARTED" and types[-2:] == ["CUSTOM", "RUN_FINISHED"]
    assert types[-3] == "TEXT_MESSAGE_END" and "RUN_ERROR" not in types
    assert (said[-2]["name"], said[-1]["runId"]) == ("cancelled", "r-1")
    assert "".join(each["delta"] for each in said if each["type"] == "TEXT_MESSAGE_CONTENT") == "half of an answer"
    assert stopped.json() == {"threadId": entity, "runId": "r-1", "status": "stopping"}
    assert (again.json()["code"], unknown.json()["code"]) == ("run_over", "run_not_found")
    assert await slow.ends(entity) == ["cancelled"]


async def test_a_run_of_the_agent_run_guide_is_stopped_and_says_so_once(
    http: httpx.AsyncClient, slow: Slow, entity: str
) -> None:
    begun = (await http.post(f"/thread/{entity}/agent/start", json={"agent": slow.name, "prompt": "hi"})).json()
    run = begun["agent_run_id"]

    async with page(http, "GET", f"/agent-run/{run}/stream") as one:
        await one.shows("an answer")
        stopped = await http.post(f"/agent-run/{run}/stop")
        said = await one.rest()
    read = (await http.get(f"/agent-run/{run}")).json()
    listed = (await http.get(f"/thread/{entity}/agent-runs")).json()["agent_runs"]

    contents = [(each["type"], each["content"]) for each in said if "type" in each]
    assert ("status", "stopping") in contents
    assert [content["status"] for kind, content in contents if kind == "done"] == ["cancelled"]
    assert not any(kind == "error" for kind, _ in contents)
    assert one.said.endswith("event: close\ndata: {}\n\n")
    assert stopped.json() == {"id": run, "status": "stopping"}
    assert (read["status"], read["completedAt"] is not None, read["error"]) == ("stopped", True, None)
    assert [each["status"] for each in listed] == ["stopped"]


async def test_the_page_and_every_producer_s_address_stop_it_too(
    http: httpx.AsyncClient, slow: Slow, entity: str
) -> None:
    await http.post(f"/thread/{entity}/agent/start", json={"agent": slow.name})

    async def is_stopped() -> bool:
        return (await http.post(f"/runs/{entity}/stop", json={"domain": "thread"})).status_code == 200

    await eventually(is_stopped)
    assert await eventually(lambda: slow.ends(entity)) == ["cancelled"]


@pytest.mark.slow
async def test_the_ai_sdk_itself_shows_the_text_of_a_message_that_was_stopped_from_another_tab(
    running_callboard: RunningCallboard, slow: Slow, entity: str, libraries: Libraries
) -> None:
    script = libraries.script(HERE / "stop.mjs")
    done = await asyncio.to_thread(
        subprocess.run, [libraries.node, script, running_callboard.url, entity, slow.name],
        capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["first"] == said["second"]
    assert [part["text"] for part in said["first"]["parts"] if part["type"] == "text"] == ["half of an answer"]
    assert said["chunks"].count("abort") == 1 and not {"finish", "error"} & set(said["chunks"])
    assert said["nothing"] is None
    assert await slow.ends(entity) == ["cancelled"]
