"""What is not lifted in time is called once, however many there are and in whatever order they are due."""

from __future__ import annotations

import asyncio
import random

from router.nats.deadlines import RequestDeadlines
from tests.waiting import eventually


async def test_each_is_called_once_in_the_order_of_its_time_and_what_is_lifted_is_not() -> None:
    deadlines = RequestDeadlines()
    chance = random.Random(19)
    called: list[int] = []
    times = {number: chance.uniform(0.01, 0.2) for number in range(50)}
    expiries = {number: (lambda number=number: called.append(number)) for number in times}

    for number, seconds in times.items():
        deadlines.set(expiries[number], seconds)
    lifted = set(chance.sample(sorted(times), 20))
    for number in lifted:
        deadlines.lift(expiries[number])
    await eventually(lambda: not len(deadlines))

    assert called == sorted(times.keys() - lifted, key=lambda number: times[number])


async def test_one_that_is_due_sooner_does_not_wait_for_one_that_was_set_before() -> None:
    deadlines = RequestDeadlines()
    called: list[str] = []
    deadlines.set(lambda: called.append("late"), 3600.0)
    deadlines.set(lambda: called.append("soon"), 0.01)

    await eventually(lambda: called == ["soon"])

    assert len(deadlines) == 1
    deadlines.close()


async def test_what_is_called_may_set_others() -> None:
    deadlines = RequestDeadlines()
    called: list[str] = []

    def first() -> None:
        called.append("first")
        deadlines.set(lambda: called.append("second"), 0.01)

    deadlines.set(first, 0.01)

    await eventually(lambda: called == ["first", "second"])


async def test_closing_it_calls_nothing_and_leaves_no_timer() -> None:
    deadlines = RequestDeadlines()
    called: list[str] = []
    deadlines.set(lambda: called.append("late"), 0.01)
    deadlines.close()

    await asyncio.sleep(0.05)

    assert not called and deadlines._timer is None
