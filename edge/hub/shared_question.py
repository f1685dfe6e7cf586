"""Asks a question once for all who come before it is sent.

An answer holds for what was so when its question was sent: who comes after that needs another one, and shares it with those who come
meanwhile. So thousands who ask together cost a few requests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

# A question waits for the answer to the one before it, to be shared by more, but not for one that may never come.
PAUSE = 0.05

T = TypeVar("T")


class SharedQuestion(Generic[T]):
    """A question that many put at the same time."""

    def __init__(self, ask: Callable[[], Awaitable[T]]) -> None:
        self._ask = ask
        # Not sent yet, so whoever comes shares it; and the one that was sent last, while there is no answer. None as an answer:
        # who was to send it, or waited for it, has left.
        self._next: asyncio.Future[tuple[T] | None] | None = None
        self._sent: asyncio.Future[tuple[T] | None] | None = None

    async def answer(self) -> T:
        """The answer to a question that is sent after this call. Raises what asking raises."""
        while (shared := self._next) is not None:
            if (answer := await asyncio.shield(shared)) is not None:
                return answer[0]
        question = self._next = asyncio.get_running_loop().create_future()
        try:
            await self._gather()
            self._next, self._sent = None, question
            found = await self._ask()
        except BaseException as fault:
            if isinstance(fault, asyncio.CancelledError):
                question.set_result(None)
            else:
                question.set_exception(fault)
                question.exception()
            raise
        finally:
            if self._next is question:
                self._next = None
            if self._sent is question:
                self._sent = None
        question.set_result((found,))
        return found

    async def _gather(self) -> None:
        """Lets others come who share the next question."""
        if self._sent is None:
            await asyncio.sleep(0)
        else:
            await asyncio.wait([self._sent], timeout=PAUSE)
