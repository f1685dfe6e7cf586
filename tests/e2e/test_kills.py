"""Any process of the tree is killed with -9: it is back by itself, and nothing that was said is lost."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import pytest
import websockets

from tests.e2e.tree import RunningCallboard, running_tree
from tests.waiting import PATIENCE, eventually

pytestmark = pytest.mark.slow

LOST = (httpx.HTTPError, websockets.WebSocketException, OSError, EOFError, TimeoutError)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCallboard]:
    """A tree of our own to kill in. Its render does not finish while we look."""
    with running_tree(tmp_path_factory.mktemp("kills"), SIMULATOR_MAX_SAMPLES="1000000") as tree:
        yield tree


class Client:
    """Somebody who publishes and reads, and comes back where a connection was lost."""

    def __init__(self, tree: RunningCallboard, http: httpx.AsyncClient) -> None:
        self.events: list[dict[str, Any]] = []
        self.pictures: dict[str, float] = {}  # when the newest picture of each source was taken
        self.tree = tree
        self._http = http

    async def read(self, session: dict[str, Any]) -> None:
        """Reads every event since the session was made, each once."""
        cursor = session["cursor"]
        while True:
            with contextlib.suppress(*LOST):
                answer = await self._http.get(f"{session['urls']['events']}?wait=5&cursor={cursor}")
                if answer.status_code == 200:
                    page = answer.json()
                    assert "gap" not in page, page
                    self.events += page["events"]
                    cursor = page["next"]
                    continue
            await asyncio.sleep(0.1)

    async def watch(self, source: str) -> None:
        """Looks at the pictures of a source."""
        address = f"{self.tree.url.replace('http', 'ws', 1)}/{source}/ws"
        while True:
            with contextlib.suppress(*LOST):
                async with websockets.connect(address, proxy=None, max_size=None, open_timeout=PATIENCE) as socket:
                    async for message in socket:
                        if isinstance(message, bytes):
                            length = int.from_bytes(message[:4], "little")
                            self.pictures[source] = json.loads(message[4 : 4 + length])["time"] / 1000
            await asyncio.sleep(0.1)

    async def publish(self, *events: dict[str, Any]) -> None:
        """Publishes until it is acknowledged, the same under the same key."""
        key = {"Idempotency-Key": secrets.token_hex(8)}
        while True:
            with contextlib.suppress(*LOST):
                answer = await self._http.post("/events", json=list(events), headers=key)
                if answer.status_code == 201:
                    return
                assert answer.status_code == 503, answer.text
            await asyncio.sleep(0.1)

    def heard(self, subject: str, **data: Any) -> bool:
        """Says whether an event came whose data has these values."""
        return any(
            event["subject"] == subject and data.items() <= {**event["data"]}.items() for event in list(self.events)
        )

    def said(self, entity: str) -> list[int]:
        """The numbers of the outputs that came of one run, in their order."""
        return [event["data"]["n"] for event in self.events if event["subject"] == f"agent.{entity}.output"]


@contextlib.asynccontextmanager
async def client_of(tree: RunningCallboard) -> AsyncIterator[Client]:
    async with (
        httpx.AsyncClient(base_url=tree.url, timeout=PATIENCE, trust_env=False) as http,
        asyncio.TaskGroup() as group,
    ):
        client = Client(tree, http)
        session = await http.post("/callbacks/sessions", json={"delivery_method": "polling"})
        tasks = [
            group.create_task(client.read(session.json())),
            group.create_task(client.watch("cameras/main")),
            group.create_task(client.watch("octane/main")),
        ]
        yield client
        for task in tasks:
            task.cancel()


def everything_since(client: Client, entity: str, then: float, count: int) -> Callable[[], bool]:
    """Asks whether all parts have done their work with what was said after a moment."""

    def asked() -> bool:
        missing = {
            "events": client.said(entity) != list(range(count)),
            "agent": not client.heard(f"agent.{entity}.state", status="failed"),
            "alerts": not client.heard("alert.run_failed.firing", entity=entity),
            "camera": client.pictures.get("cameras/main", 0) <= then,
            "octane": client.pictures.get("octane/main", 0) <= then,
        }
        assert not any(missing.values()), (missing, client.tree.said[-2000:])
        return True

    return asked


async def tell(client: Client, entity: str, start: int, count: int) -> None:
    for n in range(start, start + count):
        await client.publish({"subject": f"agent.{entity}.output", "data": {"n": n}})


async def fail(client: Client, entity: str) -> None:
    await client.publish({"subject": f"agent.{entity}.completion", "data": {"success": False, "error": "as told"}})


@pytest.mark.parametrize("name", ["octane", "camera", "agent", "alerts", "simulator", "edge", "nats-server"])
async def test_who_is_killed_is_back_and_what_was_said_meanwhile_arrives(
    tree: RunningCallboard, name: str, entity: str
) -> None:
    async with client_of(tree) as client:
        await tell(client, entity, 0, 2)
        await eventually(lambda: client.said(entity) == [0, 1] and len(client.pictures) == 2)
        old = tree.children()[name]

        os.kill(old, signal.SIGKILL)
        killed = time.time()
        await tell(client, entity, 2, 5)
        await fail(client, entity)

        await eventually(lambda: tree.children().get(name, old) != old)
        await eventually(everything_since(client, entity, killed, 7))
        # A picture of the first moment may have been under way. This one was taken after everything else was there.
        await eventually(everything_since(client, entity, time.time(), 7))


async def test_all_of_them_at_once_are_back(tree: RunningCallboard, entity: str) -> None:
    old = tree.children()
    async with client_of(tree) as client:
        await tell(client, entity, 0, 2)
        await eventually(lambda: client.said(entity) == [0, 1])

        for pid in old.values():
            os.kill(pid, signal.SIGKILL)
        killed = time.time()
        await tell(client, entity, 2, 5)
        await fail(client, entity)

        await eventually(everything_since(client, entity, killed, 7))
        new = tree.children()
        assert new.keys() == old.keys()
        assert not set(new.values()) & set(old.values())
