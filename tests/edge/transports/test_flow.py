"""Where a server offers neither, messages are sent as it does it."""

from __future__ import annotations

import asyncio

from edge.transports.flow import DRAINED, PLAINLY, drained, send_plainly


async def test_what_the_server_offers_is_used_and_its_absence_harmless() -> None:
    asked: list[str] = []
    written = asyncio.Event()
    scope = {"extensions": {PLAINLY: lambda: asked.append("plainly"), DRAINED: written.wait}}

    send_plainly(scope)
    waiting = asyncio.ensure_future(drained(scope))
    await asyncio.sleep(0)
    assert asked == ["plainly"] and not waiting.done()
    written.set()
    await waiting

    for other in ({}, {"extensions": None}, {"extensions": {}}):
        send_plainly(other)
        await drained(other)
