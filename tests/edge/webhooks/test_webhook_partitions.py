from __future__ import annotations

import asyncio
from collections import Counter

from edge.webhooks.partitions import MISSED, Partitions
from router.broker import Broker
from router.buckets import Bucket, Entry
from router.connection import BrokerSettings
from router.role import RoleSettings
from router.topology import LEASES
from tests.edge.webhooks.stage import Stage
from tests.waiting import PATIENCE, eventually

# Short enough to wait for a death, and longer than a busy machine keeps a living member from its refresh.
SETTINGS = RoleSettings(ttl=6.0, poll=0.1)
PARTITIONS = 16


class Term:
    """The work on a partition, as far as it is known who does it."""

    def __init__(self, member: Member, partition: int, clean: bool) -> None:
        self.member, self.partition, self.clean = member, partition, clean
        self.closed = asyncio.Event()

    async def run(self) -> None:
        self.member.mine.add(self.partition)
        self.member.terms.append(self)
        try:
            await self.closed.wait()
        finally:
            self.member.mine.discard(self.partition)

    async def close(self, grace: float) -> None:
        self.closed.set()


class Member:
    """A process that wants its share."""

    def __init__(self, broker: Broker, name: str) -> None:
        self.mine: set[int] = set()
        self.terms: list[Term] = []
        self.broker = broker
        self.partitions = Partitions(
            Bucket(broker.connection, LEASES),
            PARTITIONS,
            name,
            lambda partition, epoch, clean: Term(self, partition, clean),
            SETTINGS,
        )
        self.task = asyncio.ensure_future(self.partitions.run())

    async def die(self) -> None:
        """Goes without a word."""
        await self.broker.connection._wire.close()
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


async def join(stage: Stage, name: str) -> Member:
    broker = Broker(BrokerSettings(url=stage.url), name, stage.topology)
    await broker.open()
    return Member(broker, name)


async def leave(*members: Member) -> None:
    for member in members:
        await member.partitions.close(0.5)
        await asyncio.wait_for(member.task, PATIENCE)
        await member.broker.close()


def shared(*members: Member) -> bool:
    """Whether each partition has one owner, and all have about as many."""
    owners = Counter(partition for member in members for partition in member.mine)
    sizes = [len(member.mine) for member in members]
    return owners == Counter(range(PARTITIONS)) and max(sizes) - min(sizes) <= 1


async def test_partitions_are_shared_evenly_as_processes_come_go_and_die(stage: Stage):
    first = await join(stage, "a")
    await eventually(lambda: shared(first))

    second, third = await join(stage, "b"), await join(stage, "c")
    await eventually(lambda: shared(first, second, third))
    # Who let go in good order says so to the next.
    assert all(term.clean for term in second.terms + third.terms)

    before = len(first.terms)
    await second.die()
    await eventually(lambda: shared(first, third))
    assert not any(term.clean for term in first.terms[before:])

    await leave(third)
    await eventually(lambda: shared(first))
    await leave(first)


async def test_of_those_who_reach_for_one_partition_at_once_one_gets_it(stage: Stage):
    members = [await join(stage, name) for name in "abcd"]

    await eventually(lambda: shared(*members))

    # Nobody was taken a partition while he lived: each of his terms ended because he let it go.
    assert all(term.closed.is_set() or term.partition in member.mine for member in members for term in member.terms)
    await leave(*members)


async def test_who_hears_nothing_believes_nobody_gone(stage: Stage):
    partitions = Partitions(
        Bucket(stage.broker.connection, LEASES),
        PARTITIONS,
        "me",
        lambda *_: Term(Member(stage.broker, ""), 0, True),
        RoleSettings(ttl=-2.0),
    )
    partitions._heard(Entry("hook.member.other", b"1", 1), True)

    # With this ttl the other was heard too long ago at once; but so were we ourselves.
    assert partitions._alive() == ["me", "other"]
    for revision in range(MISSED):
        partitions._heard(Entry("hook.member.me", b"1", 2 + revision), True)
    assert partitions._alive() == ["me"]


async def test_a_partition_that_is_taken_while_it_is_let_go_ends_nothing_else(stage: Stage):
    first = await join(stage, "first")
    await eventually(lambda: first.mine == set(range(PARTITIONS)))
    # Heard at once: another process is there, and has taken four of the eight that it is now due.
    for partition in range(12, 16):
        first.partitions._heard(Entry(f"hook.owner.{partition}", b'{"holder":"other"}', 10**9), True)
    first.partitions._heard(Entry("hook.member.other", b"1", 10**9), True)

    await eventually(lambda: first.task.done() or first.mine == set(range(8)))

    assert not first.task.done()
    await leave(first)
