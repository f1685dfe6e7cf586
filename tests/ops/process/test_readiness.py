"""When the processes of `callboard up` are ready."""

from __future__ import annotations

import asyncio
from pathlib import Path

from ops.process.internal import Internal
from ops.process.parts import EDGE
from ops.process.readiness import await_child, await_edge, shown_session
from ops.sections import InternalSettings
from router.nats.embedded import free_port


async def test_a_child_is_ready_once_it_has_proved_itself() -> None:
    ready: list[str] = []
    proved = asyncio.Event()
    waiting = asyncio.ensure_future(await_child("simulator", proved, ready.append))
    await asyncio.sleep(0)
    assert not ready

    proved.set()
    await waiting
    assert ready == ["simulator"]


async def test_an_edge_is_ready_once_it_says_so_and_not_before_it_has_proved_itself() -> None:
    ready: list[str] = []
    proved, port = asyncio.Event(), free_port()
    internal = Internal(InternalSettings(port))
    async with internal.serving():
        internal.checks = lambda: {"nats": True}
        waiting = asyncio.ensure_future(await_edge(("127.0.0.1", port), proved, ready.append))
        await asyncio.sleep(0.1)
        # Something answers there: whether it is ours only the child can prove.
        assert not ready

        proved.set()
        await waiting
    assert ready == [EDGE]


async def test_without_an_edge_there_is_no_session_to_show(tmp_path: Path) -> None:
    assert await shown_session(("127.0.0.1", free_port()), tmp_path / "session", None) is None
    assert not (tmp_path / "session").exists()
