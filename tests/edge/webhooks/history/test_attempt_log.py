"""Attempts are queued without waiting, and stored a moment later."""

from __future__ import annotations

from tests.edge.webhooks.history.test_attempts import attempt, new_session, pages, stored
from tests.edge.webhooks.stage import Stage


async def test_where_too_many_wait_the_new_ones_are_dropped_and_nobody_is_held_up(stage: Stage) -> None:
    session = new_session()
    read = await stored(stage, [attempt(session, n) for n in range(100)], capacity=30)

    assert sorted(each.sequence for each in await pages(read, session, 50)) == list(range(1, 31))
