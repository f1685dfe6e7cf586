"""Tests of demo.py: the real command, beside a real NATS and an edge that is only named."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys

import httpx

from router.broker import Broker
from tests.ops.command import ROOT, environment
from tests.router.sdk.runs import events_of
from tests.waiting import PATIENCE


async def test_the_chat_says_where_it_is_answers_and_ends_when_told(nats_server: str, broker: Broker) -> None:
    chat = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ops", "demo", "chat", "--port", "0", "--nats-url", nats_server,
        cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert chat.stdout
    said = (await asyncio.wait_for(chat.stdout.readline(), PATIENCE)).decode()
    found = re.search(r"http://127\.0\.0\.1:\d+", said)
    assert found and "without a model" in said, said

    async with httpx.AsyncClient(base_url=found[0], timeout=PATIENCE) as http:
        answer = (await http.post("/chat", json={"message": "How do runs end?"})).json()
    chat.terminate()

    assert answer["sources"][0] == "Runs"
    _, err = await asyncio.wait_for(chat.communicate(), PATIENCE)
    assert chat.returncode == 0, err.decode()
    events = await events_of(broker, "*")
    assert answer["response"] in [
        e.data["result"]["response"] for e in events if e.type == "completion" and e.data.get("result")
    ]
