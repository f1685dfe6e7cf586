"""`callboard logs`: levels are read and changed in running processes."""

from __future__ import annotations

import asyncio
from pathlib import Path

from router.nats.embedded import free_port
from tests.ops.command import callboard, running
from tests.waiting import eventually


async def test_the_command_changes_the_level_in_every_worker(tmp_path: Path, own_nats: str) -> None:
    inside = free_port()
    async with running(
        "edge", "--workers", "2", "--port", str(free_port()), NATS_URL=own_nats, INTERNAL_PORT=str(inside),
        LOG_FORMAT="json",
    ) as edge:  # fmt: skip

        async def ready() -> bool:
            done = await asyncio.to_thread(callboard, "health", INTERNAL_PORT=str(inside))
            return done.returncode == 0

        await eventually(ready)
        await eventually(lambda: edge.err.count("edge is listening") == 2)
        done = await asyncio.to_thread(callboard, "logs", "level", "root", "debug", "--port", str(inside))
        assert done.returncode == 0, done.stderr
        assert "root debug" in done.stdout
        wrong = await asyncio.to_thread(callboard, "logs", "level", "edgy", "debug", "--port", str(inside))
        assert wrong.returncode == 2 and "edge.hub" in wrong.stderr

        # Each worker says so itself; the process above them only passes it on.
        await eventually(lambda: edge.err.count("log level changed") == 2)
