"""The broadcast of one batch to a feed's live readers."""

from __future__ import annotations

from typing import Any, cast

from edge.dialects.callback import CALLBACK
from edge.hub.group import LiveReaders, WriteGroup
from edge.hub.meter import Meter
from edge.stats import Stats
from edge.transports.encoders import BatchEncoder
from edge.types import Batch, DirectWriter
from router.codec import encode
from router.event import Event
from router.record import Record


class Sequences(BatchEncoder):
    """Writes one byte for each event."""

    name = "sequences"

    def events(self, batch: Batch) -> bytes:
        return bytes(record.sequence for record in batch.records)


class Socket:
    """Takes so many bytes of each write; None raises, as a full buffer does."""

    def __init__(self, takes: int | None = 100) -> None:
        self.takes = takes
        self.taken: list[bytes] = []

    def send(self, form: bytes) -> int:
        if self.takes is None:
            raise BlockingIOError
        self.taken.append(form[: self.takes])
        return len(self.taken[-1])


class Writer:
    """A reader as far as a group goes."""

    def __init__(self, live: LiveReaders, group: WriteGroup, takes: int | None = 100) -> None:
        self.position = self.reported = 0
        self.stats = Stats()
        self.socket = Socket(takes)
        self.rests: list[bytes] = []
        self.offered: list[Batch] = []
        self._live, self._group = live, group
        group.join(cast(DirectWriter, self))

    def remainder(self, form: bytes, sent: int) -> None:
        self.rests.append(form[sent:])

    def leave_group(self) -> None:
        self._group.leave(cast(DirectWriter, self))
        self._live.add(cast(Any, self))

    def offer(self, batch: Batch) -> None:
        self.offered.append(batch)


def batch(*sequences: int) -> Batch:
    return Batch([Record(n, "job.a.x", encode(Event.new("job.a.x", {"n": n}))) for n in sequences], "0badcafe")


async def test_a_batch_is_one_write_to_each_socket_and_what_is_not_taken_stays_with_its_reader() -> None:
    live = LiveReaders()
    group = live.group(Sequences(CALLBACK), Meter("websocket"))
    whole, part, full = Writer(live, group), Writer(live, group, takes=1), Writer(live, group, takes=None)

    live.deliver(batch(1, 2), max_bytes=1_000_000)

    assert (whole.socket.taken, whole.rests) == ([b"\x01\x02"], [])
    assert (part.socket.taken, part.rests) == ([b"\x01"], [b"\x02"])
    assert (full.socket.taken, full.rests) == ([], [b"\x01\x02"])
    assert group.position == group.reported == 2
    assert [each.stats.delivered for each in (whole, part, full)] == [2, 2, 2]


async def test_a_batch_that_is_too_large_is_offered_once_to_each_reader_by_itself() -> None:
    live = LiveReaders()
    group = live.group(Sequences(CALLBACK), Meter("websocket"))
    writers = [Writer(live, group), Writer(live, group)]
    large = batch(1)

    live.deliver(large, max_bytes=large.size - 1)

    assert [writer.offered for writer in writers] == [[large], [large]]
    assert len(group) == 0 and len(live) == 2 and live.all() == writers


def test_a_reader_that_joins_moves_the_group_s_position_forward_and_never_back() -> None:
    live = LiveReaders()
    group = live.group(Sequences(CALLBACK), Meter("websocket"))
    for position in (5, 9, 7):
        writer = Writer.__new__(Writer)
        writer.position, writer.reported, writer.stats, writer.socket = position, 3, Stats(), Socket()
        group.join(cast(DirectWriter, writer))

    assert (group.position, group.reported) == (9, 3)
