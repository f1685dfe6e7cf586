"""AG-UI over the edge: an agent is run by its own client, a run is joined by a second one, and none is started twice."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.edge.conftest import RunningEdge
from tests.edge.surfaces.conftest import Worker, streaming
from tests.npm import Libraries
from tests.waiting import eventually

HERE = Path(__file__).parent


def types(said: bytes) -> list[str]:
    return [json.loads(line[6:])["type"] for line in said.decode().split("\n") if line.startswith("data: ")]


async def test_a_run_is_streamed_joined_and_not_started_twice(either: RunningEdge, entity: str, worker: Worker) -> None:
    body: dict[str, Any] = {"threadId": entity, "runId": "r1", "messages": []}
    path = f"/ag-ui/{worker.name}"

    async with streaming(either, path, method="POST", json=body) as one:
        await worker.emit("thread", entity, "token", content="Hel")
        last = (await one.until(b"Hel")).decode().rpartition("id: ")[2].strip()
        async with streaming(either, f"/ag-ui/threads/{entity}") as two:
            await two.until(b"Hel")
            await worker.emit("thread", entity, "token", content="lo")
            await worker.emit("thread", entity, "completion", success=True)
            said, joined = await one.rest(), await two.rest()
    async with streaming(either, path, last=last, method="POST", json=body) as again:
        rest = await again.rest()
    ids = [line[4:] for line in said.decode().split("\n") if line.startswith("id: ")]
    behind = []
    for id in ids[:-1]:
        async with streaming(either, f"/ag-ui/threads/{entity}", last=id) as cut:
            behind.append(types(await cut.rest()))

    whole = [
        "RUN_STARTED",
        "TEXT_MESSAGE_START",
        "TEXT_MESSAGE_CONTENT",
        "TEXT_MESSAGE_CONTENT",
        "TEXT_MESSAGE_END",
        "RUN_FINISHED",
    ]
    assert types(said) == types(joined) == whole
    assert types(rest) == whole[3:]
    # Each part has an id: one of a message's first, and one of the end's.
    assert behind == [whole[place:] for place in range(1, len(whole))]
    assert len(worker.asked) == 1
    assert (await either.http.get("/ag-ui/threads/nope")).json()["code"] == "run_not_found"


async def test_a_request_that_is_repeated_joins_its_run_and_another_id_begins_another(
    edge: RunningEdge, entity: str, worker: Worker
) -> None:
    body: dict[str, Any] = {"threadId": entity, "runId": "r1", "messages": []}
    path = f"/ag-ui/{worker.name}"

    async with streaming(edge, path, method="POST", json=body) as one:
        await worker.emit("thread", entity, "token", content="Hel")
        await one.until(b"Hel")
        async with (
            streaming(edge, path, method="POST", json=body) as again,
            streaming(edge, f"/ag-ui/threads/{entity}") as joined,
        ):
            assert len(worker.asked) == 1
            await worker.emit("thread", entity, "completion", success=True)
            # All of them have the same ids of messages, and of the run.
            assert await one.rest() == await again.rest() == await joined.rest()
    async with streaming(edge, path, method="POST", json=body) as reused:
        await reused.until(b"RUN_STARTED")

    assert [asked["incarnation"] == "r1" for asked in worker.asked] == [True, False]


async def test_the_address_is_valid_to_the_protocol_s_own_validator(
    edge: RunningEdge, entity: str, worker: Worker
) -> None:
    rules = pytest.importorskip("ag_ui_validate.pytest_plugin", reason="ag-ui-validate is not installed")
    asked = {"threadId": entity, "runId": "r1", "messages": [{"id": "u1", "role": "user", "content": "hi"}]}

    validating = asyncio.ensure_future(rules.validate_agui_endpoint(f"{edge.url}/ag-ui/{worker.name}", input=asked))
    await eventually(lambda: worker.asked)
    for kind, data in (
        ("thinking", {"thought": "hm"}),
        ("token", {"content": "Grüß"}),
        ("completion", {"success": True}),
    ):
        await worker.emit("thread", entity, kind, **data)
    report = await validating

    assert [each.message for each in report.diagnostics if each.severity != "info"] == report.internal_errors == []
    assert report.event_count == 10
    # Also its rules of framing, content type and end were put to it.
    assert not {"AGUI501", "AGUI505", "AGUI508"} & {each.rule for each in report.skipped}


@pytest.mark.slow
async def test_its_own_client_verifies_a_run(
    edge: RunningEdge, entity: str, worker: Worker, libraries: Libraries
) -> None:
    script = libraries.script(HERE / "agent.mjs")
    process = await asyncio.create_subprocess_exec(
        libraries.node, script, edge.url, entity, worker.name,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    await eventually(lambda: worker.asked or process.returncode is not None)
    for kind, data in (
        ("thinking", {"thought": "hm"}), ("token", {"content": "Grüß"}), ("token", {"content": " Gott"}),
        ("tool_use", {"tool_name": "search", "parameters": {"q": "x"}}), ("tool_result", {"tool_name": "search", "result": [1]}),
        ("state_snapshot", {"snapshot": {"a": 1}}), ("state_delta", {"delta": [{"op": "replace", "path": "/a", "value": 2}]}),
        ("progress", {"progress": 0.5}), ("completion", {"success": True}),
    ):  # fmt: skip
        await worker.emit("thread", entity, kind, **data)
    out, errors = await process.communicate()

    assert process.returncode == 0, errors.decode()
    said = json.loads(out)
    assert said["state"] == {"a": 2}
    assert [message["role"] for message in said["messages"]] == ["user", "reasoning", "assistant", "assistant", "tool"]
    assert said["messages"][2]["content"] == "Grüß Gott"
    assert said["seen"][-1] == "RUN_FINISHED"
