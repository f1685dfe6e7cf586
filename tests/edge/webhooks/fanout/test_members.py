"""Sessions join the live events where they have seen all that was matched, and leave once a batch is stored."""

from __future__ import annotations

import asyncio

import pytest

from edge.sessions.registry import Session, SessionSpec
from edge.webhooks.fanout.marks import Mark
from edge.webhooks.fanout.members import Members
from edge.webhooks.fanout.progress import FanoutProgress
from edge.webhooks.queue.job import Job
from router.cursor import Cursor

ID = "sess_000000000000000000000001"
EPOCH = "0123abcd"


def session(start: int = 0, epoch: str = EPOCH) -> Session:
    return Session(SessionSpec(id=ID, delivery_method="webhook", created=1, start=str(Cursor(epoch, start))), 1)


@pytest.fixture
def progress() -> FanoutProgress:
    return FanoutProgress(epoch=EPOCH, matched=10, position=10, start=5, oldest=2)


@pytest.fixture
def members(progress: FanoutProgress) -> Members:
    return Members(progress, 4, asyncio.Event())


def job(sequence: int) -> Job:
    return Job(
        session=ID, partition=0, event_id=f"event-{sequence}", subject="a.b.c", sequence=sequence, payload=b"", queued=1
    )


def test_a_session_that_begins_behind_what_was_matched_is_given_to_be_backfilled(members: Members):
    member = members.admit(session(3))

    assert member is not None and not member.joined and member.after == 3
    assert member not in members.joined


def test_a_session_that_has_seen_all_joins_at_once_and_its_mark_is_saved(members: Members):
    assert members.admit(session(10)) is None

    assert members.all[ID].joined and members.dirty == {ID}


def test_a_session_of_another_life_of_the_stream_begins_with_the_oldest_event(members: Members):
    member = members.admit(session(10, "abcd0123"))

    assert member is not None and member.after == 2


def test_one_that_had_joined_and_was_admitted_late_has_missed_what_was_matched_since(members: Members):
    members.marks = {ID: Mark(EPOCH, 1, joined=True)}

    member = members.admit(session())

    assert member is not None and member.after == 5


def test_what_leaves_while_a_batch_is_matched_waits_only_once_the_batch_is_stored(members: Members):
    members.admit(session(10))
    member = members.all[ID]
    members.dirty.clear()

    members.leave(member, 14, "share")
    members.leave(member, 12, "stream")
    assert member in members.joined and not members.waiting
    members.part()

    assert member not in members.joined and members.waiting == {ID: member}
    assert (member.after, member.reason, members.dirty, members.deferred) == (12, "share", {ID}, True)


def test_a_deleted_session_is_removed_everywhere_and_cleaned_up_after(members: Members):
    members.admit(session(10))
    member = members.all[ID]

    members.remove(member)

    assert member.removed and not members.all and member not in members.joined and members.gone == {ID}


def test_the_position_passes_to_the_first_that_has_joined_ahead_of_it(members: Members, progress: FanoutProgress):
    members.admit(session(30))

    members.pass_over()

    assert (progress.matched, progress.position) == (30, 30)


def test_jobs_that_are_stored_behind_a_refused_one_are_remembered(members: Members):
    member = members.admit(session(3))
    assert member is not None

    member.note_ahead([job(n) for n in (4, 5, 6, 7)], [job(5), job(7)])

    assert member.ahead == {6}
