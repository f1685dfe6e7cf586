"""Delivers the spools that programs left behind, and ends the runs whose program died without a completion."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import NamedTuple

from router.errors import RouterError, RunEnded
from router.sdk.encoder import RunEncoder
from router.sdk.queued import Kind, Queued
from router.sdk.recovery import Delivered, deliver
from router.sdk.sender import EventSender
from router.sdk.spool import SpoolFile, SpoolHeader, header_of, left_behind
from router.timing import full_jitter

log = logging.getLogger(__name__)

DIED = "the program ended without a completion; its last events come from its spool"


class Flushed(NamedTuple):
    """What became of one file. Without `left` (why it is still there) all of it is settled and it is gone."""

    path: Path
    header: SpoolHeader | None
    stored: int = 0
    refused: int = 0
    left: str | None = None
    over: RouterError | None = None


async def flush(
    folder: Path, sender_for: Callable[[SpoolHeader], EventSender], *, run: str | None = None, patience: float = 10.0
) -> AsyncIterator[Flushed]:
    """Delivers the files of a folder, of one run or of all, and tells of each. A server that is away is waited for so many seconds."""
    deadline = time.monotonic() + patience
    for path in left_behind(folder):
        header = header_of(path)
        if run is not None and (header is None or header.run != run):
            continue
        if header is None:
            yield Flushed(path, None, left="it is no spool, or its first bytes are torn")
            continue
        file = SpoolFile.open(path)
        if file is None:
            yield Flushed(path, header, left="its run is still open")
            continue
        sender = sender_for(file.header)
        serving = asyncio.create_task(sender.connect(), name="flush connects")
        try:
            yield await _flush(file, sender, deadline)
        finally:
            serving.cancel()
            await asyncio.wait({serving})
            await sender.release()
            file.close()


async def _flush(file: SpoolFile, sender: EventSender, deadline: float) -> Flushed:
    stored = refused = failures = 0
    while True:
        told = await deliver(file, sender)
        stored, refused = stored + told.stored, refused + told.refused
        if told.away is None and told.over is None and not told.ended:
            told = await _end(file, sender)
            stored += told.stored
        if told.away is None:
            file.remove()
            return Flushed(file.path, file.header, stored, refused, over=told.over)
        if time.monotonic() > deadline:
            return Flushed(file.path, file.header, stored, refused, left=told.away)
        failures += 1
        await asyncio.sleep(0.1 + full_jitter(failures, 0.1, 1.0))


async def _end(file: SpoolFile, sender: EventSender) -> Delivered:
    """Ends the run of a program that died, unless it has another end or another life by now."""
    header = file.header
    encoder = RunEncoder(header.domain, header.run, header.source, incarnation=header.incarnation)
    data = {"success": False, "error": DIED, "synthesized": True, "incarnation": sender.incarnation}

    def revive() -> Queued:
        raise RouterError("a run is not revived to be failed")

    sent = await sender.send([encoder.encode(0, "completion", data, kind=Kind.END)[1]], revive)
    return Delivered(stored=sent.stored, away=sent.away, over=None if isinstance(sent.over, RunEnded) else sent.over)
