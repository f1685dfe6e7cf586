"""Runs the tasks of one partition's worker for as long as the worker owns its partition."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from router.errors import BrokerError

log = logging.getLogger(__name__)

T = TypeVar("T")


class PartitionTasks:
    """The task group of one worker: closed before it begins, while the worker closes, and after that."""

    def __init__(self) -> None:
        self._group: asyncio.TaskGroup | None = None
        self.closing = False

    @property
    def open(self) -> bool:
        """Whether work may still begin."""
        return not self.closing and self._group is not None

    @property
    def running(self) -> bool:
        """Whether tasks may be started, be it to finish work while the worker closes."""
        return self._group is not None

    def begin(self, group: asyncio.TaskGroup) -> None:
        """Runs tasks in this group from now on."""
        self._group = group

    def end(self) -> None:
        """Starts no task any more."""
        self.closing = True
        self._group = None

    def spawn(self, work: Coroutine[Any, Any, Any], name: str | None = None) -> asyncio.Task[Any] | None:
        """Runs something as a task of its own; not at all, and None, where the group has not begun or has ended."""
        if self._group is None:
            work.close()
            return None
        return self._group.create_task(work, name=name)


async def until_stored(work: Callable[[], Awaitable[T]]) -> T:
    """Does something that ends in a store, again and again until it succeeds: what it stores has the same id each time."""
    while True:
        try:
            return await work()
        except BrokerError as fault:
            log.warning(
                "the result of a webhook job was not stored; it will be stored again", extra={"fault": str(fault)}
            )
            await asyncio.sleep(random.uniform(0.2, 0.6))
