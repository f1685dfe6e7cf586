"""Waits until the processes of `callboard up` are ready, and finds the session that its banner shows."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from ops.process.http import get
from ops.process.micro import answering
from ops.process.parts import EDGE
from router.codec import from_json
from router.errors import BadEvent
from router.nats.connection import Connection

# After this the banner is shown anyway, with the names of the processes that are not ready.
READY_SECONDS = 60.0

ReadyCallback = Callable[[str], None]
"""Called with the name of a process once it is ready."""


async def await_actors(connection: Connection, proved: Mapping[str, asyncio.Event], here: ReadyCallback) -> None:
    """Waits until all actors answer; `proved` are set while a child has proved that it is ours."""
    waiting = set(proved)
    pause = 0.05
    began = time.monotonic()
    while waiting:
        # An answer alone may come from another process on the same NATS.
        ours = {name for name in waiting if proved[name].is_set()}
        for name in ours and ours & (await answering(connection, ours, pause)).keys():
            waiting.discard(name)
            here(name)
        # Once the banner is shown, polling may be slow.
        pause = 0.05 if time.monotonic() - began < READY_SECONDS else 1.0
        await asyncio.sleep(pause if waiting else 0)


async def await_edge(address: tuple[str, int], proved: asyncio.Event, here: ReadyCallback) -> None:
    """Waits until the edge says that it is ready."""
    while True:
        # The listening socket is ours; only the child can prove that the process behind it is our edge.
        await proved.wait()
        with contextlib.suppress(OSError):
            if (await get(*address, "/readyz", timeout=READY_SECONDS)).status == 200:
                return here(EDGE)
        await asyncio.sleep(0.05)


async def await_child(name: str, proved: asyncio.Event, here: ReadyCallback) -> None:
    """Waits for a child that is ready once it has proved that it is ours."""
    await proved.wait()
    here(name)


async def shown_session(address: tuple[str, int], note: Path, token: str | None) -> str | None:
    """Finds the session that is noted in a file, or creates one and notes it; None where the edge has none for us."""
    path = "/callbacks/sessions"
    try:
        known = note.read_text().strip() if note.exists() else ""
        if known and (await get(*address, f"{path}/{known}", token=token)).status == 200:
            return known
        made = await get(*address, path, method="POST", body=b'{"delivery_method":"sse"}', token=token)
        session = str(from_json(made.body)["session_id"])
        note.write_text(session + "\n")
    except (OSError, BadEvent, KeyError, TypeError):
        return None
    return session
