"""One job, watched over every transport at once: each reader has all of its events, in one and the same order."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
import websockets

from tests.browser.conftest import Tab
from tests.e2e.tree import RunningCallboard
from tests.edge.webhooks.stage import Receiver
from tests.ops.command import ROOT
from tests.waiting import PATIENCE, eventually, in_time

JOB = """
import sys, time
for step in range(1, 9):
    print(f"step {step}/8", flush=True)
    if step == 4:
        print("half of it – schon ½ 🎬", file=sys.stderr, flush=True)
    time.sleep(0.1)
"""

Seen = list[str]
"""Ids of the events that a reader got, in the order it got them."""


@contextlib.asynccontextmanager
async def reading(*readers: Callable[[], Any]) -> AsyncIterator[None]:
    """Lets readers read beside the block."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(reader()) for reader in readers]
        yield
        for task in tasks:
            task.cancel()


async def by_curl(url: str, seen: Seen) -> None:
    process = await asyncio.create_subprocess_exec(
        "curl", "-sN", f"{url}/sse", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    )
    assert process.stdout
    try:
        name = "message"
        async for line in process.stdout:
            if line.startswith(b"event: "):
                name = line[7:].strip().decode()
            elif line.startswith(b"data: ") and name == "message":
                seen.append(json.loads(line[6:])["id"])
            elif line == b"\n":
                name = "message"
    finally:
        process.kill()
        await process.communicate()


async def by_websocket(url: str, seen: Seen) -> None:
    async with websockets.connect(f"{url.replace('http', 'ws', 1)}/ws", proxy=None, open_timeout=PATIENCE) as socket:
        async for message in socket:
            said = json.loads(message)
            if "control" not in said:
                seen.append(said["id"])


async def by_polling(url: str, seen: Seen) -> None:
    cursor = ""
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE) as http:
        while True:
            page = (await http.get(f"{url}/events", params={"cursor": cursor, "wait": "5", "limit": "5"})).json()
            seen += [event["id"] for event in page["events"]]
            cursor = page["next"]


async def run_job(tree: RunningCallboard, job: str) -> list[dict[str, Any]]:
    """Runs the job by the command and returns the stream's own record of it, once the agent has told how it ended."""
    process = await asyncio.create_subprocess_exec(
        *tree.command("run", "--job", job, "--", "python3", "-c", JOB),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        env=tree.environment,
    )
    out, err = await in_time(process.communicate())
    assert process.returncode == 0, err.decode()
    assert out.decode() == "".join(f"step {step}/8\n" for step in range(1, 9))

    async def record() -> list[dict[str, Any]]:
        tail = ("tail", f"job.{job}.>", "--last", "all", "--no-follow", "--json")
        lines = (await asyncio.to_thread(tree.callboard, *tail)).splitlines()
        events: list[dict[str, Any]] = [json.loads(line) for line in lines]
        return events if events[-1]["data"].get("status") == "completed" else []

    return list(await eventually(record))


async def watch(tree: RunningCallboard, job: str, tab: Tab | None = None) -> None:
    async with (
        httpx.AsyncClient(base_url=tree.url, trust_env=False, timeout=PATIENCE) as http,
        Receiver().serving() as receiver,
    ):

        async def session(**body: Any) -> str:
            answer = await http.post("/callbacks/sessions", json={"subjects": [f"job.{job}.>"], **body})
            assert answer.status_code == 201, answer.text
            return f"{tree.url}/callbacks/sessions/{answer.json()['session_id']}"

        # One session for all who come to us, another for the one that we go to.
        url = await session()
        await session(delivery_method="webhook", webhook_url=receiver.url, ordered=True)
        seen: dict[str, Seen] = {"curl": [], "websocket": [], "polling": []}
        if tab:
            await tab.page.goto(f"{tree.url}/livez")
            await tab.page.evaluate(
                """(url) => {
                  window.seen = [];
                  new EventSource(url).onmessage = (event) => seen.push(JSON.parse(event.data).id);
                }""",
                f"{url}/sse",
            )
        async with reading(
            lambda: by_curl(url, seen["curl"]),
            lambda: by_websocket(url, seen["websocket"]),
            lambda: by_polling(url, seen["polling"]),
        ):
            record = await run_job(tree, job)
            stream = [event["id"] for event in record]
            await eventually(lambda: all(len(ids) >= len(stream) for ids in seen.values()))
            await eventually(lambda: len(receiver.posts) >= len(stream))
            if tab:
                seen["browser"] = await tab.until("(count) => seen.length >= count && seen", len(stream))
        posted = [json.loads(post.body) for post in receiver.posts]
        seen["webhook"] = [event["id"] for event in posted]

    assert seen == dict.fromkeys(seen, stream)
    kinds = [event["event_type"] for event in record]
    assert kinds[0] == "workflow_start" and kinds.count("completion") == 1
    assert {"output", "progress", "state"} <= set(kinds)
    said = [event["data"] for event in record if event["event_type"] == "output"]
    assert "half of it – schon ½ 🎬" in json.dumps(said, ensure_ascii=False)
    assert [event["data"]["exit_code"] for event in record if event["event_type"] == "completion"] == [0]


async def test_a_job_is_seen_whole_and_in_one_order_over_sse_websocket_polling_and_a_webhook(
    running_callboard: RunningCallboard, entity: str
) -> None:
    await watch(running_callboard, entity)


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.asyncio(loop_scope="module")
async def test_a_browser_sees_the_same_beside_all_others(
    tab: Tab, running_callboard: RunningCallboard, entity: str
) -> None:
    await watch(running_callboard, entity, tab)
