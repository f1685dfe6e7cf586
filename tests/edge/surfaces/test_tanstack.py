"""TanStack AI over the edge: a run is begun, goes on behind an id, and is joined by a page that was loaded anew."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.edge.conftest import RunningEdge
from tests.edge.surfaces.conftest import Worker, streaming

MESSAGES = [
    {"id": "u1", "role": "user", "content": "before"},
    {"id": "a1", "role": "assistant", "content": "an answer of another server"},
    {"id": "u2", "role": "user", "content": [{"type": "text", "text": "hi"}]},
]


async def hydrated(edge: RunningEdge, worker: Worker, thread: str) -> dict[str, Any]:
    answer = await edge.http.get(f"/tanstack/{worker.name}", params={"threadId": thread, "limit": "20"})
    found: dict[str, Any] = answer.raise_for_status().json()
    return found


def texts(said: bytes) -> list[str]:
    lines = [json.loads(line[6:]) for line in said.decode().split("\n") if line.startswith("data: ")]
    return [line["delta"] for line in lines if "delta" in line]


async def test_a_run_goes_on_behind_an_id_and_a_new_page_joins_it(
    either: RunningEdge, entity: str, worker: Worker
) -> None:
    path, body = f"/tanstack/{worker.name}", {"threadId": entity, "runId": "r1", "messages": MESSAGES}

    nothing = await hydrated(either, worker, entity)
    async with streaming(either, path, method="POST", json=body, params={}) as one:
        await worker.emit("thread", entity, "token", content="Hel")
        last = (await one.until(b"Hel")).decode().rpartition("id: ")[2].split("\n")[0]
        running = await hydrated(either, worker, entity)
        async with (
            streaming(either, path, params={"offset": "-1", "runId": f"{entity}:r1"}) as joined,
            streaming(either, path, params={"offset": "-1", "runId": "r1", "threadId": entity}) as known,
        ):
            await worker.emit("thread", entity, "token", content="lo")
            await worker.emit("thread", entity, "completion", success=True)
            assert await one.rest() == await joined.rest() == await known.rest()
    async with streaming(either, path, last=last, method="POST", json=body) as again:
        rest = await again.rest()

    over = await hydrated(either, worker, entity)

    assert nothing == {"messages": [], "activeRun": None, "interrupts": None}
    hi = {"id": "u2", "role": "user", "parts": [{"type": "text", "content": "hi"}]}
    assert running == {"messages": [hi], "activeRun": {"runId": f"{entity}:r1"}, "interrupts": None}
    assert (over["messages"][0], over["activeRun"]) == (hi, None)
    assert [(each["role"], each["parts"]) for each in over["messages"][1:]] == [
        ("assistant", [{"type": "text", "content": "Hello"}])
    ]
    assert (texts(one.said), texts(rest)) == (["Hel", "lo"], ["lo"])
    assert len(worker.asked) == 1


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ({}, 400, "bad_parameter"),
        ({"runId": "r1"}, 404, "run_not_found"),
        ({"runId": "nobody:r1"}, 404, "run_not_found"),
        ({"runId": "r1", "threadId": "nobody"}, 404, "run_not_found"),
    ],
)
async def test_what_is_not_there_is_refused(edge: RunningEdge, query: dict[str, str], status: int, code: str) -> None:
    answer = await edge.http.get("/tanstack/anybody", params=query)

    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_its_header_passes_a_preflight(edge: RunningEdge) -> None:
    asking = {"Origin": "http://localhost:5173", "Access-Control-Request-Method": "POST"}
    answer = await edge.http.options("/tanstack/assistant", headers=asking)

    assert "X-Run-Id" in answer.headers["access-control-allow-headers"]
