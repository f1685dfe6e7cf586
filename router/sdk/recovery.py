"""Delivers what a spool file holds: the events that an earlier process of a run could not store, in their order and once."""

from __future__ import annotations

import contextlib
import itertools
import math
import time
from typing import NamedTuple

from router.codec import decode
from router.errors import BadEvent, RouterError, RunSuperseded
from router.sdk.encoder import RunEncoder, incarnation_of_id
from router.sdk.queued import Kind, Queued
from router.sdk.sender import EventSender
from router.sdk.spool import Spooled, SpoolFile

# As many at once as a run that is open sends.
MAX_BATCH = 256
# So often it is asked whether the run was ended meanwhile since nobody holds its lease; over HTTP that refreshes the lease.
RESUME_SECONDS = 2.0


class Delivered(NamedTuple):
    """What became of a file's events. `away` says why it did not get to its end; `ended` that a completion was in it."""

    stored: int = 0
    refused: int = 0
    ended: bool = False
    away: str | None = None
    over: RouterError | None = None


async def deliver(file: SpoolFile, sender: EventSender) -> Delivered:
    """Stores what is left in a file; where the server is away the file stays, and the same call goes on later.

    Events that are stored already, by the process that wrote the file, are not stored again. A run that was failed meanwhile
    goes on as a new incarnation first. Events of a run that was begun anew since are refused from there on. The sender is one
    of its own, with the life of the file's header.
    """
    incarnations = _incarnations(file)
    last = await sender.last_stored(incarnations)
    encoder = RunEncoder(file.header.domain, file.header.run, file.header.source)

    def revive() -> Queued:
        encoder.renew()
        data = {"name": file.header.run, "incarnation": encoder.incarnation, "resumed": True}
        return encoder.encode(0, "workflow_start", data, kind=Kind.START)[1]

    told = Delivered()
    asked = -math.inf
    while batch := list(itertools.islice(file.read(file.start), MAX_BATCH)):
        known = sum(1 for _ in itertools.takewhile(lambda one: _is_stored(one.item, last), batch))
        if known:
            told = _settle(told, file, batch, known, 0)
            continue
        if batch[0].item.kind is Kind.EVENT and time.monotonic() - asked > RESUME_SECONDS:
            sent = await sender.resume(revive)
            if sent.away is not None:
                return told._replace(away=sent.away)
            if isinstance(sent.over, RunSuperseded):
                return _superseded(told, file, sent.over)
            asked = time.monotonic()
        sent = await sender.send([one.item for one in batch], revive)
        told = _settle(told, file, batch, sent.stored, sent.refused)
        if sent.over is not None:
            told = told._replace(over=sent.over)
            if isinstance(sent.over, RunSuperseded):
                return _superseded(told, file, sent.over)
        if sent.away is not None:
            return told._replace(away=sent.away)
    return told


def _settle(told: Delivered, file: SpoolFile, batch: list[Spooled], stored: int, refused: int) -> Delivered:
    done = stored + refused
    if not done:
        return told
    file.start = batch[done - 1].end
    ended = told.ended or any(one.item.kind is Kind.END for one in batch[:done])
    return told._replace(stored=told.stored + stored, refused=told.refused + refused, ended=ended)


def _superseded(told: Delivered, file: SpoolFile, over: RunSuperseded) -> Delivered:
    """All that is left is refused."""
    return told._replace(over=over, refused=told.refused + sum(1 for _ in file.read(file.start)))


def _is_stored(item: Queued, last: int) -> bool:
    return item.number <= last and item.kind is not Kind.END


def _incarnations(file: SpoolFile) -> frozenset[str]:
    """All whose events are in the file."""
    found = {file.header.incarnation}
    for spooled in file.read(file.start):
        with contextlib.suppress(BadEvent):
            found.add(incarnation_of_id(decode(spooled.item.payload).id))
    return frozenset(found)
