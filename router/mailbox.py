"""Holds the messages of one consumer that takes them one at a time: bounded (backpressure), with urgent messages first, closable."""

from __future__ import annotations

import asyncio
from collections import deque
from enum import Enum
from typing import Generic, TypeVar

from router.errors import RouterError

M = TypeVar("M")

# 64 calls: more than one actor answers while a person waits; further ones are refused at once.
URGENT_CAPACITY = 64


class MailboxClosed(RouterError):
    """the mailbox takes nothing any more"""


class MailboxFull(RouterError):
    """the mailbox is full"""


class WhenFull(Enum):
    """What a full mailbox answers."""

    BLOCK = "block"  # `put` waits for room
    REFUSE = "refuse"  # `put` raises MailboxFull
    DROP_OLDEST = "drop_oldest"  # the oldest makes room, and is counted in `dropped`


class Mailbox(Generic[M]):
    """A bounded queue with one consumer; urgent messages are taken first. It knows no consumer, so it outlives a crash of one."""

    def __init__(
        self, capacity: int, overflow: WhenFull = WhenFull.BLOCK, urgent_capacity: int = URGENT_CAPACITY
    ) -> None:
        if capacity < 1 or urgent_capacity < 1:
            raise ValueError("a mailbox holds at least one message")
        self.capacity = capacity
        self.overflow = overflow
        self.urgent_capacity = urgent_capacity
        self.dropped = 0
        self._normal: deque[M] = deque()
        self._urgent: deque[M] = deque()
        self._closed = False
        self._filled = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    def __len__(self) -> int:
        return len(self._normal) + len(self._urgent)

    @property
    def closed(self) -> bool:
        return self._closed

    async def put(self, message: M) -> None:
        """Adds a message; a full mailbox answers by its WhenFull. Raises MailboxClosed or MailboxFull."""
        while not self.offer(message):
            if self._closed:
                raise MailboxClosed
            if self.overflow is WhenFull.REFUSE:
                raise MailboxFull
            await self._room.wait()

    def offer(self, message: M) -> bool:
        """Adds a message without waiting; False where the mailbox is closed, or full and not dropping."""
        if self._closed:
            return False
        if len(self._normal) >= self.capacity:
            if self.overflow is not WhenFull.DROP_OLDEST:
                return False
            self._normal.popleft()
            self.dropped += 1
        self._normal.append(message)
        if len(self._normal) >= self.capacity and self.overflow is WhenFull.BLOCK:
            self._room.clear()
        self._filled.set()
        return True

    def offer_urgent(self, message: M) -> bool:
        """Adds a message ahead of the normal ones, behind other urgent ones; False where it is closed or has no room for urgent ones."""
        if self._closed or len(self._urgent) >= self.urgent_capacity:
            return False
        self._urgent.append(message)
        self._filled.set()
        return True

    def close(self) -> None:
        """Takes nothing more in; what is inside is still given out, then iteration ends."""
        self._closed = True
        self._filled.set()
        self._room.set()

    def drain(self) -> list[M]:
        """Takes out everything at once, urgent first."""
        left = [*self._urgent, *self._normal]
        self._urgent.clear()
        self._normal.clear()
        self._room.set()
        return left

    def __aiter__(self) -> Mailbox[M]:
        return self

    async def __anext__(self) -> M:
        # Nothing is taken before the wait is over, so a consumer cancelled here loses no message.
        while not (self._urgent or self._normal):
            if self._closed:
                raise StopAsyncIteration
            self._filled.clear()
            await self._filled.wait()
        if self._urgent:
            return self._urgent.popleft()
        self._room.set()
        return self._normal.popleft()
