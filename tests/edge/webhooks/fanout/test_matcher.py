"""Events become jobs of the joined sessions that show them, as far as these may have more."""

from __future__ import annotations

import asyncio

import pytest

from edge.filters.evaluation import Filtering
from edge.sessions.registry import Session, SessionSpec
from edge.webhooks.fanout.admission import FanoutAdmission
from edge.webhooks.fanout.matcher import Matcher
from edge.webhooks.fanout.members import MemberJob, Members
from edge.webhooks.fanout.progress import FanoutProgress
from edge.webhooks.history.delivery_stats import DeliveryStats
from edge.webhooks.queue.job import OPERATIONAL
from edge.webhooks.queue.room import Room
from router.broker import Broker
from router.codec import encode
from router.cursor import Cursor
from router.event import Event
from router.record import Record

ID = "sess_000000000000000000000001"
EPOCH = "0123abcd"


class Parts:
    """A matcher with one joined session, and what it reports."""

    def __init__(self, broker: Broker) -> None:
        self.members = Members(FanoutProgress(epoch=EPOCH), 4, asyncio.Event())
        self.room = Room(broker)
        self.undecodable: list[Record] = []
        self.matcher = Matcher(
            self.members,
            Filtering(),
            FanoutAdmission(self.room, lambda _session: None),
            DeliveryStats(broker, "w").of,
            self.undecodable.append,
        )
        spec = SessionSpec(
            id=ID, delivery_method="webhook", created=1, start=str(Cursor(EPOCH, 0)), subjects=["agent.>", "system.>"]
        )
        self.members.admit(Session(spec, 1))
        self.jobs: list[MemberJob] = []

    def match(self, sequence: int, event: Event | None) -> int:
        payload = encode(event) if event is not None else b"not msgpack"
        record = Record(sequence, event.subject if event is not None else "agent.a.b", payload)
        return self.matcher.match(record, self.jobs)


@pytest.fixture
def parts(broker: Broker) -> Parts:
    return Parts(broker)


async def test_an_event_that_a_session_shows_becomes_its_job_and_another_does_not(parts: Parts):
    asked = parts.match(1, Event.new("agent.run.done", {}))
    parts.match(2, Event.new("job.other.done", {}))

    assert asked == 1
    assert [(job.session, job.sequence, job.subject) for _, job in parts.jobs] == [(ID, 1, "agent.run.done")]


async def test_an_endpoint_gets_no_event_about_itself(parts: Parts):
    parts.match(1, Event.new(f"{OPERATIONAL}disabled", {"session_id": ID}))
    parts.match(1, Event.new("system.delivery.error", {"error": "x", "session_id": ID}))
    parts.match(2, Event.new(f"{OPERATIONAL}disabled", {"session_id": "sess_other"}))

    assert [job.sequence for _, job in parts.jobs] == [2]


async def test_a_session_without_room_leaves_before_the_event_and_gets_nothing_behind_it(parts: Parts):
    parts.room._most_jobs = 1
    for sequence in (1, 2, 3):
        parts.match(sequence, Event.new("agent.run.done", {}))

    (member,) = parts.members.all.values()
    assert [job.sequence for _, job in parts.jobs] == [1]
    assert (member.leaving, member.reason) == (1, "share")


async def test_a_record_that_is_no_event_is_reported_and_makes_no_job(parts: Parts):
    assert parts.match(1, None) == 0

    assert [record.sequence for record in parts.undecodable] == [1]
    assert parts.jobs == []
