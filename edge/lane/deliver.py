"""This file is where one batch goes to all readers of a view: the innermost loop, so nothing in it is done per reader that can
be done once.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from edge.session import Batch, Wire
from edge.stats import Stats

if TYPE_CHECKING:
    from edge.lane.meter import Meter


def deliver(batch: Batch, readers: Iterable[Any], most: int) -> None:
    """Offers a batch to each reader; lanes whose socket takes it at once, up to `most` bytes of it, are written to here.

    What is counted per session and per transport is counted once for neighbours, which tabs and replicas of one session are.
    """
    first, last, count = batch.records[0].sequence, batch.last, len(batch)
    wire: Wire | None = None
    meter: Meter | None = None
    stats: Stats | None = None
    form = b""
    size = writes = written = 0
    large = batch.size > most
    now = time.time()
    for reader in readers:
        way = reader.way
        if way is None or reader.position >= first or large:
            reader.offer(batch)
            continue
        if reader.wire is not wire:
            if meter is not None:
                meter.wrote(batch, size, writes)
            wire, meter, writes = reader.wire, reader.meter, 0
            form = batch.made(wire)
            size = len(form)
        if reader.stats is not stats:
            if stats is not None:
                stats.passed_on(written, now)
            stats, written = reader.stats, 0
        try:
            sent = way.send(form)
        except OSError:
            # Its buffer is full, or the connection is gone: the transport finds out which.
            sent = 0
        if sent != size:
            reader.remainder(form, sent)
        reader.position = reader.told = last
        writes += 1
        written += count
    if meter is not None and stats is not None:
        meter.wrote(batch, size, writes)
        stats.passed_on(written, now)
