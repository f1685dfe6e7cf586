"""Tests of router/cluster/partitions.py and ownership.py: each partition has one owner, and all own about as many."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.broker import Broker
from router.cluster.departures import Departures
from router.cluster.ownership import MISSED, Ownership, owner_key, owner_value, unowned
from router.cluster.partitions import Partitions
from router.cluster.role import RoleSettings
from router.errors import Timeout
from router.nats.bucket import Bucket, Entry
from router.topology import LEASES
from tests.waiting import eventually, in_time, unhurried

# Short enough to wait for a death, and longer than a busy machine keeps a living member from its refresh.
SETTINGS = RoleSettings(ttl=6.0, poll=0.1)
PARTITIONS = 16


class Counted:
    """What metrics would show of the partitions of one process."""

    losses = owned = unowned = 0

    def lost(self, count: int) -> None:
        self.losses += count

    def stand(self, owned: int, unowned: int) -> None:
        self.owned, self.unowned = owned, unowned


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

    def __init__(
        self, broker: Broker, name: str, kind: type[Bucket] = Bucket, departures: Departures | None = None
    ) -> None:
        self.mine: set[int] = set()
        self.terms: list[Term] = []
        self.broker = broker
        self.counted = Counted()
        self.partitions = Partitions(
            kind(broker.connection, LEASES),
            PARTITIONS,
            name,
            lambda partition, epoch, clean: Term(self, partition, clean),
            SETTINGS,
            self.counted,
            departures,
        )
        self.task = asyncio.ensure_future(self.partitions.run())

    async def die(self) -> None:
        """Goes without a word."""
        await self.broker.connection._wire.close()
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


async def join(url: str, name: str, kind: type[Bucket] = Bucket, departures: Departures | None = None) -> Member:
    broker = Broker(unhurried(url), name)
    await broker.open()
    return Member(broker, name, kind, departures)


@pytest.fixture
async def bucket(own_nats: str) -> AsyncIterator[Bucket]:
    """The bucket of the owners, as one sees it who owns nothing."""
    async with Broker(unhurried(own_nats), "test") as broker:
        yield Bucket(broker.connection, LEASES)


async def leave(*members: Member) -> None:
    for member in members:
        await member.partitions.close(0.5)
        await in_time(member.task)
        await member.broker.close()


def shared(*members: Member) -> bool:
    """Whether each partition has one owner, and all have about as many."""
    owners = Counter(partition for member in members for partition in member.mine)
    sizes = [len(member.mine) for member in members]
    return owners == Counter(range(PARTITIONS)) and max(sizes) - min(sizes) <= 1


async def test_partitions_are_shared_evenly_as_processes_come_go_and_die(own_nats: str):
    first = await join(own_nats, "a")
    await eventually(lambda: shared(first))

    second, third = await join(own_nats, "b"), await join(own_nats, "c")
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


async def test_those_who_have_their_shares_and_look_seldom_hear_at_once_who_comes_dies_and_leaves(
    own_nats: str, monkeypatch: Any
):
    monkeypatch.setattr("router.cluster.partitions.SETTLED_SECONDS", 3600.0)
    first = await join(own_nats, "a")
    await eventually(lambda: first.partitions._is_settled)

    second, third = await join(own_nats, "b"), await join(own_nats, "c")
    everyone = (first, second, third)
    await eventually(lambda: shared(*everyone) and all(each.partitions._is_settled for each in everyone))
    await second.die()
    await eventually(lambda: shared(first, third) and first.partitions._is_settled and third.partitions._is_settled)
    await leave(third)
    await eventually(lambda: shared(first))
    await leave(first)


async def test_who_waits_for_a_role_is_told_that_a_member_died(own_nats: str):
    departures, told = Departures(), asyncio.Event()
    departures.on_departure(told.set)
    first = await join(own_nats, "a", departures=departures)
    second = await join(own_nats, "b")
    await eventually(lambda: shared(first, second))
    told.clear()

    await second.die()

    await in_time(told.wait())
    await leave(first)


async def test_of_those_who_reach_for_one_partition_at_once_one_gets_it(own_nats: str):
    members = [await join(own_nats, name) for name in "abcd"]

    await eventually(lambda: shared(*members))

    # Nobody was taken a partition while he lived: each of his terms ended because he let it go.
    assert all(term.closed.is_set() or term.partition in member.mine for member in members for term in member.terms)
    await leave(*members)


async def test_who_hears_nothing_believes_nobody_gone() -> None:
    # With this ttl the other was heard too long ago at once; but so were we ourselves.
    ownership = Ownership(PARTITIONS, "me", ttl=-2.0)
    ownership.heard(Entry("hook.member.other", b"1", 1))

    assert ownership.alive() == ["me", "other"]
    for revision in range(MISSED):
        ownership.heard(Entry("hook.member.me", b"1", 2 + revision))
    assert ownership.alive() == ["me"]


@given(st.permutations([(n, holder) for n, holder in enumerate(["a", "", "b", "", "c", "a"], 1)]), st.data())
def test_the_owner_of_a_partition_is_the_newest_in_whatever_order_records_are_learnt_of(
    records: list[tuple[int, str]], data: st.DataObject
) -> None:
    ownership = Ownership(PARTITIONS, "a", ttl=6.0)

    for revision, holder in records:
        if data.draw(st.booleans()):
            ownership.heard(Entry(owner_key(3), owner_value(holder), revision))
        else:
            newest = ownership.revision(3)
            assert ownership.wrote(3, holder, revision) == (newest <= revision)

    assert ownership.owner(3) == "a" and ownership.revision(3) == 6


class LateAnswers(Bucket):
    """A bucket whose answer to a release arrives after the news that another process has claimed the partition."""

    newest: dict[str, int]

    async def watch(
        self,
        heard: Callable[[Entry, bool], None],
        pattern: str = ">",
        ready: Callable[[], None] | None = None,
        renewed: Callable[[], None] | None = None,
    ) -> None:
        self.newest = {}

        def noting(entry: Entry, is_ready: bool) -> None:
            heard(entry, is_ready)
            self.newest[entry.key] = entry.revision

        await super().watch(noting, pattern, ready, renewed)

    async def update(self, key: str, value: bytes, revision: int, ttl: float | None = None) -> int:
        written = await super().update(key, value, revision, ttl)
        if value == owner_value(""):
            # Without the limit that a release has: what is meant is an answer that is late by microseconds.
            await asyncio.shield(eventually(lambda: self.newest.get(key, 0) > written))
        return written


@pytest.mark.slow
async def test_a_release_that_is_answered_after_the_next_claim_does_not_hide_that_claim(own_nats: str):
    survivor = await join(own_nats, "a", LateAnswers)
    await eventually(lambda: shared(survivor))
    joiner = await join(own_nats, "b")
    await eventually(lambda: shared(survivor, joiner))

    await joiner.die()

    await eventually(lambda: shared(survivor))
    assert survivor.partitions.unowned == []
    await leave(survivor)


class MissingOwners(Bucket):
    """A bucket whose watch does not report what is written of owners."""

    async def watch(
        self,
        heard: Callable[[Entry, bool], None],
        pattern: str = ">",
        ready: Callable[[], None] | None = None,
        renewed: Callable[[], None] | None = None,
    ) -> None:
        def some(entry: Entry, is_ready: bool) -> None:
            if not entry.key.startswith("hook.owner."):
                heard(entry, is_ready)

        await super().watch(some, pattern, ready, renewed)


async def test_a_claim_that_conflicts_is_followed_by_a_read_of_who_owns_the_partition(own_nats: str, bucket: Bucket):
    for partition in range(PARTITIONS):
        await bucket.put(owner_key(partition), owner_value("gone"))

    member = await join(own_nats, "a", MissingOwners)

    await eventually(lambda: shared(member))
    assert await unowned(bucket, PARTITIONS) == ([], 1)
    await leave(member)


async def test_owners_are_read_again_so_that_missed_news_does_not_last(own_nats: str, bucket: Bucket):
    member = await join(own_nats, "a", MissingOwners)
    await eventually(lambda: shared(member))
    before = len(member.terms)
    await bucket.put(owner_key(5), owner_value("gone"))

    await member.partitions.reconcile()

    # Its term was superseded, so the work of it must end, and another one begins.
    await eventually(lambda: len(member.terms) > before and shared(member))
    assert await unowned(bucket, PARTITIONS) == ([], 1)
    await leave(member)


async def test_a_partition_whose_record_was_purged_is_claimed_again(own_nats: str, bucket: Bucket):
    member = await join(own_nats, "a")
    await eventually(lambda: shared(member))

    await bucket.purge(owner_key(7))
    await member.partitions.reconcile()

    async def recorded() -> bool:
        record = await bucket.latest(owner_key(7))
        return record is not None and record.value == owner_value("a")

    await eventually(recorded)
    await eventually(lambda: shared(member))
    await leave(member)


class RefusingReleases(Bucket):
    """A bucket whose first releases are not answered."""

    refused: int = 0

    async def update(self, key: str, value: bytes, revision: int, ttl: float | None = None) -> int:
        if value == owner_value("") and self.refused < 3:
            self.refused += 1
            raise Timeout("no answer")
        return await super().update(key, value, revision, ttl)


async def test_a_release_that_was_not_answered_is_made_again(own_nats: str):
    first = await join(own_nats, "a", RefusingReleases)
    await eventually(lambda: shared(first))

    second = await join(own_nats, "b")

    await eventually(lambda: shared(first, second))
    await leave(first, second)


async def test_a_term_that_does_not_end_does_not_keep_its_partition(own_nats: str, monkeypatch: Any):
    monkeypatch.setattr("router.cluster.partitions.LINGER_SECONDS", 0.1)
    first = await join(own_nats, "a")
    await eventually(lambda: shared(first))
    for term in first.terms:
        # It waits for an answer that does not come.
        term.closed = asyncio.Event()
        term.close = lambda grace: asyncio.sleep(0)  # type: ignore[method-assign]

    second = await join(own_nats, "b")

    await eventually(lambda: shared(first, second))
    # What did not end in good order is not said to have.
    assert not any(term.clean for term in second.terms)
    await leave(second)
    first.task.cancel()
    await asyncio.gather(first.task, return_exceptions=True)
    await first.broker.close()


async def test_partitions_without_an_owner_are_counted_and_listed(own_nats: str, bucket: Bucket):
    assert await unowned(bucket, PARTITIONS) == (list(range(PARTITIONS)), 0)
    member = await join(own_nats, "a")
    await eventually(lambda: shared(member))
    assert await unowned(bucket, PARTITIONS) == ([], 1)
    assert member.counted.unowned == 0

    # Nobody claims what a living member is believed to own.
    await bucket.put("hook.member.idle", b"1", 3600)
    await eventually(lambda: member.partitions.ownership.alive() == ["a", "idle"])
    await eventually(lambda: len(member.mine) == PARTITIONS // 2)

    await eventually(lambda: len(member.partitions.unowned) == PARTITIONS // 2)
    await eventually(lambda: member.counted.unowned == PARTITIONS // 2)
    free, living = await unowned(bucket, PARTITIONS)
    assert len(free) == PARTITIONS // 2 and living == 2
    await leave(member)


def test_a_value_that_cannot_be_decoded_names_nobody() -> None:
    ownership = Ownership(PARTITIONS, "a", ttl=6.0)

    ownership.heard(Entry(owner_key(0), b"no JSON", 4))

    assert ownership.owner(0) == "" and ownership.revision(0) == 4
    assert msgspec.json.decode(owner_value("a")) == {"holder": "a"}


async def test_a_partition_that_is_taken_while_it_is_let_go_ends_nothing_else(own_nats: str):
    first = await join(own_nats, "first")
    await eventually(lambda: first.mine == set(range(PARTITIONS)))
    # Heard at once: another process is there, and has taken four of the eight that it is now due.
    for partition in range(12, 16):
        first.partitions._heard(Entry(f"hook.owner.{partition}", b'{"holder":"other"}', 10**9), True)
    first.partitions._heard(Entry("hook.member.other", b"1", 10**9), True)

    await eventually(lambda: first.task.done() or first.mine == set(range(8)))

    assert not first.task.done()
    await leave(first)
