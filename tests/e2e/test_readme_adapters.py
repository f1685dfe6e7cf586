"""The samples of “Your code, without changes”, run as they stand against a running Callboard."""

from __future__ import annotations

import ast
import asyncio
import io
import json
import logging
import re
import secrets
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import agents
import httpx
import pytest
from langchain_core.messages import AIMessage
from opentelemetry.sdk.trace import TracerProvider
from tqdm import tqdm

from router.sdk import Run
from router.sdk.callbacks import Callbacks
from tests.e2e.test_readme import blocks, state_of
from tests.e2e.tree import RunningCallboard
from tests.router.sdk.adapters.models import USED, agent
from tests.waiting import PATIENCE, eventually

SAMPLES = blocks("python", "Your code, without changes")


@pytest.fixture
def address(running_callboard: RunningCallboard, monkeypatch: pytest.MonkeyPatch) -> RunningCallboard:
    """The system that samples find by the environment."""
    monkeypatch.setenv("CALLBOARD_URL", running_callboard.nats_url)
    monkeypatch.setenv("CALLBOARD_EDGE_URL", running_callboard.url)
    return running_callboard


def sample(words: str) -> str:
    (found,) = [each for each in SAMPLES if words in each]
    return found


def compiled(text: str) -> Any:
    return compile(text, "README.md", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def renamed(text: str) -> tuple[str, str]:
    """A sample whose run has a name of its own, and that name."""
    name = f"readme-{secrets.token_hex(4)}"
    return re.sub(r'"run-\d+"', repr(name), text), name


async def run(text: str, names: dict[str, Any]) -> None:
    """Runs a sample in an event loop, as a program would that has these names."""
    if (coroutine := eval(compiled(text), names)) is not None:
        await coroutine


async def types_of(tree: RunningCallboard, name: str) -> list[str]:
    """The types of a run's events, in their order, once it is over."""
    async with httpx.AsyncClient(base_url=tree.url, timeout=PATIENCE, trust_env=False) as http:
        body = {"delivery_method": "polling", "subjects": [f"agent.{name}.>"], "cursor": "earliest"}
        session = (await http.post("/callbacks/sessions", json=body)).json()["session_id"]
        page = (await http.get(f"/callbacks/sessions/{session}/events", params={"limit": 500})).json()
    # Without what the agent says of the run.
    return [event["event_type"] for event in page["events"] if event["source"] == "sdk"]


async def test_the_langchain_sample(address: RunningCallboard) -> None:
    graph = agent([AIMessage(content="Because it is so.", usage_metadata=USED)])
    text, name = renamed(sample("LangChainHandler"))

    await run(text, {"graph": graph, "question": {"messages": [("user", "Why?")]}})

    state = await state_of(address, name)
    assert (state["status"], state["tokens_used"]) == ("completed", 12)
    assert {"workflow_step", "model_selection", "streaming_chunk"} <= set(await types_of(address, name))


async def test_the_tqdm_sample(address: RunningCallboard) -> None:
    def train() -> None:
        for _ in tqdm(range(100), file=io.StringIO()):
            pass

    text, name = renamed(sample("reporting_bars"))

    await asyncio.to_thread(exec, compiled(text), {"train": train})

    state = await state_of(address, name)
    assert (state["status"], state["progress"]) == ("completed", 1.0)


@pytest.fixture
def root_logger() -> Iterator[logging.Logger]:
    logger = logging.getLogger()
    before = list(logger.handlers)
    yield logger
    for handler in [each for each in logger.handlers if each not in before]:
        logger.removeHandler(handler)


async def test_the_sample_of_what_is_installed_once(address: RunningCallboard, root_logger: logging.Logger) -> None:
    agents.set_trace_processors([])
    provider = TracerProvider()

    async def work() -> None:
        logging.getLogger("program").warning("said by logging")
        with agents.trace("said by the Agents SDK"):
            pass
        with provider.get_tracer("t").start_as_current_span("s", attributes={"gen_ai.operation.name": "chat"}):
            pass

    text, name = renamed(sample("RunSpanProcessor"))
    try:
        await run(text, {"logging": logging, "agents": agents, "provider": provider, "work": work})
    finally:
        agents.set_trace_processors([])

    assert await types_of(address, name) == [
        "workflow_start", "output", "workflow_step", "workflow_step", "model_selection", "workflow_step", "completion",
    ]  # fmt: skip


async def test_the_sample_of_a_chat_server(address: RunningCallboard) -> None:
    async def think(run: Run, message: str) -> str:
        await run.thinking(f"about {message}")
        return "thought"

    text = sample("Callbacks.from_request")
    first, work = text.split("\n\n", 1)
    names: dict[str, Any] = {"Callbacks": Callbacks, "think": think}
    await run(work, names)
    indented = first.replace("\n", "\n    ")
    await run(f"async def chat(body, group):\n    {indented}", names)
    chat: Callable[..., Coroutine[Any, Any, dict[str, Any]]] = names["chat"]
    body = {"message": "it", "callback_config": {"delivery_method": "polling"}}

    async with asyncio.TaskGroup() as group:
        answer = await chat(body, group)

    async with httpx.AsyncClient(timeout=PATIENCE, trust_env=False) as http:

        async def ended() -> list[dict[str, Any]]:
            events = (await http.get(answer["urls"]["events"], params={"cursor": "earliest"})).json()["events"]
            return events if "completion" in {event["event_type"] for event in events} else []

        events = await eventually(ended)
    said = [event["event_type"] for event in events if event["source"] == "sdk"]
    assert said == ["workflow_start", "thinking", "completion"]
    assert [e["data"]["result"] for e in events if e["event_type"] == "completion"] == ["thought"] and json.dumps(
        answer
    )
