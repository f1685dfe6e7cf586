"""The webhook sessions in the fan-out of a shard: those that have joined the live events, and those that catch up on their own."""

from __future__ import annotations

import asyncio

from edge.filters.matching import Matching
from edge.sessions.registry import Session
from edge.webhooks.fanout.admission import Reason
from edge.webhooks.fanout.marks import Mark
from edge.webhooks.fanout.progress import FanoutProgress
from edge.webhooks.queue.job import Job, partition_of


class Member:
    """One webhook session in the fan-out."""

    __slots__ = (
        "after",
        "ahead",
        "expired",
        "gap_due",
        "joined",
        "leaving",
        "not_before",
        "partition",
        "reason",
        "removed",
        "session",
        "since",
        "slow",
        "telling",
    )

    def __init__(self, session: Session, after: int, joined: bool, partition: int, since: int | None = None) -> None:
        self.session = session
        self.partition = partition
        # Where it has not joined: all its jobs up to this event are stored.
        self.after = after
        self.joined = joined
        # Where it leaves the joined behind this event; counts once the jobs of that batch are stored.
        self.leaving: int | None = None
        # Jobs behind `after` that are stored nevertheless.
        self.ahead: set[int] = set()
        # Why it has not joined; "" while it is backfilled.
        self.reason: Reason = ""
        # Events behind `since` become dead letters once they have waited too long: those up to `expired`. None: not found yet.
        self.since = since
        self.expired = 0
        # HOOKS refused a job of it: it is tried again no sooner.
        self.not_before = 0.0
        # When the next gap may be reported while events run out of retention.
        self.gap_due = 0.0
        # Whether a gap of it is being published while it waits: it is not backfilled meanwhile, which would tell the same events.
        self.telling = False
        # Whether its filter was over its principal's budget since it joined.
        self.slow = False
        self.removed = False

    def note_ahead(self, stored: list[Job], refused: list[Job]) -> None:
        """Remembers which jobs behind a refused one are stored: their ids are known to the stream for ten minutes only."""
        failed = {job.stored for job in refused}
        first = min(failed)
        self.ahead |= {job.stored for job in stored if job.stored > first} - failed


# A job, and the session that it is for.
MemberJob = tuple[Member, Job]


class Members:
    """Every webhook session, and where it stands. Nothing here awaits."""

    def __init__(self, progress: FanoutProgress, partitions: int, wake: asyncio.Event) -> None:
        """`wake` is set whenever the joined sessions may have something to do."""
        self._progress = progress
        self._partitions = partitions
        self._wake = wake
        self.all: dict[str, Member] = {}
        self.joined: Matching[Member] = Matching()
        # Those that wait to be backfilled further; the event is set once there is one.
        self.waiting: dict[str, Member] = {}
        self.has_waiting = asyncio.Event()
        # What the predecessor kept of sessions that were not admitted yet.
        self.marks: dict[str, Mark] = {}
        # Sessions whose mark is to be saved, and whether some left the joined since the marks were saved.
        self.dirty: set[str] = set()
        self.deferred = False
        # Deleted sessions of which something may still be stored.
        self.gone: set[str] = set()
        # Those of the joined that began behind what is matched, when they were last looked at.
        self._ahead: set[Member] = set()
        # Those that left while the current batch was matched.
        self._leaving: list[Member] = []

    def clear(self) -> None:
        """Forgets the sessions, where this process owns the role no longer."""
        for member in self.all.values():
            member.removed = True
        self.all.clear()
        self.joined.clear()
        self.waiting.clear()
        self._ahead.clear()
        self._leaving.clear()

    def admit(self, session: Session) -> Member | None:
        """Takes a session in: among the joined where it has nothing to catch up, else it is given, to be backfilled."""
        member = self._make(session)
        self.all[session.id] = member
        self.gone.discard(session.id)
        if member.joined:
            self._list(member)
            return None
        return None if self.join(member) else member

    def _make(self, session: Session) -> Member:
        progress = self._progress
        mark = self.marks.pop(session.id, None)
        partition = partition_of(session.id, self._partitions)
        if mark is not None and mark.epoch == progress.epoch:
            # One that was heard of late, though it had joined the others before, has missed what was matched since.
            late = mark.joined and progress.matched > progress.start
            after = max(mark.after, progress.start) if late else mark.after
            if progress.ceiling is not None and after > progress.ceiling:
                # It had come so far in the former life of the stream.
                unfit = session.id in progress.unfit
                begun = session.start_in(progress.epoch)
                after = progress.ceiling if unfit or begun is None else max(progress.ceiling, begun.sequence)
                self.dirty.add(session.id)
            return Member(session, after, mark.joined and not late, partition, mark.since)
        start = session.start_in(progress.epoch)
        after = start.sequence if start is not None else progress.oldest
        if progress.ceiling is not None and session.id in progress.unfit:
            after = min(after, progress.ceiling)
        return Member(session, after, False, partition)

    def change(self, member: Member, session: Session) -> None:
        """Takes over what changed of a session."""
        member.session = session
        if member in self.joined:
            self.joined.put(member, session.view)

    def remove(self, member: Member) -> None:
        """Removes a session that was deleted, or is no webhook any more."""
        self.release(member)
        self.gone.add(member.session.id)

    def release(self, member: Member) -> None:
        """Takes a session out that has all of this shard; what is stored of it stays."""
        session_id = member.session.id
        member.removed = True
        del self.all[session_id]
        self.joined.discard(member)
        self.waiting.pop(session_id, None)

    def join(self, member: Member) -> bool:
        """Lets a session join where it has seen all that was matched; nothing may be awaited around this."""
        if member.after < self._progress.matched:
            return False
        member.joined = True
        member.reason, member.slow = "", False
        member.ahead.clear()
        self._list(member)
        self.dirty.add(member.session.id)
        self._wake.set()
        return True

    def _list(self, member: Member) -> None:
        """Puts a session among the joined."""
        self.joined.put(member, member.session.view)
        if member.after > self._progress.matched:
            self._ahead.add(member)

    def leave(self, member: Member, after: int, reason: Reason) -> None:
        """Takes a session from the joined behind an event; it is backfilled on its own."""
        if member.leaving is None:
            self._leaving.append(member)
            member.leaving, member.reason = after, reason
        else:
            member.leaving = min(member.leaving, after)

    def part(self) -> None:
        """Lets the sessions wait that left while a batch was matched; to be called once the jobs of the batch are stored.

        Sooner a mark could be saved, and jobs be missing after a crash.
        """
        leaving, self._leaving = self._leaving, []
        for member in leaving:
            assert member.leaving is not None
            member.joined, member.after, member.leaving = False, member.leaving, None
            self.joined.discard(member)
            member.since = member.after
            self.dirty.add(member.session.id)
            self.deferred = True
            if not member.removed:
                self.wait(member)

    def wait(self, member: Member) -> None:
        """Puts a session among those that wait to be backfilled further."""
        self.waiting[member.session.id] = member
        self.has_waiting.set()

    def pass_over(self) -> None:
        """Moves the position on to where the first of the joined begins: sessions that have not joined are backfilled."""
        if not self._ahead:
            return
        progress = self._progress
        self._ahead = {member for member in self._ahead if member in self.joined and member.after > progress.matched}
        if self._ahead and len(self._ahead) == len(self.joined):
            progress.matched = progress.position = min(member.after for member in self._ahead)
