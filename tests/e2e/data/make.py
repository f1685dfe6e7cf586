"""Makes `store.tar.xz`: the data folder of the version before, and what that version answered about it.

`python -m tests.e2e.data.make CHECKOUT` runs `callboard up` of another checkout, which has a `.venv` of its own, on a new data
folder, and makes in it sessions of every delivery method, webhook jobs that wait, are parked and have failed, dead letters, a
redrive, a recovery, runs and an alert. Nothing in it runs out: streams keep events for ever, and afterwards what the
version stores for a week (finished redrives and recoveries) is stored again without a TTL, its value unchanged.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import tarfile
import tempfile
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx

from router.nats.connection import Connection
from router.nats.embedded import EmbeddedServer, EmbeddedSettings, free_port
from router.nats.settings import BrokerSettings
from router.topology import JOBS
from tests.e2e.data.answers import read_answers
from tests.e2e.data.receiver import ENDPOINTS, HOST, PORT, Receiver
from tests.waiting import PATIENCE, eventually

STORE = Path(__file__).with_name("store.tar.xz")
RULES = Path(__file__).with_name("rules.yaml")
# Read by `callboard up` of the version before; the test starts today's parts with the same values.
SETTINGS = {
    "CALLBOARD_EVENTS_MAX_AGE": "0",
    "CALLBOARD_DEADLETTERS_MAX_AGE": "0",
    "CALLBOARD_ATTEMPTS_MAX_AGE": "0",
    "CALLBOARD_EDGE_SESSION_TTL": "0",
    "CALLBOARD_ALERTS_RULES_FILE": str(RULES),
    "CALLBOARD_UP_ONLY": "edge,agent,alerts",
    "CALLBOARD_UP_DEMO": "false",
}
# A breaker that stays open while the rest is made, and more retries than there is time for.
WEBHOOK = {
    "breaker": {"pause": 20, "max_pause": 20, "probes": 1},
    "auto_disable": False,
    "retry_attempts": 20,
    "retry_schedule": [0.5] * 20,
}
# Enough that some are parked behind the breaker.
FAILING = 40


async def make(checkout: Path) -> None:
    """Runs the version of a checkout, and packs what it stored. Raises AssertionError where it did not do as it should."""
    with tempfile.TemporaryDirectory(prefix="callboard-store-") as name:
        folder = Path(name)
        receiver = Receiver(failing=503, hanging=0, refusing=400, recovering=400)
        async with receiver.serving(), _up(checkout, folder) as http:
            found = await _fill(http, receiver, (folder / "nats.url").read_text().strip())
        await _store_for_ever(folder)
        _pack(folder, found)
    print(f"{STORE}: {STORE.stat().st_size:,} bytes")


@contextlib.asynccontextmanager
async def _up(checkout: Path, folder: Path) -> AsyncIterator[httpx.AsyncClient]:
    environment = {name: text for name, text in os.environ.items() if not name.startswith(("CALLBOARD_", "PYTHON"))}
    process = await asyncio.create_subprocess_exec(
        checkout / ".venv/bin/python",
        *("-m", "ops", "up", "--port", "0", "--data-dir", str(folder)),
        cwd=checkout,
        env={
            **environment,
            **SETTINGS,
            "CALLBOARD_EMBEDDED_PORT": str(free_port()),
            "CALLBOARD_RUNTIME_DIR": str(folder / "register"),
        },
    )
    try:

        async def answers() -> bool:
            with contextlib.suppress(OSError, httpx.HTTPError):
                url = (folder / "edge.url").read_text().strip()
                async with httpx.AsyncClient(base_url=url, timeout=PATIENCE) as http:
                    return (await http.get("/readyz")).status_code == 200
            return False

        await eventually(answers)
        async with httpx.AsyncClient(base_url=(folder / "edge.url").read_text().strip(), timeout=30) as http:
            yield http
    finally:
        process.send_signal(signal.SIGINT)
        await process.wait()


async def _fill(http: httpx.AsyncClient, receiver: Receiver, nats: str) -> dict[str, Any]:
    """Makes all that the test looks for, and gives the answers about it."""

    async def post(path: str, body: Any) -> Any:
        answer = await http.post(path, json=body)
        assert answer.is_success, (path, answer.text)
        return answer.json()

    async def session(name: str, **body: Any) -> str:
        return (await post("/callbacks/sessions", {"name": name, **body}))["session_id"]

    async def publish(subject: str, *numbers: int) -> None:
        await post("/events", [{"subject": subject, "data": {"n": n}} for n in numbers])

    async def stats(session: str) -> dict[str, Any]:
        return (await http.get(f"/callbacks/sessions/{session}/stats")).json()

    orders = {"subjects": ["order.>"], "include_intermediate_results": True}
    await session("by websocket", delivery_method="websocket", filter="data.n % 2 == 0", **orders)
    await session("by sse", delivery_method="sse", events=["placed"], max_rate=50, **orders)
    polling = await session("by polling", delivery_method="polling", **orders)
    webhooks = {
        endpoint: await session(
            endpoint,
            delivery_method="webhook",
            webhook_url=f"http://{HOST}:{PORT}/{endpoint}",
            subjects=[f"{endpoint}.>"],
            headers={"X-Origin": "before"},
            **({**WEBHOOK, "mode": "keyed"} if endpoint == "failing" else {}),
            **({"mode": "fifo"} if endpoint == "hanging" else {}),
            **({"retry_attempts": 0} if endpoint in ("refusing", "recovering") else {}),
        )
        for endpoint in ENDPOINTS
    }

    for n in range(6):
        await publish(f"order.{n % 2}.placed", n)
    await publish("delivering.1.placed", *range(5))
    await publish("refusing.1.placed", *range(3))
    await publish("recovering.1.placed", *range(2))
    await publish("disabled.1.placed", 0)
    await eventually(lambda: len(receiver.accepted("delivering")) == 5 and receiver.accepted("disabled") == [0])
    await post(f"/callbacks/sessions/{webhooks['disabled']}/disable", {})
    await publish("disabled.1.placed", 1, 2)
    await publish("hanging.1.placed", *range(3))
    # Of the first ones there are jobs before the endpoint has failed; those after it wait as a cursor.
    numbered = [{"subject": f"failing.{n % 4}.placed", "data": {"n": n}} for n in range(FAILING)]
    await post("/events", numbered[: FAILING // 2])
    await eventually(lambda: any(post.endpoint == "failing" for post in receiver.posts))
    for event in numbered[FAILING // 2 :]:
        await post("/events", [event])

    async def failed() -> bool:
        counts = [(await stats(webhooks[name]))["events_failed"] for name in ("refusing", "recovering")]
        attempts = (await http.get(f"/callbacks/sessions/{webhooks['recovering']}/attempts")).json()["attempts"]
        return counts == [3, 2] and len(attempts) == 2

    await eventually(failed)
    receiver.answers |= {"refusing": 204, "recovering": 204}
    letters = (await http.get(f"/deadletters?name={webhooks['refusing']}")).json()["deadletters"]
    await post("/deadletters/redrive", {"id": letters[0]["id"]})
    await post(f"/callbacks/sessions/{webhooks['recovering']}/recover", {"since": "2020-01-01T00:00:00Z"})
    await post("/events", [{"subject": f"agent.run-{n}.workflow_start", "data": {"title": f"run {n}"}} for n in (1, 2)])
    await post("/events", [{"subject": "agent.run-1.progress", "data": {"progress": 0.5}}])
    await post("/events", [{"subject": "agent.run-2.completion", "data": {"success": False, "error": "out of paper"}}])
    connection = Connection(BrokerSettings(nats), "make")
    await connection.open()
    await connection.ask("ev.order.1.spoiled", b"no event")
    await connection.close()

    async def done() -> bool:
        await asyncio.sleep(0.2)
        found = await read_answers(http)
        health = (await http.get(f"/callbacks/sessions/{webhooks['failing']}/health")).json()
        waiting = {
            name: found["health"][name]["waiting_events"] + found["stats"][name]["queued_events"] for name in ENDPOINTS
        }
        assert health["parked"] > 5, health
        assert (len(receiver.accepted("refusing")), len(receiver.accepted("recovering"))) == (1, 2)
        assert [job["state"] for job in found["jobs"]] == ["done"]
        assert [each["state"] for each in found["recoveries"]["recovering"]] == ["done"]
        assert {run["run"] for run in found["runs"]} == {"run-1", "run-2"}
        assert len(found["alerts"]) == 1
        assert "ingest" in {letter["origin"] for letter in found["deadletters"]}
        assert found["health"]["failing"]["waiting_events"] > 0
        assert waiting == {**dict.fromkeys(ENDPOINTS, 0), "disabled": 2, "hanging": 3, "failing": FAILING}
        return True

    await eventually(done, within=30)
    # Until the figures, which are stored every few seconds, hold all of it.
    await asyncio.sleep(6)
    page = (await http.get(f"/callbacks/sessions/{polling}/events?limit=100")).json()["events"]
    assert [event["data"]["n"] for event in page] == [0, 1, 2, 3, 4, 5]
    return {
        **await read_answers(http),
        "cursor": page[1]["cursor"],
        "after_cursor": [event["id"] for event in page[2:]],
    }


async def _store_for_ever(folder: Path) -> None:
    """Stores the finished jobs again, without the TTL of a week that they have."""
    server = EmbeddedServer(EmbeddedSettings(folder, free_port()))
    await server.start()
    connection = Connection(BrokerSettings(server.url), "make")
    await connection.open()
    try:
        info = await connection.api(f"STREAM.INFO.KV_{JOBS}", {"subjects_filter": ">"})
        for subject in info["state"]["subjects"]:
            reply = await connection.ask(f"$JS.API.DIRECT.GET.KV_{JOBS}.{subject}", b"")
            if b"Nats-TTL" in reply.headers and b"Nats-Marker-Reason" not in reply.headers:
                await connection.ask(subject, reply.payload)
    finally:
        await connection.close()
        await server.stop()


def _pack(folder: Path, found: dict[str, Any]) -> None:
    with tarfile.open(STORE, "w:xz", preset=9) as archive:
        text = json.dumps(found, indent=1).encode()
        entry = tarfile.TarInfo("answers.json")
        entry.size = len(text)
        archive.addfile(entry, BytesIO(text))
        archive.add(folder / "jetstream", "data/jetstream")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.data.make")
    parser.add_argument("checkout", type=Path, help="a checkout of the version before, with its .venv")
    asyncio.run(make(parser.parse_args().checkout.resolve()))
