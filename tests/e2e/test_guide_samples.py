"""The client samples of the callback guide, unchanged but for host and port, against the whole running system."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from router.nats.embedded import free_port
from tests.browser.conftest import Tab
from tests.e2e import guide
from tests.e2e.conftest import FlaskReceiver, listens
from tests.e2e.tree import RunningCallboard
from tests.npm import node_with
from tests.waiting import PATIENCE, eventually

# The four events that the guide's handlers know, with the guide's data.
STORY: list[dict[str, Any]] = [
    {"type": "thinking", "data": {"thought": "I need to analyze the data structure first..."}},
    {"type": "tool_use", "data": {"tool_name": "web_search", "parameters": {"query": "latest market trends"}}},
    {"type": "progress", "data": {"progress": 0.65, "message": "Processing data analysis..."}},
    {"type": "completion", "data": {"result": {"rows": 5}, "success": True, "total_time": 15.67}},
]
# What the WebSocket sample's handler calls, as the page that uses it would define it.
HANDLERS = """
window.told = [];
for (const name of ['updateThinkingIndicator', 'showToolExecution', 'updateProgressBar', 'handleCompletion'])
  window[name] = (...given) => told.push([name, ...given]);
"""
TOLD = [
    ["updateThinkingIndicator", "I need to analyze the data structure first..."],
    ["showToolExecution", "web_search", {"query": "latest market trends"}],
    ["updateProgressBar", 0.65, "Processing data analysis..."],
    ["handleCompletion", {"rows": 5}],
]

browser_test = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]


async def create(url: str, body: dict[str, Any]) -> str:
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=PATIENCE) as http:
        answer = await http.post("/callbacks/sessions", json=body)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["session_id"])


async def tell(url: str, entity: str, *story: dict[str, Any]) -> None:
    """Publishes what an agent says; returns once it is stored."""
    body = [{"subject": f"agent.{entity}.{event['type']}", **event} for event in story or STORY]
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=PATIENCE) as http:
        (await http.post("/events", json=body)).raise_for_status()


async def open_page(tab: Tab, port: int, script: str) -> None:
    """Opens a page of the edge's own host, and runs a script in it as a page's own script runs."""
    await tab.page.goto(f"http://localhost:{port}/livez")
    await tab.page.add_script_tag(content=script)


def curl(command: str, *, port: int, session: str = "") -> Any:
    done = subprocess.run(
        ["bash", "-c", guide.met(command, port=port, session=session)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    return json.loads(done.stdout)


def bundled(folder: Path) -> str:
    """page.jsx and all that it imports as one script."""
    esbuild = [folder / "node_modules/.bin/esbuild", "page.jsx", "--bundle", "--log-level=error"]
    return subprocess.run(esbuild, cwd=folder, capture_output=True, text=True, check=True, timeout=PATIENCE).stdout


def agent_session(entity: str, method: str) -> dict[str, Any]:
    return {
        "delivery_method": method,
        "events": ["thinking", "tool_use", "progress", "completion"],
        "include_intermediate_results": True,
        "timeout": 30,
        "subjects": [f"agent.{entity}.*"],
    }


class TestInABrowser:
    pytestmark = [*browser_test, pytest.mark.slow]

    async def test_the_websocket_sample_handles_every_event(
        self, tab: Tab, running_callboard: RunningCallboard, entity: str
    ) -> None:
        session = await create(running_callboard.url, agent_session(entity, "websocket"))
        sample = guide.met(guide.WEBSOCKET, port=running_callboard.port, session=session)

        await open_page(tab, running_callboard.port, HANDLERS + sample)
        await tell(running_callboard.url, entity)

        assert await tab.until("() => told.length >= 4 && told") == TOLD
        assert not [said for said in tab.complaints if said.startswith("uncaught")]

    async def test_the_event_source_sample_gets_every_event_and_nothing_else(
        self, tab: Tab, running_callboard: RunningCallboard, entity: str
    ) -> None:
        session = await create(running_callboard.url, agent_session(entity, "sse"))
        sample = guide.met(guide.EVENT_SOURCE, port=running_callboard.port, session=session)
        handling = sample.replace("// Handle callback event", "got.push([callback.event_type, callback.data]);")

        await open_page(tab, running_callboard.port, "window.got = [];" + handling)
        await tell(running_callboard.url, entity)

        assert await tab.until("() => got.length >= 4 && got") == [[event["type"], event["data"]] for event in STORY]
        assert not [said for said in tab.complaints if said.startswith("uncaught")]

    @pytest.mark.parametrize("first", ["''", "undefined", "new Date().toISOString()"])
    async def test_the_polling_sample_misses_nothing(
        self, tab: Tab, running_callboard: RunningCallboard, entity: str, first: str
    ) -> None:
        session = await create(running_callboard.url, agent_session(entity, "polling"))
        sample = guide.met(guide.POLLING, port=running_callboard.port, session=session).replace("5000", "50")
        # What the sample leaves to its reader. Two polls may be on their way at once, so it looks at ids.
        page = f"""
          let lastTimestamp = {first};
          window.got = new Map();
          function handleCallbackEvent(callback) {{
            lastTimestamp = callback.timestamp;
            got.set(callback.id, callback.event_type);
          }}
        """

        await open_page(tab, running_callboard.port, page + sample)
        for event in STORY:
            await tell(running_callboard.url, entity, event)
            await tab.until("(kind) => [...got.values()].at(-1) === kind", event["type"])

        assert await tab.page.evaluate("[...got.values()]") == [event["type"] for event in STORY]
        # More than one answer holds, in a burst.
        await tell(running_callboard.url, entity, *(STORY[2:3] * 250))
        await tab.until("(count) => got.size === count", len(STORY) + 250)
        assert not [said for said in tab.complaints if said.startswith("uncaught")]

    async def test_the_react_component_shows_every_event_and_no_blank_row(
        self, tab: Tab, running_callboard: RunningCallboard, entity: str, tmp_path: Path
    ) -> None:
        node_with(tmp_path, "react@18", "react-dom@18", "esbuild@0.25")
        session = await create(running_callboard.url, agent_session(entity, "websocket"))
        sample = guide.met(guide.REACT, port=running_callboard.port, session=session)
        shown = f"createRoot(document.body).render(<CallbackDisplay sessionId={json.dumps(session)} />);"
        imports = "import * as React from 'react'; import { createRoot } from 'react-dom/client';\n"
        (tmp_path / "page.jsx").write_text(imports + sample + shown)

        await open_page(tab, running_callboard.port, bundled(tmp_path))
        await tell(running_callboard.url, entity)

        rows = "[...document.querySelectorAll('.event')]"
        await tab.until(f"() => {rows}.length >= 5")
        # What the server says of the connection itself is shown by the component, too.
        async with httpx.AsyncClient(base_url=running_callboard.url, trust_env=False, timeout=PATIENCE) as http:
            assert (await http.delete(f"/callbacks/sessions/{session}")).status_code == 204
        await tab.until(f"() => {rows}.length >= 6")
        seen = await tab.page.evaluate(f"{rows}.map((row) => [...row.children].map((cell) => cell.textContent))")
        assert all(kind and "Invalid" not in when and when[0].isdigit() and data for kind, when, data in seen), seen
        assert [kind for kind, _, _ in seen] == ["ready", *(event["type"] for event in STORY), "bye"]
        assert [json.loads(data) for _, _, data in seen][1:-1] == [event["data"] for event in STORY]
        assert not [said for said in tab.complaints if said.startswith("uncaught")]


async def test_the_express_program_is_told_every_event_twice(
    running_callboard: RunningCallboard, tmp_path: Path, entity: str
) -> None:
    node = node_with(tmp_path, "express@4", "ws@8")
    port = free_port()
    url = running_callboard.url
    socket = await create(url, agent_session(entity, "websocket"))
    sample = guide.met(guide.EXPRESS, port=running_callboard.port).replace("listen(3000", f"listen({port}, '127.0.0.1'")
    # What the sample leaves to its reader.
    for name in ("Thinking", "Progress", "Completion"):
        sample += f"function handle{name}(data) {{ console.log('handled {name} ' + JSON.stringify(data)); }}\n"
    (tmp_path / "program.js").write_text(sample + "connectWebSocket(process.argv[2]);\n")
    said = tmp_path / "said"
    with said.open("wb") as out:
        program = await asyncio.create_subprocess_exec(
            node, "program.js", socket, cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=out, stderr=out
        )
    try:
        await eventually(lambda: listens(port))
        await eventually(lambda: "control: 'ready'" in said.read_text())
        hook = {"webhook_url": f"http://127.0.0.1:{port}/callbacks", "retry_attempts": 3}
        await create(url, {**agent_session(entity, "webhook"), **hook})
        await tell(url, entity)

        def told() -> bool:
            lines = said.read_text().splitlines()
            handled = {line for line in lines if line.startswith("handled")}
            received = sorted(line for line in lines if line.startswith("Received callback:"))
            heard = [event["type"] for event in STORY if f"event_type: '{event['type']}'" in said.read_text()]
            assert received == sorted(f"Received callback: {event['type']}" for event in STORY)
            assert len(handled) == 3
            return len(heard) == 4

        await eventually(told)
    finally:
        program.kill()
        await program.wait()


async def test_the_flask_receiver_is_told_every_event(
    running_callboard: RunningCallboard, flask_receiver: FlaskReceiver, entity: str
) -> None:
    body = json.loads(guide.met(guide.WEBHOOK, port=0, receiver=flask_receiver.port))
    session = await create(running_callboard.url, {**agent_session(entity, "webhook"), **body})
    expected = [
        "AI is thinking: I need to analyze the data structure first...",
        "Progress: 65.0% - Processing data analysis...",
        "Task completed: True",
    ]

    await tell(running_callboard.url, entity)

    # Webhooks are posted beside one another, so the last may arrive first.
    await eventually(lambda: sorted(flask_receiver.lines()) == sorted(expected))
    await eventually(lambda: delivered(running_callboard, session) == 4)


def delivered(tree: RunningCallboard, session: str) -> int:
    return int(curl(guide.STATS, port=tree.port, session=session)["events_delivered"])


async def test_the_test_endpoint_the_stats_and_the_poll_by_curl(running_callboard: RunningCallboard) -> None:
    port = running_callboard.port
    session = await create(running_callboard.url, {"delivery_method": "polling"})

    await asyncio.to_thread(curl, guide.TEST, port=port, session=session)
    page = await asyncio.to_thread(curl, guide.POLL, port=port, session=session)
    stats = await asyncio.to_thread(curl, guide.STATS, port=port, session=session)
    overall = await asyncio.to_thread(curl, guide.OVERALL_STATS, port=port)

    mine = [event for event in page["events"] if event["subject"].startswith(f"session.{session}.")]
    assert [(event["event_type"], event["data"], event["test"]) for event in mine] == [
        ("progress", {"message": "Test callback", "progress": 0.5}, True)
    ]
    assert stats["session_id"] == session
    assert stats["events_sent"] == len(page["events"])
    assert {
        "events_sent",
        "events_delivered",
        "events_failed",
        "retries",
        "queued_events",
        "has_websocket",
        "has_sse",
        "delivery_rate",
    } <= stats.keys()
    assert overall["events_sent"] >= stats["events_sent"]


async def test_the_guides_receiver_takes_a_test_event_of_any_type_without_data(
    running_callboard: RunningCallboard, flask_receiver: FlaskReceiver, http: httpx.AsyncClient
) -> None:
    body = {"delivery_method": "webhook", "webhook_url": flask_receiver.url}
    session = await create(running_callboard.url, body)

    for given in ({}, *({"event_type": kind} for kind in ("thinking", "progress", "completion", "tool_use", "other"))):
        answer = await http.post(f"/callbacks/sessions/{session}/test?wait=60", json=given, timeout=PATIENCE)

        assert (answer.json()["status"], answer.json()["success"]) == ("delivered", True), answer.text


async def test_the_load_test_loses_none_of_its_100_events(
    running_callboard: RunningCallboard, flask_receiver: FlaskReceiver, http: httpx.AsyncClient, tmp_path: Path
) -> None:
    script = tmp_path / "load.py"
    script.write_text(guide.met(guide.LOAD, port=running_callboard.port, receiver=flask_receiver.port))

    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, str(script)], capture_output=True, text=True, timeout=PATIENCE, check=False
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Sent 100 events in "), done.stdout
    expected = sorted(f"Progress: {i / 100 * 100:.1f}% - Test {i}" for i in range(100))
    await eventually(lambda: len(set(flask_receiver.lines())) >= 100)
    assert sorted(set(flask_receiver.lines())) == expected
    session = await session_of(http, flask_receiver)
    stats = await eventually(lambda: settled(http, session))
    assert stats["events_sent"] == stats["events_delivered"] == 100
    assert stats["events_failed"] == stats["events_dropped"] == 0


async def session_of(http: httpx.AsyncClient, receiver: FlaskReceiver) -> str:
    """The session that the sample made; it does not say which."""
    listed = (await http.get("/callbacks/sessions?limit=1000")).json()["sessions"]
    (found,) = [one["session_id"] for one in listed if (one.get("webhook_url") or "").find(f":{receiver.port}/") > 0]
    return str(found)


async def settled(http: httpx.AsyncClient, session: str) -> dict[str, Any] | None:
    stats: dict[str, Any] = (await http.get(f"/callbacks/sessions/{session}/stats")).json()
    return stats if stats["events_sent"] >= 100 and stats["queued_events"] == 0 else None
