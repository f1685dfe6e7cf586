"""Readers whose filter is over its budget: all leave the live path at once, and come back a few at a time."""

from __future__ import annotations

import asyncio

from edge.filters.evaluation import Filtering
from edge.hub.feed import Feed
from edge.hub.hub import Hub
from edge.hub.reader import Reader
from edge.hub.slowed import SLOWED_AT_ONCE, SlowedReaders
from edge.stats import Stats
from edge.types import State
from edge.view import View
from router.broker import Broker


class Slowed(Reader):
    """A reader that says in which turn of the loop it went on."""

    turn = 0

    def resume_slowed(self, tell: bool) -> None:
        resumed.append(Slowed.turn)


resumed: list[int] = []


async def test_of_the_readers_that_one_event_slows_a_few_go_on_in_each_turn_of_the_loop(broker: Broker) -> None:
    hub = Hub(broker)
    feed = Feed(View.of("", [">"], None, "data.n == 1"))
    for _ in range(100):
        reader = Slowed(hub, feed, "sess", Stats(), hub.settings)
        reader.state = State.LIVE
        feed.live.add(reader)
    resumed.clear()

    SlowedReaders(Filtering()).slow(feed)
    assert not feed.live and not resumed
    for Slowed.turn in range(100 // SLOWED_AT_ONCE + 2):
        await asyncio.sleep(0)

    assert len(resumed) == 100
    assert max(map(resumed.count, resumed)) <= SLOWED_AT_ONCE
