"""A chat over the AI SDK's addresses: sent, resumed in the middle, stopped; read by the SDK itself."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.edge.conftest import RunningEdge
from tests.edge.surfaces.conftest import Worker, streaming
from tests.npm import Libraries

HERE = Path(__file__).parent
MESSAGES = [{"id": "u1", "role": "user", "parts": [{"type": "text", "text": "hi"}]}]


def types(said: bytes) -> list[str]:
    lines = [line[6:] for line in said.decode().split("\n") if line.startswith("data: {")]
    return [json.loads(line)["type"] for line in lines]


async def test_a_message_is_sent_resumed_from_its_beginning_and_over_for_both(
    either: RunningEdge, entity: str, worker: Worker
) -> None:
    body: dict[str, Any] = {"id": entity, "messages": MESSAGES, "trigger": "submit-message", "agent": worker.name}

    assert (await either.http.get(f"/api/chat/{entity}/stream")).status_code == 204
    async with streaming(either, "/api/chat", method="POST", json=body) as sent:
        await worker.emit("thread", entity, "token", content="Hel")
        await sent.until(b"Hel")
        async with streaming(either, f"/api/chat/{entity}/stream") as resumed:
            await resumed.until(b"Hel")
            await worker.emit("thread", entity, "token", content="lo")
            await worker.emit("thread", entity, "completion", success=True)
            said, again = await sent.rest(), await resumed.rest()
    over = await either.http.get(f"/api/chat/{entity}/stream")

    assert said == again
    assert types(said) == ["start", "text-start", "text-delta", "text-delta", "text-end", "finish"]
    assert said.endswith(b"data: [DONE]\n\n")
    assert sent.answer.headers["x-vercel-ai-ui-message-stream"] == "v1"
    assert over.status_code == 204
    assert worker.asked[0]["input"] == {"messages": MESSAGES, "trigger": "submit-message"}


async def test_a_second_message_has_nothing_of_the_first_and_a_run_outlives_its_viewer(
    edge: RunningEdge, entity: str, worker: Worker
) -> None:
    body: dict[str, Any] = {"id": entity, "messages": MESSAGES, "agent": worker.name}

    async with streaming(edge, "/api/chat", method="POST", json=body) as first:
        await worker.emit("thread", entity, "token", content="one")
        await first.until(b"one")
    await worker.emit("thread", entity, "done", content="one")
    async with streaming(edge, "/api/chat", method="POST", json=body) as second:
        await worker.emit("thread", entity, "token", content="two")
        said = await second.until(b"two")

    assert b"one" not in said


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"id": "x", "messages": [], "agent": "nobody-here"}, 503, "agent_unavailable"),
        ({"messages": []}, 422, "missing_field"),
        ({"id": "x", "messages": "hi"}, 422, "bad_body"),
    ],
)
async def test_what_cannot_be_answered_is_refused(
    edge: RunningEdge, body: dict[str, Any], status: int, code: str
) -> None:
    answer = await edge.http.post("/api/chat", json=body)

    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_nothing_that_runs_is_not_stopped(edge: RunningEdge, entity: str, worker: Worker) -> None:
    unknown = await edge.http.post(f"/api/chat/{entity}/stop")
    await worker.emit("thread", entity, "workflow_start", incarnation="a")
    await worker.emit("thread", entity, "completion", success=True)
    over = await edge.http.post(f"/api/chat/{entity}/stop")

    assert [(answer.status_code, answer.json()["code"]) for answer in (unknown, over)] == [
        (404, "run_not_found"), (409, "run_over")
    ]  # fmt: skip


@pytest.mark.slow
async def test_the_sdk_itself_reads_a_message_and_its_resumption_alike(
    edge: RunningEdge, entity: str, worker: Worker, libraries: Libraries
) -> None:
    script = libraries.script(HERE / "chat.mjs")
    process = await asyncio.create_subprocess_exec(
        libraries.node, script, edge.url, entity, worker.name,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None and process.stderr is not None
    while not worker.asked:
        assert process.returncode is None, (await process.stderr.read()).decode()
        await asyncio.sleep(0.01)
    await worker.emit("thread", entity, "thinking", thought="hm")
    await worker.emit("thread", entity, "token", content="Grüß")
    assert await process.stdout.readline() == b"resumed\n"
    await worker.emit("thread", entity, "tool_use", tool_name="search", parameters={"q": "x"})
    await worker.emit("thread", entity, "tool_result", tool_name="search", result=[1])
    await worker.emit("thread", entity, "progress", progress=0.5)
    await worker.emit("thread", entity, "token", content=" Gott")
    await worker.emit("thread", entity, "completion", success=True)
    out, errors = await process.communicate()

    assert process.returncode == 0, errors.decode()
    said = json.loads(out)
    assert said["first"] == said["second"]
    assert said["nothing"] is None
    assert [part["type"] for part in said["first"]["parts"]] == [
        "reasoning",
        "text",
        "dynamic-tool",
        "data-progress",
        "text",
    ]
    assert said["first"]["parts"][2]["output"] == [1]
