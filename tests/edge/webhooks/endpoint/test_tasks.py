"""Tests of edge/webhooks/endpoint/tasks.py: tasks run for as long as their partition is owned."""

from __future__ import annotations

import asyncio

from edge.webhooks.endpoint.tasks import PartitionTasks, until_stored
from router.errors import Timeout


async def test_tasks_start_only_between_the_beginning_and_the_end():
    tasks, done = PartitionTasks(), list[str]()

    async def work(name: str) -> None:
        done.append(name)

    assert tasks.spawn(work("before")) is None and not tasks.open
    async with asyncio.TaskGroup() as group:
        tasks.begin(group)
        assert tasks.open
        tasks.spawn(work("while open"))
        tasks.closing = True
        assert not tasks.open and tasks.running
        tasks.spawn(work("while closing"))
        tasks.end()
        assert tasks.spawn(work("after")) is None and not tasks.running

    assert done == ["while open", "while closing"]


async def test_what_cannot_be_stored_is_stored_again_until_it_is():
    answers = [Timeout("no answer"), None]

    async def store() -> str:
        if (fault := answers.pop(0)) is not None:
            raise fault
        return "stored"

    assert await until_stored(store) == "stored" and answers == []
