"""Reads dead letters of a nats-server that many tests share: there may be more of them than one page holds."""

from __future__ import annotations

from router.broker import Broker
from router.deadletter import DeadLetter
from router.deadletters import DeadLetters


async def letters_under(broker: Broker, pattern: str) -> list[DeadLetter]:
    """All dead letters under a pattern, oldest first, page by page."""
    dead, found = DeadLetters(broker), list[DeadLetter]()
    while True:
        page = await dead.read(after=found[-1].sequence if found else 0, pattern=pattern)
        found += page.deadletters
        if not page.more or not page.deadletters:
            return found
