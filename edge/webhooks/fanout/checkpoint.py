"""The fan-out's checkpoint of a shard in LEASES: its position, and a mark for each session, saved under compare-and-set.

An owner that lost the role without noticing cannot move the position: its save meets a Conflict.
"""

from __future__ import annotations

import logging
from datetime import timedelta

import msgspec

from edge.sessions.registry import Registry
from edge.webhooks.fanout.marks import Mark, MatchedPosition, marks_key, position_key, read_mark, read_position
from edge.webhooks.fanout.members import Members
from edge.webhooks.fanout.progress import FanoutProgress
from router.broker import Broker, StreamState
from router.cursor import UNKNOWN, Cursor, parse_time
from router.errors import BrokerError, Conflict
from router.layout import Shard
from router.nats.bucket import Bucket, Entry
from router.replay import Replay

log = logging.getLogger(__name__)

# How much earlier than the saved position the events may be stored that are fanned out again after a restore: for stores
# whose clocks differ, and for a position that was saved late.
MARGIN = timedelta(seconds=60)


async def holds(replay: Replay, shard: Shard, place: Cursor, state: StreamState) -> bool:
    """Whether a shard still holds at a place what it held before, as far as that can be told. Raises BrokerError."""
    if place.check == UNKNOWN or not state.first <= place.sequence <= state.last:
        return True
    return await replay.checks.find(place.sequence, shard) in (place.check, UNKNOWN)


