"""Finds out which micro services answer `$SRV.PING`, by name."""

from __future__ import annotations

import asyncio
from typing import Any

from router.codec import from_json
from router.errors import BadEvent, BrokerError
from router.nats.connection import Connection


async def answering(connection: Connection, names: set[str], within: float) -> dict[str, list[dict[str, Any]]]:
    """Asks all micro services who they are; returns once all those named have answered, or the time is over."""
    heard: dict[str, list[dict[str, Any]]] = {}
    complete = asyncio.Event()

    def answered(_subject: str, _reply: str, payload: bytes, _raw: bytes) -> None:
        try:
            answer = from_json(payload)
        except BadEvent:
            return
        if isinstance(answer, dict) and isinstance(answer.get("name"), str):
            heard.setdefault(answer["name"], []).append(answer)
            if names <= heard.keys():
                complete.set()

    address = connection.expect(answered)
    try:
        await connection.send("$SRV.PING", b"", reply=address)
        async with asyncio.timeout(within):
            await complete.wait()
    except (TimeoutError, BrokerError):
        pass
    finally:
        connection.forget(address)
    return heard
