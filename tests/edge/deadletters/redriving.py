"""Edge processes as far as redrives go, and dead letters for them."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import secrets
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from edge.deadletters.query import DeadLetterFilter
from edge.deadletters.redrive import Redrives
from edge.deadletters.redrive_job import RedriveJob, RedriveSettings, new_job
from edge.sessions.endpoint.settings import EndpointSettings
from edge.sessions.registry import Registry
from edge.sessions.spec import SessionSpec
from router.broker import Broker
from router.cluster.role import RoleSettings
from router.codec import encode
from router.cursor import Cursor
from router.deadletter import DeadLetter, Origin
from router.deadletters import DeadLetters
from router.errors import BrokerError
from router.event import Event
from router.nats.headers import all_headers
from router.nats.service import Endpoint, Request, Service
from router.subject import STORED
from tests.waiting import PATIENCE, eventually, in_time

QUICK = RedriveSettings(
    role=RoleSettings(ttl=4.0, poll=0.1),
    note_every=0.02,
    answer_timeout=2.0,
    after_crash=0.05,
    pause=0.05,
    window=10,
    max_returned=2,
)


class Process:
    """One edge process as far as redrives go."""

    def __init__(self, broker: Broker, settings: RedriveSettings) -> None:
        self.broker = broker
        self.registry = Registry.over(broker.connection)
        self.redrives = Redrives(broker, self.registry, 2, settings)
        self.dead = self.redrives.dead
        self._tasks = [asyncio.ensure_future(self.registry.run()), asyncio.ensure_future(self.redrives.run())]

    async def die(self) -> None:
        """Goes without a word: nothing is released."""
        await self.broker.connection._wire.close()
        try:
            await self.stop()
        except* BrokerError:
            pass  # what was just beginning cannot listen any more

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        ends = await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.broker.close()
        for end in ends:
            if isinstance(end, Exception):
                raise end

    async def start(self, chosen: DeadLetterFilter | None = None, **more: Any) -> RedriveJob:
        chosen = chosen or DeadLetterFilter()
        return await self.redrives.start(new_job(chosen, await self.redrives.search.span(chosen), **more))

    async def ended(self, id: str, within: float = PATIENCE) -> RedriveJob:
        async def over() -> RedriveJob | None:
            job = await self.redrives.find(id)
            return job if job.state != "running" else None

        return await eventually(over, within)


Start = Callable[..., contextlib.AbstractAsyncContextManager[Process]]


async def webhook_session(broker: Broker, url: str = "https://example.com/hook") -> str:
    state = await broker.state()
    spec = SessionSpec(
        id=f"sess_{secrets.token_hex(12)}",
        delivery_method="webhook",
        created=time.time_ns(),
        start=str(Cursor(state.epoch, state.last)),
        webhook=EndpointSettings(url=url),
    )
    await Registry.over(broker.connection).create(spec)
    return spec.id


async def bury(dead: DeadLetters, subject: str, count: int = 1, reason: str = "exhausted", **more: Any) -> list[Event]:
    """Buries events of their own under a subject, and gives them."""
    events = []
    for number in range(count):
        event = Event.new(f"job.{secrets.token_hex(3)}.output", {"n": number})
        await dead.add(
            subject,
            encode(event),
            origin=Origin("EVENTS", 100 + number, STORED + event.subject),
            reason=reason,
            attempts=4,
            id=f"dead.{secrets.token_hex(16)}.{more.get('redrives', 0)}",
            **more,
        )
        events.append(event)
    return events


async def letters(process: Process, pattern: str = "dead.>") -> list[DeadLetter]:
    return (await process.dead.read(limit=1000, pattern=pattern)).deadletters


async def jobs(broker: Broker, session: str) -> list[dict[str, str]]:
    """The headers of all jobs that lie on HOOKS for a session."""
    count = (await broker.connection.api("STREAM.INFO.HOOKS"))["state"]
    found = []
    for sequence in range(count["first_seq"], count["last_seq"] + 1):
        reply = await broker.connection.ask("$JS.API.DIRECT.GET.HOOKS", b'{"seq": %d}' % sequence)
        headers = all_headers(reply.headers)
        if headers.get("Nats-Subject", "").endswith(session):
            found.append(headers)
    return found


@contextlib.asynccontextmanager
async def actor(broker: Broker, name: str, called: Callable[[Request], None]) -> AsyncIterator[str]:
    """Something that answers where an actor takes its letters back; its address."""
    address = f"cmd.{name}.main.redrive"
    service = Service(
        broker.connection, name, "1.0.0", description="a test's", endpoints=[Endpoint("redrive", address, called)]
    )
    task = asyncio.ensure_future(service.run())
    try:
        await in_time(service.serving.wait())
        yield address
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def quick(**changed: Any) -> RedriveSettings:
    return dataclasses.replace(QUICK, **changed)