class Checkpoint:
    """Loads and saves how far the fan-out has come."""

    def __init__(
        self,
        broker: Broker,
        shard: Shard,
        bucket: Bucket,
        replay: Replay,
        registry: Registry,
        progress: FanoutProgress,
        members: Members,
    ) -> None:
        self._shard = shard
        self._events = broker.shard(shard)
        self._position_key, self._marks = position_key(shard), marks_key(shard)
        self._bucket = bucket
        self._replay = replay
        self._registry = registry
        self._progress = progress
        self._members = members
        self._revision = 0
        self._saved = -1
        # Where this process's last ownership ended: counts where LEASES was recreated and nothing is kept there.
        self._former: tuple[MatchedPosition, dict[str, Mark]] | None = None

    def remember(self) -> None:
        """Notes how far this process has come, at the end of its ownership."""
        progress = self._progress
        self._former = (
            MatchedPosition(progress.epoch, *progress.newest)
            if progress.newest[0] == progress.position
            else MatchedPosition(progress.epoch, progress.position),
            {id: Mark(progress.epoch, each.after, each.joined, each.since) for id, each in self._members.all.items()},
        )

    # Loading

    async def load(self) -> None:
        """Reads how far the predecessor came, into the progress and the marks. Raises BrokerError."""
        progress, members = self._progress, self._members
        state = await self._events.state()
        entry = await self._bucket.get(self._position_key)
        kept = read_position(self._position_key, entry.value) if entry else None
        self._revision = entry.revision if entry else 0
        progress.epoch = state.epoch
        marks = {
            each.key.rpartition(".")[2]: mark
            for each in await self._bucket.entries(f"{self._marks}.*")
            if (mark := read_mark(each.key, each.value)) is not None
        }
        if entry is None and self._former is not None:
            # Another process may have come further since: what it has stored is repeated, and nothing is passed over.
            kept, marks = self._former[0], {**self._former[1], **marks}
        if kept is None:
            # There was no predecessor. Where its note cannot be decoded, all that is kept is fanned out again: jobs that
            # were stored lately are dropped as repeats, and none is missing.
            # Nor is there one of a shard that a reshard made; what is there comes behind the former generation.
            is_behind = bool(entry and entry.value) or self._shard.generation > 0
            progress.position = max(state.first - 1, 0) if is_behind else state.last
        elif kept.epoch != state.epoch:
            # Another life of the stream: all it holds is new.
            progress.position = max(state.first - 1, 0)
        else:
            progress.position = kept.sequence
        self._replay.forget()
        progress.oldest = max(state.first - 1, 0)
        await self._check_restore(state, kept, entry)
        if progress.newest[0] != progress.position or progress.newest[1] == UNKNOWN:
            progress.newest = progress.position, await self._replay.checks.find(progress.position, self._shard)
        progress.matched = progress.start = progress.position
        self._saved = -1
        members.marks = marks
        # All of them where nothing is kept: those that come no further would else be lost with this process.
        members.dirty = set(marks) if entry is None else set()
        members.gone.clear()
        progress.suspect = False

    async def _check_restore(self, state: StreamState, kept: MatchedPosition | None, entry: Entry | None) -> None:
        """Goes back where an older state of the stream was restored since the position was saved. Raises BrokerError.

        What is stored after that is stored later than the position was, so the fan-out goes on from that time, and no
        session counts as further. Some events may be posted twice, none is passed over.
        """
        progress = self._progress
        progress.ceiling = None
        progress.unfit.clear()
        progress.newest = 0, UNKNOWN
        if kept is None or kept.epoch != state.epoch:
            return
        if kept.sequence <= state.last and await self._fits(Cursor(kept.epoch, kept.sequence, kept.check), state):
            progress.newest = kept.sequence, kept.check
            return
        progress.position = progress.ceiling = await self._before(state, entry)
        for session in list(self._registry.sessions.values()):
            start = session.start_in(state.epoch)
            known = start is not None and start.check != UNKNOWN and start.sequence <= state.last
            if start is None or not known or not await self._fits(start, state):
                progress.unfit.add(session.id)
        log.error(
            "an older state of the event stream was restored; the fan-out goes back and may post some events twice",
            extra={"saved": kept.sequence, "last": state.last, "after": progress.position},
        )

    async def _fits(self, part: Cursor, state: StreamState) -> bool:
        return await holds(self._replay, self._shard, part, state)

    async def _before(self, state: StreamState, entry: Entry | None) -> int:
        """The sequence before the first event that was stored at about the time of an entry, or later."""
        oldest = max(state.first - 1, 0)
        if entry is None or not entry.stored:
            return oldest
        page = await self._events.read(">", 0, 1, since=parse_time(entry.stored) - MARGIN)
        return max(page.records[0].sequence - 1, oldest) if page.records else state.last

    # Saving

    async def save(self) -> None:
        """Saves the position, and how far those sessions came that moved. Raises Conflict where another owns the role."""
        members, position = self._members, self._progress.position
        if members.deferred:
            # A session that left the joined is behind this position: that must be known before it is saved.
            # The position as it was is saved once more first, to know that the role is still ours.
            await self._save_position(max(self._saved, self._progress.start))
            members.deferred = False
            try:
                await self._save_marks()
            except BrokerError:
                members.deferred = True
                raise
        if position != self._saved:
            await self._save_position(position)
        await self._save_marks()

    async def _save_position(self, position: int) -> None:
        progress = self._progress
        if (newest := progress.newest)[0] == position and newest[1] != UNKNOWN:
            check = newest[1]
        else:
            # Nothing was matched there: the sessions began behind it.
            check = await self._replay.checks.find(position, self._shard)
            if progress.suspect:
                return
            if check != UNKNOWN and progress.newest is newest and newest[0] <= position:
                progress.newest = position, check
        value = msgspec.json.encode(MatchedPosition(progress.epoch, position, check))
        try:
            if self._revision:
                self._revision = await self._bucket.update(self._position_key, value, self._revision)
            else:
                # Also over the marker of one that was deleted.
                self._revision = await self._bucket.create(self._position_key, value)
        except Conflict:
            # A save whose answer was lost is our own.
            entry = await self._bucket.get(self._position_key)
            if entry is None or entry.value != value:
                raise
            self._revision = entry.revision
        self._saved = position

    async def _save_marks(self) -> None:
        members, epoch = self._members, self._progress.epoch
        for session_id in list(members.dirty):
            members.dirty.discard(session_id)
            if (member := members.all.get(session_id)) is None:
                continue
            mark = Mark(epoch, member.after, member.joined, member.since)
            try:
                await self._bucket.put(f"{self._marks}.{session_id}", msgspec.json.encode(mark))
            except BrokerError:
                members.dirty.add(session_id)
                raise
