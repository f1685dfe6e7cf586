"""Tests of demo.py: the real command, beside a real edge."""

# ruff: noqa: F811

from __future__ import annotations

import asyncio
import re
import subprocess
import sys

import httpx

from tests.edge.conftest import RunningEdge, edge, edge_factory  # noqa: F401
from tests.ops.command import ROOT, environment
from tests.waiting import PATIENCE, in_time


async def test_the_chat_says_where_it_is_answers_and_ends_when_told(edge: RunningEdge) -> None:
    chat = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ops", "demo", "chat", "--port", "0", "--edge-url", edge.url,
        cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert chat.stdout
    said = (await in_time(chat.stdout.readline())).decode()
    found = re.search(r"http://127\.0\.0\.1:\d+", said)
    assert found and "without a model" in said, said

    async with httpx.AsyncClient(base_url=found[0], timeout=PATIENCE) as http:
        answer = (await http.post("/chat", json={"message": "How do runs end?"})).json()
    chat.terminate()

    assert answer["sources"][0] == "Runs"
    _, err = await in_time(chat.communicate())
    assert chat.returncode == 0, err.decode()
