"""The pages that the readers of one view share."""

from __future__ import annotations

from edge.hub.feed import SHARED_PAGES, Feed
from edge.view import View


def test_the_oldest_page_makes_room_for_the_newest() -> None:
    feed = Feed(View.of("sess_x", ["job.>"], None, None))
    for after in range(SHARED_PAGES + 1):
        feed.keep((after, after + 1), None)

    assert len(feed.pages) == SHARED_PAGES
    assert (0, 1) not in feed.pages and (SHARED_PAGES, SHARED_PAGES + 1) in feed.pages
