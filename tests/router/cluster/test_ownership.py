"""Tests of router/cluster/ownership.py."""

from __future__ import annotations

import pytest

from router.cluster.ownership import ABANDONED, MISSED, Ownership, member_key, owner_key, owner_value
from router.nats.bucket import Entry


def owner(partition: int, holder: str, revision: int) -> Entry:
    return Entry(owner_key(partition), owner_value(holder), revision)


def member(name: str, alive: bool = True) -> Entry:
    return Entry(member_key(name), b"1" if alive else None, 1)


@pytest.mark.parametrize(("others", "share"), [([], 16), (["b"], 8), (["b", "c"], 6), (["A", "b"], 5)])
async def test_members_own_about_as_many_partitions_each(others: list[str], share: int) -> None:
    ownership = Ownership(16, "a", ttl=4.0)
    for other in others:
        assert ownership.heard(member(other))

    assert ownership.share(ownership.alive()) == share


async def test_a_partition_is_free_where_its_owner_is_not_alive_or_let_it_go() -> None:
    ownership = Ownership(4, "a", ttl=4.0)
    ownership.heard(member("b"))
    for partition, holder in enumerate(("a", "b", "dead", ABANDONED)):
        ownership.heard(owner(partition, holder, 5 + partition))

    assert ownership.free(ownership.alive()) == [2, 3]
    ownership.heard(member("b", alive=False))
    assert ownership.free(ownership.alive()) == [1, 2, 3]


async def test_a_report_that_is_older_than_an_own_write_changes_nothing() -> None:
    ownership = Ownership(1, "a", ttl=4.0)
    assert ownership.wrote(0, "a", 7)

    ownership.heard(owner(0, "b", 6))

    assert (ownership.owner(0), ownership.revision(0)) == ("a", 7)
    assert not ownership.wrote(0, "a", 5)


async def test_a_read_of_the_leader_corrects_what_is_known_even_to_an_older_revision() -> None:
    ownership = Ownership(1, "a", ttl=4.0)
    ownership.wrote(0, "a", 7)

    assert ownership.read(0, owner(0, "b", 3), before=7)
    assert (ownership.owner(0), ownership.has_record(0)) == ("b", True)
    assert ownership.read(0, None, before=3)
    assert not ownership.has_record(0)


async def test_a_member_is_gone_once_it_was_silent_while_this_process_heard_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ownership = Ownership(2, "a", ttl=-10.0)
    ownership.heard(member("b"))

    for _ in range(MISSED - 1):
        assert not ownership.heard(member("a"))
    assert ownership.alive() == ["a", "b"]
    # That is news, once.
    assert ownership.heard(member("a"))
    assert not ownership.heard(member("a"))

    assert ownership.alive() == ["a"]


async def test_a_value_that_cannot_be_decoded_names_nobody() -> None:
    ownership = Ownership(1, "a", ttl=4.0)

    ownership.heard(Entry(owner_key(0), b"nonsense", 3))

    assert ownership.owner(0) == "" and ownership.has_record(0)
