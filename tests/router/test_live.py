"""Which subjects a process subscribes: the widest of those that its readers want, whatever comes and goes at the same time.

The broker is a named fake, because no real server can be told how long each subscription shall take.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router import live, subject
from router.broker import Broker, StreamState
from router.events_state import EventsState, of_stream
from router.layout import Shard
from router.live import Live
from router.position import Position, of_one
from router.record import Record
from router.subject import LIVE, distinct, matches

PATTERNS = ["a.b.c", "a.b.d", "a.b.*", "a.>", "*.b.c", "b.>", ">"]


class Subscription:
    """One subscription, which takes a moment to be taken back."""

    def __init__(self, broker: SlowBroker, pattern: str) -> None:
        self.broker, self.pattern = broker, pattern

    async def stop(self) -> None:
        await asyncio.sleep(0)
        self.broker.subscribed[self.pattern] -= 1
        await asyncio.sleep(0)


class SlowBroker:
    """A broker that takes some turns of the loop for everything."""

    def __init__(self) -> None:
        self.connection = self
        self.subscribed: Counter[str] = Counter()
        self.last = 0

    async def listen(self, subject: str, receive: Callable[[str, str, bytes, bytes], None]) -> Subscription:
        pattern = subject.removeprefix(LIVE)
        await asyncio.sleep(0)
        self.subscribed[pattern] += 1
        await asyncio.sleep(0)
        return Subscription(self, pattern)

    async def events_state(self) -> EventsState:
        await asyncio.sleep(0)
        self.last += 1
        return of_stream(StreamState("0badcafe", 1, self.last, 0, 0))

    def shard(self, _shard: Shard) -> SlowBroker:
        return self

    async def count(self, pattern: str, after: int) -> int:
        await asyncio.sleep(0)
        return 0


async def nowhere(pattern: str, after: Position, upto: Position) -> Position | None:
    return None


def made(broker: SlowBroker) -> Live:
    return Live(cast(Broker, broker), lambda record: None, lambda reason, loss: None)


WISHES = st.lists(
    st.tuples(
        st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=2, unique=True), st.integers(0, 6), st.integers(0, 9)
    ),
    max_size=8,
)


@given(WISHES)
def test_what_is_subscribed_covers_every_reader_and_ends_as_the_widest_of_what_is_wanted(
    wishes: list[tuple[list[str], int, int]],
) -> None:
    async def all_of_them() -> None:
        broker = SlowBroker()
        hearing = made(broker)
        wanted: Counter[str] = Counter()

        async def reader(patterns: tuple[str, ...], before: int, during: int) -> None:
            for _ in range(before):
                await asyncio.sleep(0)
            since = hearing.want_now(patterns) if before % 2 else None
            if since is None:
                since = await hearing.want(patterns)
            assert of_one(broker.last).reaches(since) and since.reaches(of_one(1))
            for _ in range(during):
                assert all(covered(broker, pattern) for pattern in patterns)
                await asyncio.sleep(0)
            if during % 2:
                await hearing.unwant(patterns)
            else:
                wanted.update(patterns)

        async with asyncio.TaskGroup() as readers:
            for patterns, before, during in wishes:
                readers.create_task(reader(tuple(patterns), before, during))
        hearing.restart(of_one(broker.last))
        for _ in range(3):
            await hearing.verify(of_one(0), of_one(broker.last), nowhere)

        assert hearing.patterns == sorted(distinct(wanted))
        assert +broker.subscribed == Counter(hearing.patterns)

    asyncio.run(all_of_them())


def covered(broker: SlowBroker, pattern: str) -> bool:
    """Whether what a pattern is for is subscribed; each of them has an example."""
    example = pattern.replace("*", "a").replace(">", "x.y")
    return any(count and matches(each, example) for each, count in broker.subscribed.items())


async def test_a_pattern_is_wanted_without_waiting_only_where_its_events_are_received_already() -> None:
    broker = SlowBroker()
    hearing = made(broker)
    assert hearing.want_now(("a.b.c",)) is None and hearing.patterns == []

    since = await hearing.want(("a.>",))
    assert hearing.want_now(("a.b.c", "a.b.d")) == hearing.want_now(("a.>",)) == since
    assert hearing.want_now(("a.b.c", "b.>")) is None
    await hearing.unwant(("a.>",))
    await hearing.unwant(("a.>",))
    # What was wanted without waiting is subscribed by itself once nothing covers it.
    assert set(hearing.patterns) >= {"a.b.c", "a.b.d"}

    hearing.forget()
    assert hearing.want_now(("a.b.c",)) is None
    hearing.restart(of_one(broker.last))
    assert hearing.want_now(("a.b.c",)) == of_one(broker.last)
    other = asyncio.ensure_future(hearing.want(("b.>",)))
    await asyncio.sleep(0)
    assert hearing.want_now(("a.b.c",)) is None
    await other


async def test_one_more_pattern_is_compared_with_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    hearing = made(SlowBroker())
    for number in range(200):
        await hearing.want((f"agent.run-{number}.>",))
    compared = 0

    def counted(compare: Callable[..., bool]) -> Callable[..., bool]:
        def comparing(*patterns: str) -> bool:
            nonlocal compared
            compared += 1
            return compare(*patterns)

        return comparing

    for module in (live, subject):
        for name in ("covers", "matches", "overlap"):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, counted(getattr(module, name)))

    await hearing.want(("agent.run-new.>",))
    assert hearing._begun(Record(1, "agent.run-7.done", b"")) == 8
    await hearing.unwant(("agent.run-new.>",))

    assert compared == 0 and len(hearing.patterns) == 200
