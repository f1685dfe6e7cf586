"""The bounded mailbox of one reader."""

from __future__ import annotations

from edge.hub.batch_mailbox import BatchMailbox
from edge.hub.conflation import conflate
from edge.settings import SessionSettings
from edge.types import Batch
from router.codec import encode
from router.event import Event
from router.record import Record


def batch(*sequences: int, kind: str = "output") -> Batch:
    return Batch(
        [Record(n, f"job.a.{kind}", encode(Event.new(f"job.a.{kind}", {"n": n}, type=kind))) for n in sequences],
        "0badcafe",
    )


def test_batches_come_out_as_they_came_in_and_what_has_no_room_is_refused() -> None:
    mailbox = BatchMailbox(SessionSettings(mailbox_events=3))
    first, second = batch(1, 2), batch(3)

    assert mailbox.put(first) and mailbox.put(second)
    assert not mailbox.put(batch(4))
    assert (mailbox.events, mailbox.size) == (3, first.size + second.size)
    assert mailbox.pop() is first and mailbox.pop() is second
    assert not mailbox and (mailbox.events, mailbox.size) == (0, 0)


def conflated(batch: Batch) -> Batch:
    return Batch(conflate(batch.records), batch.epoch)


def test_bytes_are_bounded_too() -> None:
    first = batch(1)
    mailbox = BatchMailbox(SessionSettings(mailbox_bytes=first.size))

    assert mailbox.put(first)
    assert not mailbox.put(batch(2))


def test_what_is_superseded_makes_room() -> None:
    mailbox = BatchMailbox(SessionSettings(mailbox_events=2))
    mailbox.put(batch(1, 2, kind="progress"))

    assert mailbox.squeeze(batch(3, 4, kind="progress"), conflated) == 3
    assert [(record.sequence, record.superseded) for record in mailbox.clear()] == [(4, 3)]


def test_a_log_cannot_be_squeezed_and_stays_as_it_is() -> None:
    mailbox = BatchMailbox(SessionSettings(mailbox_events=2))
    mailbox.put(batch(1, 2))

    assert mailbox.squeeze(batch(3), conflated) is None
    assert [record.sequence for record in mailbox.clear()] == [1, 2]
