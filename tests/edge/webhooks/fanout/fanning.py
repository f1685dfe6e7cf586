"""Edge processes that fan out and deliver nothing, for the tests of the fan-out."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from edge.sessions.registry import Session
from edge.webhooks.fanout.settings import FanoutSettings
from edge.webhooks.queue.job import FRESH, PARKED
from edge.webhooks.service import WebhookSettings
from router.cluster.role import RoleSettings
from router.topology import HOOKS
from tests.edge.webhooks.stage import Process, Receiver, Stage
from tests.waiting import eventually

# No partition is worked, so that the jobs stay where they can be counted.
IDLE = WebhookSettings(partitions=2, fanout=FanoutSettings(role=RoleSettings(ttl=600.0, poll=0.1), save_every=0.1))

NOWHERE = "http://127.0.0.1:9/"


async def jobs(stage: Stage, session_id: str) -> int:
    info = await stage.broker.connection.api(f"STREAM.INFO.{HOOKS}", {"subjects_filter": f"{FRESH}.*.{session_id}"})
    return sum((info["state"].get("subjects") or {}).values())


async def until_stored(stage: Stage, session_id: str, count: int) -> None:
    """Waits for a session's jobs: where the fan-out heard of it late, its position says nothing of them."""

    async def stored() -> bool:
        return await jobs(stage, session_id) == count

    await eventually(stored)


class Fanning(Process):
    """An edge process that makes jobs and works none."""

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self._tasks[1].cancel()
        self._tasks[1] = asyncio.ensure_future(self._fan())

    async def _fan(self) -> None:
        await self.registry.ready.wait()
        await self.webhooks.fanout.run()


async def fanning(stage: Stage, settings: WebhookSettings = IDLE) -> Fanning:
    stage.kind = Fanning
    process = await stage.process(settings)
    assert isinstance(process, Fanning)
    return process


KIB = 1024

LARGE = "x" * (100 * KIB)

SMALL = "x" * KIB


async def held(stage: Stage, session: Session) -> int:
    """The copies that a session has in HOOKS."""
    count = 0
    for subjects in (f"{FRESH}.*.{session.id}", f"{PARKED}.*.{session.id}.*"):
        info = await stage.broker.connection.api(f"STREAM.INFO.{HOOKS}", {"subjects_filter": subjects})
        count += sum((info["state"].get("subjects") or {}).values())
    return count


def numbers(receiver: Receiver) -> list[int]:
    """What the events say that a receiver got, in the order of its first post of each."""
    return list(dict.fromkeys(msgspec.json.decode(post.body)["data"]["n"] for post in receiver.posts))
