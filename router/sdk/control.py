"""Receives requests to stop a run, at `cmd.run.<run>.stop`, and answers them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from router.codec import from_json, to_json
from router.errors import BadInput, BrokerError
from router.nats.connection import Connection
from router.subject import escape

# 16 requests at once are answered; later callers see the run stop.
MAX_UNANSWERED = 16


class StopRequests:
    """The requests to stop one run; `reason` is the first one's."""

    def __init__(self, domain: str, run: str) -> None:
        self.received = asyncio.Event()
        self.reason: str | None = None
        self._domain = domain
        self._run = run
        self._unanswered: asyncio.Queue[str] = asyncio.Queue(MAX_UNANSWERED)

    async def serve(self, connection: Connection, announce: Callable[[], Awaitable[None]]) -> None:
        """Answers requests until cancelled; calls `announce` once, after the first."""
        await connection.up.wait()
        subscription = await connection.listen(f"cmd.run.{escape(self._run)}.stop", self._receive)
        announced = False
        try:
            while True:
                await self._answer(connection, await self._unanswered.get())
                if not announced:
                    announced = True
                    await announce()
        finally:
            await subscription.stop()

    def _receive(self, _subject: str, reply: str, payload: bytes, _raw: bytes) -> None:
        request = _read(payload)
        if request.get("domain", self._domain) != self._domain:
            return  # a run of the same name in another domain
        if not self.received.is_set():
            self.reason = str(request.get("reason") or "") or None
            self.received.set()
        if not self._unanswered.full():
            self._unanswered.put_nowait(reply)

    async def _answer(self, connection: Connection, reply: str) -> None:
        if reply:
            answer = to_json({"ok": True, "run": self._run, "domain": self._domain})
            with contextlib.suppress(BrokerError):
                await connection.send(reply, answer, {"Content-Type": "application/json"})


def _read(payload: bytes) -> Mapping[str, Any]:
    try:
        request = from_json(payload) if payload else {}
    except BadInput:
        return {}
    return request if isinstance(request, dict) else {}
