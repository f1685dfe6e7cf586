"""The pages that the readers of one view share."""

from __future__ import annotations

from edge.hub.feed import SHARED_PAGES, SHARED_WINDOWS, Feed
from edge.types import Batch
from edge.view import View
from router.codec import encode
from router.event import Event
from router.position import of_one
from router.record import Record


def test_the_oldest_page_makes_room_for_the_newest() -> None:
    feed = Feed(View.of("sess_x", ["job.>"], None, None))
    for after in range(SHARED_PAGES + 1):
        feed.keep((of_one(after), of_one(after + 1)), None)

    assert len(feed.pages) == SHARED_PAGES
    assert (of_one(0), of_one(1)) not in feed.pages
    assert (of_one(SHARED_PAGES), of_one(SHARED_PAGES + 1)) in feed.pages


def _batch(*sequences: int, superseded: int = 0) -> Batch:
    payload = encode(Event.new("job.a.progress", {}))
    return Batch([Record(sequence, "job.a.progress", payload, 0, superseded) for sequence in sequences], "0badcafe")


def test_readers_with_the_same_records_share_what_conflation_makes_of_them() -> None:
    feed = Feed(View.of("sess_x", ["job.>"], None, None))

    window = feed.conflated(_batch(1, 2, 3))

    assert [(record.sequence, record.superseded) for record in window.records] == [(3, 2)]
    assert feed.conflated(_batch(1, 2, 3)) is window
    assert feed.conflated(_batch(2, 3)) is not window
    assert feed.conflated(_batch(1, 2, 3, superseded=1)) is not window
    feed.forget()
    assert feed.conflated(_batch(1, 2, 3)) is not window


def test_the_oldest_window_makes_room_for_the_newest() -> None:
    feed = Feed(View.of("sess_x", ["job.>"], None, None))
    for sequence in range(1, SHARED_WINDOWS + 2):
        feed.conflated(_batch(sequence))

    assert len(feed.windows) == SHARED_WINDOWS
