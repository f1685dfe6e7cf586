"""The broadcast of one batch to a feed's live readers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from edge.dialects.callback import CALLBACK
from edge.dialects.folding import Folding
from edge.disconnect import COMPLETED, Disconnect
from edge.hub.group import MAX_GROUPS, LiveReaders, WriteGroup
from edge.hub.meter import Meter
from edge.stats import Stats
from edge.transports.encoders import BatchEncoder
from edge.transports.folding_encoders import FoldingSseEncoder
from edge.types import Batch, DirectWriter, Encoder
from router.codec import encode
from router.event import Event
from router.position import of_one
from router.record import Record
from tests.edge.dialects.folds import EPOCH, written
from tests.edge.dialects.test_folding import SUM, numbers


class Sequences(BatchEncoder):
    """Writes one byte for each event."""

    name = "sequences"

    def events(self, batch: Batch) -> bytes:
        return bytes(record.sequence for record in batch.records)


SEQUENCES = Sequences(CALLBACK)


def group_of(live: LiveReaders, encoder: Encoder) -> WriteGroup:
    group = live.group(encoder, Meter("websocket"))
    assert group is not None
    return group


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
        self.position = self.reported = of_one(0)
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
    group = group_of(live, SEQUENCES)
    whole, part, full = Writer(live, group), Writer(live, group, takes=1), Writer(live, group, takes=None)

    live.deliver(batch(1, 2), max_bytes=1_000_000)

    assert (whole.socket.taken, whole.rests) == ([b"\x01\x02"], [])
    assert (part.socket.taken, part.rests) == ([b"\x01"], [b"\x02"])
    assert (full.socket.taken, full.rests) == ([], [b"\x01\x02"])
    assert group.position == group.reported == of_one(2)
    assert [each.stats.delivered for each in (whole, part, full)] == [2, 2, 2]


async def test_a_batch_that_is_too_large_is_offered_once_to_each_reader_by_itself() -> None:
    live = LiveReaders()
    group = group_of(live, SEQUENCES)
    writers = [Writer(live, group), Writer(live, group)]
    large = batch(1)

    live.deliver(large, max_bytes=large.size - 1)

    assert [writer.offered for writer in writers] == [[large], [large]]
    assert len(group) == 0 and len(live) == 2 and live.all() == writers


def test_a_reader_that_joins_moves_the_group_s_position_forward_and_never_back() -> None:
    live = LiveReaders()
    group = group_of(live, SEQUENCES)
    for position in (5, 9, 7):
        writer = Writer.__new__(Writer)
        writer.position, writer.reported, writer.stats, writer.socket = of_one(position), of_one(3), Stats(), Socket()
        group.join(cast(DirectWriter, writer))

    assert (group.position, group.reported) == (of_one(9), of_one(3))


class Folder:
    """A reader that folds, as far as live readers go: it joins a group when it has written all, and catches up by itself."""

    def __init__(self, live: LiveReaders, start: int, after: int) -> None:
        self.encoder = FoldingSseEncoder(Folding(SUM, {"from": str(start)}, of_one(after) if after else None, _last))
        self.position = self.reported = of_one(0)
        self.stats = Stats()
        self.socket = self
        self.said = b""
        self.full = False
        self.closed: Disconnect | None = None
        self._live, self._group = live, cast("WriteGroup | None", None)
        live.add(cast(Any, self))

    def send(self, form: bytes) -> int:
        if self.full:
            raise BlockingIOError
        self.said += form
        return len(form)

    def remainder(self, form: bytes, sent: int) -> None:
        self.said += form[sent:]
        self.leave_group()

    def leave_group(self) -> None:
        if self._group is not None:
            self.position, group, self._group = self._group.position, self._group, None
            self.encoder.follow(group.encoder)
            group.leave(cast(DirectWriter, self))
            self._live.add(cast(Any, self))

    def offer(self, batch: Batch) -> None:
        self.said += self.encoder.encode(batch)
        self.position = batch.last
        if self.encoder.over:
            self.close(COMPLETED)
        else:
            self.join()

    def join(self) -> None:
        group = self._live.group(self.encoder, METER)
        if not self.full and group is not None and self.encoder.shares(self.position):
            self._live.discard(cast(Any, self))
            group.join(cast(DirectWriter, self))
            self._group = group
            self.encoder.read_along(group.encoder, self.leave_group)

    def close(self, reason: Disconnect) -> None:
        self.leave_group()
        self._live.discard(cast(Any, self))
        self.closed = reason


METER = Meter("sse")
LAST = 12


def _last(record: Record) -> bool:
    return record.sequence == LAST


ROUND = st.tuples(
    st.integers(1, 3), st.booleans(), st.lists(st.integers(0, 7), max_size=3), st.lists(st.integers(0, 2), max_size=2)
)


@given(st.lists(st.integers(0, 2), min_size=LAST, max_size=LAST), st.lists(ROUND, min_size=LAST, max_size=LAST))
def test_readers_that_fold_in_groups_are_written_what_each_would_be_by_itself(
    many: list[int], rounds: Sequence[tuple[int, bool, list[int], list[int]]]
) -> None:
    """In each round some come, some sockets fill up or drain, and a batch is handed out, which may be too large for groups."""
    live, records = LiveReaders(), numbers(*many)
    folders: list[tuple[Folder, int, int]] = []
    place = 0
    for size, large, turned, coming in rounds:
        for start in coming:
            # It replays by itself what was stored before it came, in silence up to where its client has been.
            after = min(place + start - 1, LAST - 1)
            folder = Folder(live, start, after)
            folders.append((folder, start, after))
            if place:
                folder.offer(Batch(records[:place], EPOCH))
        for index in turned:
            if index < len(folders) and (folder := folders[index][0]).closed is None:
                folder.full = not folder.full
                if not folder.full and folder._group is None and folder.position == of_one(place) and place:
                    folder.join()
        some = records[place : place + size]
        if not some:
            break
        batch = Batch(some, EPOCH)
        place += len(some)
        asyncio.run(handed(live, batch, 0 if large else 1_000_000))

    if place < LAST:
        asyncio.run(handed(live, Batch(records[place:], EPOCH), 1_000_000))
    for folder, start, after in folders:
        assert folder.said == written(SUM, records, after, _last, {"from": str(start)})
        assert folder.closed is COMPLETED
    assert len(live) == 0


async def handed(live: LiveReaders, batch: Batch, max_bytes: int) -> None:
    """Hands a batch out where a loop runs, as a meter expects."""
    live.deliver(batch, max_bytes)


async def test_readers_at_more_states_than_there_are_groups_are_handed_batches_by_themselves() -> None:
    live = LiveReaders()
    folders = [Folder(live, start, 0) for start in range(MAX_GROUPS + 2)]
    (one, two) = numbers(1, 1)

    live.deliver(Batch([one], EPOCH), 1_000_000)
    assert [folder._group is None for folder in folders] == [False] * MAX_GROUPS + [True] * 2
    folders[0].close(COMPLETED)
    live.deliver(Batch([two], EPOCH), 1_000_000)

    # The group of who has left makes room.
    assert [folder._group is None for folder in folders[1:]] == [False] * MAX_GROUPS + [True]
    assert [folder.said for folder in folders[1:]] == [
        written(SUM, [one, two], parameters={"from": str(start)}) for start in range(1, MAX_GROUPS + 2)
    ]
