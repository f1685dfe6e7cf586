"""Exchanges end once their time is up, by one timer for all of them."""

from __future__ import annotations

import time

import pytest

from edge.webhooks.client.answer import ResponseReader
from edge.webhooks.client.deadlines import Deadlines
from edge.webhooks.client.exchange import Exchange
from edge.webhooks.client.wire import Wire
from tests.waiting import eventually


async def test_what_is_overdue_ends_and_what_is_done_or_has_time_left_does_not():
    deadlines, now = Deadlines(), time.monotonic()
    waits = []
    for left in (0.0, 0.0, 3600.0):
        exchange = Exchange(now, now + left)
        exchange.wire = Wire()
        waits.append((exchange, exchange.wire.begin(ResponseReader())))
        deadlines.watch(exchange)
    deadlines.done(waits[1][0])

    await eventually(waits[0][1].done)

    assert [done.done() for _, done in waits] == [True, False, False]
    with pytest.raises(TimeoutError):
        waits[0][1].result()
    deadlines.close()
