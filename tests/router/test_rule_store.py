"""Rules in their bucket: versions, compare-and-set, and a mirror that follows."""

from __future__ import annotations

import asyncio

import pytest

from router.broker import Broker
from router.errors import Conflict
from router.rule_store import MAX_VERSIONS, RuleExists, RuleStore, StoredRule
from tests.waiting import eventually


def rule(name: str, text: str = "a") -> StoredRule:
    return StoredRule(name=name, text=text, version=1, created=1, updated=1, by="alice")


def test_each_change_is_a_version_and_the_last_ones_are_kept() -> None:
    changed = rule("hot").changed(2, "bob", enabled=False)
    assert changed.changed(3, "carol", text="a", enabled=False) is changed
    assert [(each.version, each.enabled, each.at, each.by) for each in changed.versions] == [
        (2, False, 2, "bob"),
        (1, True, 1, "alice"),
    ]
    for turn in range(MAX_VERSIONS + 5):
        changed = changed.changed(turn, "bob", text=str(turn))
    assert changed.version == 2 + MAX_VERSIONS + 5
    assert len(changed.earlier) == MAX_VERSIONS and changed.earlier[0].version == changed.version - 1


async def test_a_rule_is_made_changed_and_deleted_and_who_comes_second_is_told(broker: Broker, entity: str) -> None:
    one, other = RuleStore(broker), RuleStore(broker)
    await one.create(rule(entity))
    with pytest.raises(RuleExists):
        await other.create(rule(entity))
    found = await other.find(entity)
    assert found == await one.find(entity) == rule(entity)

    await one.update(found.changed(2, "alice", text="b"))
    with pytest.raises(Conflict):
        await other.update(found.changed(2, "bob", text="c"))
    again = await other.find(entity)
    assert again is not None and again.text == "b"
    await other.delete(entity)
    assert await one.find(entity) is None
    assert await one.find("../" + entity) is None
    await one.create(rule(entity))


async def test_changes_of_others_are_followed(broker: Broker, entity: str) -> None:
    heard: list[None] = []
    store, writer = RuleStore(broker, changed=lambda: heard.append(None)), RuleStore(broker)
    following = asyncio.ensure_future(store.run())
    try:
        await store.all()
        heard.clear()
        await writer.create(rule(entity))
        await eventually(lambda: entity in store.known)
        assert entity in [each.name for each in await store.all()]
        await writer.delete(entity)
        await eventually(lambda: entity not in store.known)
        assert len(heard) == 2
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
