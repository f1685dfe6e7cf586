"""Looks at what webhook tests have brought about: posts, dead letters, what is left in the streams; and makes receivers that fail."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from aiohttp import web

from edge.sessions.registry import Session
from edge.webhooks.endpoint.breaker import CircuitBreakerSettings
from edge.webhooks.queue.ordering import QueueSettings
from router.broker import Broker
from router.deadletter import DeadLetter, webhook_subject
from router.deadletters import DeadLetters
from router.event import Event
from router.record import Record
from router.topology import HOOKS, RETRIES
from tests.edge.webhooks.stage import QUICK, Process, Receiver, Stage


class Ledger:
    """A receiver that keeps what it took, and answers as `refuses` says."""

    def __init__(self, receiver: Receiver) -> None:
        self.taken: list[Any] = []
        self.asked: list[Any] = []
        self.refuses: Any = lambda n: False
        self.slow = 0.0
        # Answers wait until so many posts are under way, or `released`.
        self.gathers = 0
        self.released = asyncio.Event()
        self._receiver = receiver
        receiver.answer = self._answer

    async def _answer(self, request: web.Request) -> web.Response:
        said = json.loads(await request.read())
        numbers = [event["data"]["n"] for event in (said if isinstance(said, list) else [said])]
        self.asked += numbers
        if self.slow:
            await asyncio.sleep(self.slow)
        if self._receiver.under_way >= self.gathers:
            self.released.set()
        await self.released.wait()
        if any(self.refuses(n) for n in numbers):
            return web.Response(status=500)
        self.taken += numbers
        return web.Response()


async def nothing_left(broker: Broker) -> bool:
    left = [(await broker.connection.api(f"STREAM.INFO.{stream}"))["state"]["messages"] for stream in (HOOKS, RETRIES)]
    return left == [0, 0]


async def reasons(broker: Broker, session: Session) -> list[str]:
    letters = (await DeadLetters(broker).read(pattern=webhook_subject(session.id))).deadletters
    return [letter.reason for letter in letters]


def firsts(numbers: list[int]) -> list[int]:
    """The order in which they were taken, without repeats."""
    return list(dict.fromkeys(numbers))


# Little is in hand, so that most of what comes goes through the log.
NARROW = replace(QUICK, worker=replace(QUICK.worker, queue=QueueSettings(waiting=4, quick=4, pressed=2, hold=0.1)))


def bodies(receiver: Receiver) -> list[Any]:
    return [json.loads(post.body) for post in receiver.posts]


async def dead(broker: Broker, session: Session) -> list[DeadLetter]:
    return (await DeadLetters(broker).read(pattern=webhook_subject(session.id))).deadletters


async def system_events(broker: Broker) -> list[Record]:
    return (await broker.read("system.webhook.>", 0)).records


async def keyed(stage: Stage, keys: Sequence[str], count: int, first: int = 0) -> None:
    """Publishes events with these keys in turn, numbered from `first`."""
    for n in range(count):
        await stage.broker.publish(Event.new("agent.run-1.progress", {"n": first + n}, key=keys[n % len(keys)]))


class Batches:
    """A receiver of batches."""

    def __init__(self, receiver: Receiver) -> None:
        self.posts: list[tuple[str, list[int]]] = []
        self.status: list[int] = []
        receiver.answer = self._answer

    async def _answer(self, request: web.Request) -> web.Response:
        said = json.loads(await request.read())
        assert isinstance(said, list)
        self.posts.append((request.headers["webhook-id"], [event["data"]["n"] for event in said]))
        return web.Response(status=self.status.pop(0) if self.status else 200)


# No batch goes out because time is up, however long publishing takes: only full ones do.
LONG = 600.0


PATIENT = replace(
    QUICK,
    worker=replace(
        QUICK.worker,
        queue=QueueSettings(waiting=8, quick=8, pressed=2, hold=0.1),
        breaker=CircuitBreakerSettings(pause=0.5, probes=2, max_pause=0.5),
    ),
)

# Once it is open, it stays so.
# The pause after a failed attempt is long as well, so that no job runs out of attempts before the circuit breaker opens.
SHUT = replace(
    PATIENT, worker=replace(PATIENT.worker, schedule=(600.0,), breaker=CircuitBreakerSettings(pause=600.0, probes=1))
)


async def state_changes(stage: Stage, session: Session) -> list[str]:
    records = (await stage.broker.read("system.webhook.>", 0)).records
    return [
        record.event.type
        for record in records
        if record.event is not None and record.event.data["session_id"] == session.id
    ]


def state(process: Process, session: Session) -> str:
    shown: str = process.webhooks.health(session.id)["state"]
    return shown


def nothing_under_way(first: Process, other: Process, session: Session) -> bool:
    workers = [worker for process in (first, other) for worker in process.webhooks._workers()]
    return not any(worker.dispatchers[session.id].under_way for worker in workers if session.id in worker.dispatchers)


def hold(receiver: Receiver) -> Callable[[], None]:
    """Lets posts hang, so that the fan-out makes jobs of all events (of forty: seven eighths of what a session may hold, at
    which one that was refused a job goes on); what is returned answers them and all later ones 500."""
    released = asyncio.Event()

    async def hang(request: web.Request) -> web.Response:
        await released.wait()
        return web.Response(status=500)

    def fail() -> None:
        released.set()
        receiver.answer = 500

    receiver.answer = hang
    return fail
