"""Receives requests to stop a run, at `cmd.run.<run>.stop`, and answers them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from router.codec import from_json, to_json
from router.errors import BadInput, BrokerError
from router.nats.connection import Connection
from router.subject import escape

# 16 requests at once are answered; later callers see the run stop.
MAX_UNANSWERED = 16


class StopRequests:
    """The requests to stop one run."""

    def __init__(self, domain: str, run: str, asked: Callable[[str | None], None]) -> None:
        """`asked` is called with the reason of each request."""
        self._domain = domain
        self._run = run
        self._asked = asked
        self._unanswered: asyncio.Queue[str] = asyncio.Queue(MAX_UNANSWERED)

    async def serve(self, connection: Connection) -> None:
        """Answers requests until cancelled."""
        subscription = await connection.listen(f"cmd.run.{escape(self._run)}.stop", self._receive)
        try:
            while True:
                await self._answer(connection, await self._unanswered.get())
        finally:
            await subscription.stop()

    def _receive(self, _subject: str, reply: str, payload: bytes, _raw: bytes) -> None:
        request = _read(payload)
        if request.get("domain", self._domain) != self._domain:
            return  # a run of the same name in another domain
        self._asked(str(request.get("reason") or "") or None)
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
