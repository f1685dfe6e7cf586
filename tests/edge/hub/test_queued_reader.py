"""What waits for one reader: within bounds, under the view that it has last, and told in order."""

from __future__ import annotations

from edge.disconnect import MISSED, ROTATED
from edge.hub.feed import Feed
from edge.hub.hub import Hub
from edge.hub.queued_reader import QueuedReader
from edge.settings import SessionSettings
from edge.stats import Stats
from edge.types import Batch, State
from edge.view import View
from router.broker import Broker
from router.codec import encode
from router.event import Event
from router.position import of_one
from router.record import Record
from tests.edge.conftest import RunningEdge


def batch(*sequences: int) -> Batch:
    events = [Event.new("job.a.output", {"n": n}) for n in sequences]
    return Batch([Record(n, "job.a.output", encode(event)) for n, event in zip(sequences, events, strict=True)], "e")


def reader_of(broker: Broker, mailbox: int) -> QueuedReader:
    """A live reader that nobody reads."""
    hub = Hub(broker, SessionSettings(mailbox_events=mailbox))
    feed = Feed(View.of("", ["job.a.>"], None, None))
    reader = QueuedReader(hub, feed, "sess", Stats(), hub.settings)
    reader.state = State.LIVE
    feed.live.add(reader)
    return reader


async def test_a_full_mailbox_is_emptied_and_its_reader_is_handed_nothing_any_more(broker: Broker) -> None:
    reader = reader_of(broker, mailbox=3)
    reader.offer(batch(1, 2))
    assert (reader.queued[0], reader.state) == (2, State.LIVE)

    reader.offer(batch(3, 4))

    assert (reader.queued, reader.state, reader.stats.spills) == ((0, 0), State.LAGGING, 1)
    assert not reader.feed.live and reader.stats.queued == 0


async def test_a_reader_that_was_led_past_a_loss_is_sent_back_and_one_before_it_reads_on(broker: Broker) -> None:
    before, past = reader_of(broker, 10), reader_of(broker, 10)
    before.position, past.position = of_one(4), of_one(9)

    for reader in (before, past):
        reader.rewind(of_one(4))

    assert (before.state, before._bye) == (past.state, None) == (State.LAGGING, None)
    assert (past._bye, past._resume_from) == (MISSED, of_one(4))
    # The first reason is the one that is told.
    past.close(ROTATED)
    assert past._bye is MISSED


async def test_a_reader_whose_session_is_changed_many_times_at_once_reads_by_the_last_change(
    either: RunningEdge, entity: str
) -> None:
    jobs = [f"{entity}-{n}" for n in range(8)]
    session = await either.session(subjects=[f"job.{jobs[0]}.>"])
    async with either.socket(session) as socket:
        await socket.control("ready")
        for count in range(2, len(jobs) + 1):
            changed = await either.http.patch(
                f"/callbacks/sessions/{session}", json={"subjects": [f"job.{job}.>" for job in jobs[:count]]}
            )
            assert changed.status_code == 200, changed.text
        for job in jobs:
            await either.publish({"subject": f"job.{job}.progress", "data": {"progress": 0.5}})

        seen = [event["subject"] for event in await socket.events(len(jobs))]

    assert seen == [f"job.{job}.progress" for job in jobs]
