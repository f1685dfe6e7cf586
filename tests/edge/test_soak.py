"""A soak: sessions of every kind are made, partly used, and deleted, and the store ends where it began.

By default two thousand in less than a minute; `CALLBOARD_SOAK_SESSIONS=1000000 python -m pytest tests/edge/test_soak.py -s -n 0`
makes a million, which takes hours, and prints its figures. Markers live for a second here instead of two minutes.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from edge.runtime import Edge
from edge.webhooks.endpoint import store as endpoint_store
from edge.webhooks.fanout import cleanup
from router.broker import Broker
from router.nats import bucket as bucket_module
from router.nats.bucket import Bucket
from router.topology import SESSIONS, TopologySettings, streams
from tests.edge.conftest import EdgeFactory, RunningEdge
from tests.edge.webhooks.stage import Receiver
from tests.waiting import eventually, unhurried

pytestmark = pytest.mark.slow

COUNT = int(os.environ.get("CALLBOARD_SOAK_SESSIONS", "2000"))
METHODS = ("websocket", "sse", "polling", "webhook")
KEPT = 20
AT_ONCE = 32
# What must be as it was. The other streams hold events, which their age and size bound.
COUNTED = [
    stream.name
    for stream in streams(TopologySettings())
    if stream.name.startswith("KV_") or stream.name in ("HOOKS", "RETRIES")
]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver().serving() as receiver:
        yield receiver


async def weigh(store: Broker) -> dict[str, tuple[int, int, int]]:
    """Messages, bytes and consumers of each counted stream; keys that come and go with a process are left out."""
    found = {}
    for name in COUNTED:
        info = await store.connection.api(f"STREAM.INFO.{name}")
        state = info["state"]
        found[name] = (state["messages"], state["bytes"], state["consumer_count"])
    return found


def disk(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def size_of(edge: Edge) -> dict[str, int]:
    """What one process holds in memory for its sessions."""
    return {
        "sessions": len(edge.registry.sessions),
        "seen": len(edge.session_expiry._seen),
        "counted": len(edge.session_expiry._counted),
        "stats": len(edge.cluster_stats.stats),
        "states": len(edge.webhooks.endpoints._known),
        "writes": len(edge.webhooks.endpoints._own),
        "gone": len(edge.webhooks.fanout._newest[0].members.gone),
        "members": len(edge.webhooks.fanout._newest[0].members.all),
        "dispatchers": sum(len(worker.dispatchers) for worker in edge.webhooks._workers()),
        "readers": len(edge.hub.readers),
    }


class Soak:
    """Makes, uses and deletes sessions over HTTP."""

    def __init__(self, edge: RunningEdge, client: aiohttp.ClientSession, hook: str) -> None:
        self._edge = edge
        self._client = client
        self._hook = hook
        self.made = 0

    async def create(self, method: str, **more: Any) -> str:
        body = {"delivery_method": method, "subjects": [f"job.soak{self.made % 50}.>"], **more}
        if method == "webhook":
            body["webhook_url"] = self._hook
        async with self._client.post("/callbacks/sessions", json=body) as answer:
            assert answer.status == 201, await answer.text()
            self.made += 1
            return str((await answer.json())["session_id"])

    async def use(self, session: str, method: str) -> None:
        base = f"/callbacks/sessions/{session}"
        match method:
            case "websocket":
                async with self._client.ws_connect(f"{base}/ws") as socket:
                    await socket.receive()
            case "sse":
                async with self._client.get(f"{base}/sse") as answer:
                    await answer.content.readline()
            case "polling":
                async with self._client.get(f"{base}/events") as answer:
                    assert answer.status == 200
            case _:
                async with self._client.post(f"{base}/test", json={}) as answer:
                    assert answer.status == 200

    async def delete(self, session: str) -> None:
        async with self._client.delete(f"/callbacks/sessions/{session}") as answer:
            assert answer.status == 204, await answer.text()

    async def run(self, count: int) -> None:
        """Makes and deletes so many; half of them are used in between."""
        numbers = iter(range(count))

        async def work() -> None:
            for number in numbers:
                method = METHODS[number % len(METHODS)]
                session = await self.create(method)
                if number % 8 < len(METHODS):
                    await self.use(session, method)
                await self.delete(session)

        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(work())

    async def read_until_noted(self, bucket: Bucket) -> None:
        """Makes a session, deletes it under its reader once the reading is noted in the bucket."""
        session = await self.create("websocket", ttl=4)
        async with self._client.ws_connect(f"/callbacks/sessions/{session}/ws"):
            await eventually(lambda: bucket.get(f"seen.{session}"))
            await self.delete(session)


async def test_sessions_that_come_and_go_leave_nothing(
    edge_factory: EdgeFactory,
    own_nats: str,
    tmp_path: Path,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bucket_module, "MARKER_SECONDS", 1.0)
    monkeypatch.setattr(endpoint_store, "TOMBSTONE_SECONDS", 1.0)
    monkeypatch.setattr(cleanup, "_TOMBSTONE_SECONDS", 1.0)
    folder = tmp_path / "own-nats"
    async with Broker(unhurried(own_nats), "soak") as store:
        async with edge_factory(nats=own_nats) as edge, aiohttp.ClientSession(edge.url) as client:
            # The server marks the keys that ran out for as long as this.
            for stream in streams(TopologySettings()):
                if "subject_delete_marker_ttl" in stream.config:
                    shorter = {**stream.desired, "subject_delete_marker_ttl": 1_000_000_000}
                    await store.connection.api(f"STREAM.UPDATE.{stream.name}", shorter)
            inner = edge.edge
            assert inner is not None
            soak, bucket = Soak(edge, client, receiver.url), Bucket(store.connection, SESSIONS)
            for number in range(KEPT):
                await soak.create(METHODS[number % len(METHODS)])
            await soak.run(64)
            before = await eventually(lambda: _settled(store, inner), within=120)
            empty, held = disk(folder), size_of(inner)
            print(f"\nbefore: {before}, {empty} bytes on disk, {held}")

            begun = time.monotonic()
            await asyncio.gather(soak.run(COUNT), *(soak.read_until_noted(bucket) for _ in range(5)))
            print(f"{COUNT} sessions in {time.monotonic() - begun:.1f} s, {disk(folder)} bytes on disk")

            async def as_before() -> bool:
                after = await weigh(store)
                assert {name: (counts[0], counts[2]) for name, counts in after.items()} == {
                    name: (counts[0], counts[2]) for name, counts in before.items()
                }
                # Positions in the stream have more digits than before.
                assert all(abs(after[name][1] - before[name][1]) < 200 for name in before)
                held_now = {**size_of(inner), "stats": 0}
                assert held_now == {**held, "stats": 0}
                return True

            await eventually(as_before, within=120)
            inner.session_expiry._rounds = -1  # the next round sweeps
            await eventually(lambda: len(inner.cluster_stats.stats) <= KEPT)
            print(f"after: {await weigh(store)}, {disk(folder)} bytes on disk, {size_of(inner)}")
        begun = time.monotonic()
        async with edge_factory(nats=own_nats) as edge:
            print(f"an edge starts in {time.monotonic() - begun:.2f} s")
            assert (await edge.http.get("/callbacks/sessions")).json()["total"] == KEPT


async def _settled(store: Broker, edge: Edge) -> dict[str, tuple[int, int, int]] | None:
    """What there is of everything once it is the same twice, and nothing waits to be removed."""
    if edge.webhooks.fanout._newest[0].members.gone or len(edge.registry.sessions) != KEPT:
        return None
    first = await weigh(store)
    await asyncio.sleep(3.0)
    return first if await weigh(store) == first else None
