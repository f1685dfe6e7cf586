"""Finds events that the generation before has stored, while they may still be repeated.

JetStream drops a repeat within the dedup window of one stream. After a reshard the streams are others, so for as long as the window
lasts whoever publishes an event looks for its id among the last ones of its subject in the former generation. That is sealed, so
each subject is read once.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Mapping

from router.clock import wall
from router.codec import rfc3339
from router.cursor import parse_time
from router.errors import BrokerError, Forbidden, Timeout
from router.layout import Shard
from router.layouts import Layouts
from router.nats.connection import Connection
from router.nats.headers import Reply, header
from router.nats.stream import Ack, Stream

log = logging.getLogger(__name__)

# Clocks of servers and publishers may differ by so much, in seconds.
MARGIN_SECONDS = 5.0
BATCH = 1000
BATCH_BYTES = 4 * 1024 * 1024
# About 32 MiB of ids; the subjects that were asked for longest ago are forgotten, and read again.
MAX_IDS = 250_000


def repeats_end(window: float) -> float:
    """How long after a reshard an event may be a repeat of one that the generation before has, in seconds."""
    return window + min(MARGIN_SECONDS, window)


class EarlierIds:
    """The ids of a former generation, by subject; `active` while events may be repeats of what that has stored."""

    def __init__(self, connection: Connection, layouts: Layouts, window: float) -> None:
        """`window` is the dedup window, in seconds."""
        self.active = False
        self._may_read_all = True
        self._connection = connection
        self._layouts = layouts
        self._window = window
        self._known: OrderedDict[str, asyncio.Future[Mapping[str, int]]] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None
        layouts.on_change(self._changed)

    async def find(self, subject: str, dedup: str) -> Ack | None:
        """What an event was acknowledged with, or would have been; None where it is not stored. Raises Timeout."""
        former = self._layouts.current.generations[-2:-1]
        if not former:
            return None
        shard = former[0].shard_of(subject)
        known = self._known.get(subject)
        if known is None:
            self._forget()
            known = self._known[subject] = asyncio.ensure_future(self._read(shard, subject))
        self._known.move_to_end(subject)
        try:
            ids = await asyncio.shield(known)
        except (BrokerError, asyncio.CancelledError) as fault:
            if known.done() and self._known.get(subject) is known:
                del self._known[subject]
            if isinstance(fault, BrokerError):
                raise Timeout(f"{shard.stream} cannot be asked whether it has an event: {fault}") from None
            raise
        place = ids.get(dedup)
        return None if place is None else Ack(place, True, shard.stream)

    def _changed(self) -> None:
        self._known.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        began, now = self._layouts.entry.current.began, wall.now_ns()
        left = repeats_end(self._window) - (now - began) / 1e9
        self.active = len(self._layouts.current.generations) > 1 and left > 0
        if self.active:
            self._timer = asyncio.get_running_loop().call_later(left, self._over)

    def _over(self) -> None:
        self.active = False
        self._timer = None
        self._known.clear()

    def _forget(self) -> None:
        """Makes room for another subject."""
        kept = sum(len(each.result()) for each in self._known.values() if _is_read(each))
        while kept > MAX_IDS or len(self._known) > MAX_IDS // 10:
            _, oldest = self._known.popitem(last=False)
            kept -= len(oldest.result()) if _is_read(oldest) else 0

    async def _read(self, shard: Shard, subject: str) -> Mapping[str, int]:
        stream, stored = Stream(self._connection, shard.stream), shard.stored(subject)
        since = self._layouts.entry.current.began - int(repeats_end(self._window) * 1e9)
        last: dict[str, int] = {}
        try:
            newest = await stream.read_last(stored)
            if newest is None:
                return last
            last = dict([_place(newest)])
            moment = header(newest.headers, b"Nats-Time-Stamp")
            if not self._may_read_all or (moment and parse_time(moment).timestamp() * 1e9 < since):
                return last
        except Forbidden:
            # Who may read the stream as a whole need not be allowed to name a subject.
            if not self._may_read_all:
                return last
        request = {"next_by_subj": stored, "batch": BATCH, "max_bytes": BATCH_BYTES, "start_time": rfc3339(since)}
        found: dict[str, int] = {}
        try:
            while True:
                run = await stream.read_run(request, _place)
                found.update((name, sequence) for name, sequence in run.messages if name)
                if not run.left or not run.messages:
                    return found
                request.pop("start_time", None)
                request["seq"] = run.messages[-1][1] + 1
        except Forbidden:
            # A producer may read no more than the newest event of a subject that it may publish to.
            self._may_read_all = False
            return last


def _is_read(ids: asyncio.Future[Mapping[str, int]]) -> bool:
    return ids.done() and not ids.cancelled() and ids.exception() is None


def _place(reply: Reply) -> tuple[str, int]:
    return header(reply.headers, b"Nats-Msg-Id") or "", int(header(reply.headers, b"Nats-Sequence") or 0)
