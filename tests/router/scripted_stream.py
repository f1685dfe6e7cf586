"""A subscriber that answers publishes in place of a stream, with the refusals that a test has written down."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

from router.broker import Broker
from router.nats.settings import BrokerSettings

IN_PROCESS = (409, 10158, "duplicate message id is in process")
ELECTING = (503, 10008, "JetStream system temporarily unavailable")
NOT_LEADER = (503, 10077, "raft: not leader")
BUSY = (429, 10167, "too many requests")
FULL = (503, 10077, "maximum bytes exceeded")
NO_STORAGE = (500, 10047, "insufficient storage resources available")
TOO_LARGE = (400, 10054, "message size exceeds maximum allowed")


class ScriptedStream:
    """Answers publishes as JetStream does, with what it was told to answer, and then with an acknowledgement."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.answers: list[tuple[int, int, str]] = []
        self.for_ever = False

    def answer(self) -> bytes:
        if not self.answers:
            return json.dumps({"stream": "EVENTS", "seq": len(self.ids)}).encode()
        code, err_code, text = self.answers[0] if self.for_ever else self.answers.pop(0)
        return json.dumps({"error": {"code": code, "err_code": err_code, "description": text}}).encode()


@contextlib.asynccontextmanager
async def connected(url: str) -> AsyncIterator[Broker]:
    """A broker on a server without streams, for a `scripted_stream` to answer it."""
    broker = Broker(BrokerSettings(url), "publisher")
    await broker.open(apply=False)
    try:
        yield broker
    finally:
        await broker.close()


@contextlib.asynccontextmanager
async def scripted_stream(url: str) -> AsyncIterator[ScriptedStream]:
    """Answers publishes under `ev.>` as the script says."""
    scripted = ScriptedStream()
    replies: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()

    def published(_subject: str, reply: str, _payload: bytes, raw: bytes) -> None:
        scripted.ids.append(raw.decode().partition("Nats-Msg-Id: ")[2].partition("\r\n")[0])
        replies.put_nowait((reply, scripted.answer()))

    async def answer(other: Broker) -> None:
        while True:
            reply, text = await replies.get()
            await other.connection.send(reply, text)

    async with connected(url) as other:
        await other.connection.listen("ev.>", published)
        task = asyncio.create_task(answer(other))
        try:
            yield scripted
        finally:
            task.cancel()
