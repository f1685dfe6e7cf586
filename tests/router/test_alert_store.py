"""Alerts in their bucket: changed by compare-and-set, told exactly once, whoever dies in between."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import msgspec
import pytest

from router import alerts
from router.alert_store import AlertStore
from router.alerts import AlertRecord, act, entry_key, fire, resolve
from router.broker import Broker
from router.clock import wall
from router.nats.bucket import Bucket
from router.topology import ALERTS, TopologySettings
from tests.router.firings import found
from tests.waiting import eventually, unhurried

S = 1_000_000_000


@contextlib.asynccontextmanager
async def following(store: AlertStore) -> AsyncIterator[AlertStore]:
    running = asyncio.ensure_future(store.run())
    try:
        await store.all()
        yield store
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def fires(rule: str, key: str = "k", **more: object) -> Callable[[AlertRecord | None], AlertRecord]:
    firing = found(rule, key, **more)
    return lambda record: fire(record, firing, wall.now_ns())


async def told(broker: Broker, rule: str, pattern: str = "alert.{}.*") -> list[str]:
    return [record.event.type for record in (await broker.read(pattern.format(rule), 0)).records if record.event]


async def written(broker: Broker, rule: str, record: AlertRecord) -> None:
    """Stores a record as one that dies before it has published leaves it."""
    await Bucket(broker.connection, ALERTS).put(entry_key(rule, "k"), msgspec.json.encode(record))


async def test_a_change_is_stored_and_told_and_its_outbox_is_empty_then(broker: Broker, entity: str) -> None:
    store = AlertStore(broker)
    record = await store.change(entity, "k", fires(entity))
    assert record is not None and record.outbox == () and record.state == "firing"
    record = await store.change(entity, "k", lambda known: act(known, "acknowledge", "alice", wall.now_ns()))  # type: ignore[arg-type]

    found = await AlertStore(broker).find(record.id if record else "")
    assert found == record
    assert await told(broker, entity) == ["firing", "acknowledged"]
    assert await store.find("hot." + "0" * 32 + "." + "0" * 12) is None


async def test_two_processes_that_change_one_alert_at_once_lose_no_step(broker: Broker, entity: str) -> None:
    stores = [AlertStore(broker) for _ in range(4)]
    await stores[0].change(entity, "k", fires(entity))

    def counted(known: AlertRecord | None) -> AlertRecord:
        assert known is not None
        return msgspec.structs.replace(known, count=known.count + 1)

    await asyncio.gather(*(store.change(entity, "k", counted) for store in stores for _ in range(5)))

    [record] = [each for each in await _all(broker) if each.rule == entity]
    assert record.count == 21
    assert await told(broker, entity) == ["firing"]


async def _all(broker: Broker) -> list[AlertRecord]:
    async with following(AlertStore(broker)) as store:
        return await store.all()


async def test_the_event_of_a_writer_that_died_is_published_by_another_once(broker: Broker, entity: str) -> None:
    record = msgspec.structs.replace(fires(entity)(None))
    await written(broker, entity, record)
    async with following(AlertStore(broker)) as store:
        assert await store.publish_left() == 0, "the writer may still publish it"
        assert await store.publish_left(0.0) == 1
        assert await store.publish_left(0.0) == 0

        # Its writer was only slow: the same event under the same name is a repeat.
        await written(broker, entity, record)
        await eventually(lambda: _publish_left(store))

    assert await told(broker, entity) == ["firing"]


async def _publish_left(store: AlertStore) -> bool:
    return await store.publish_left(0.0) == 1


async def test_where_a_repeat_would_not_be_dropped_any_more_the_stream_is_asked(nats_server: str, entity: str) -> None:

    # A window of no length stands for one that is over.
    async with Broker(unhurried(nats_server), "test", TopologySettings(apply_streams=False, dedup_window=0)) as broker:
        users = (f"alice-{entity}", f"bob-{entity}")
        record = fires(entity, audience=users)(None)
        for event in alerts.events(record.outbox[0])[:1]:
            await broker.publish(event, dedup=f"another name of {entity}")
        await written(broker, entity, record)
        async with following(AlertStore(broker)) as store:
            assert await store.publish_left(0.0) == 1

        for user in users:
            assert await told(broker, entity, f"alert._{user}.{{}}.*") == ["firing"], user
        assert await told(broker, entity) == []


async def test_all_alerts_are_listed_as_soon_as_they_are_read_and_changes_are_heard(
    broker: Broker, entity: str
) -> None:
    writer = AlertStore(broker)
    await writer.change(entity, "a", fires(entity, "a"))
    heard: list[tuple[str, str]] = []

    def changed(record: AlertRecord | None, _entry: str) -> None:
        if record is not None and record.rule == entity:
            heard.append((record.key, record.state))

    async with following(AlertStore(broker, changed=changed)) as store:
        await writer.change(entity, "b", fires(entity, "b"))
        await writer.change(entity, "b", lambda known: resolve(known, wall.now_ns(), wall.now_ns(), "resolve_when"))
        await eventually(lambda: ("b", "resolved") in heard)
        assert {(each.key, each.state) for each in await store.all() if each.rule == entity} == {
            ("a", "firing"),
            ("b", "resolved"),
        }


async def test_a_resolved_alert_is_forgotten_in_time_and_one_that_fires_is_not(broker: Broker, entity: str) -> None:
    store = AlertStore(broker, keep=1.0)
    await store.change(entity, "a", fires(entity, "a"))
    await store.change(entity, "b", fires(entity, "b"))
    ended = await store.change(entity, "b", lambda known: resolve(known, wall.now_ns(), wall.now_ns(), "person"))
    assert ended is not None

    async def gone() -> bool:
        return await AlertStore(broker).find(ended.id) is None

    await eventually(gone, within=30)
    async with following(AlertStore(broker)) as other:
        assert {each.key for each in await other.all() if each.rule == entity} == {"a"}


async def test_what_a_transition_raises_reaches_its_caller_and_changes_nothing(broker: Broker, entity: str) -> None:
    store = AlertStore(broker)
    await store.change(entity, "k", fires(entity))
    await store.change(entity, "k", lambda known: resolve(known, wall.now_ns(), wall.now_ns(), "person"))

    with pytest.raises(alerts.AlertResolved):
        await store.change(entity, "k", lambda known: act(known, "dismiss", "bob", wall.now_ns()))  # type: ignore[arg-type]
    assert await told(broker, entity) == ["firing", "resolved"]
