"""Tests of router/nats/bucket.py: delete markers run out, and a watcher that missed one finds out by comparison."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from router.broker import Broker
from router.errors import Refused
from router.nats import bucket as bucket_module
from router.nats.bucket import MARKER_SECONDS, Bucket, Entry
from router.nats.error_codes import ErrorCode
from router.nats.settings import BrokerSettings
from router.topology import ALERTS, ENDPOINTS, JOBS, LEASES, RULES, RUNS, SESSIONS
from tests.proxy import Proxy
from tests.router.buckets import resize, stored_headers
from tests.waiting import eventually, in_time, unhurried

BUCKETS = (SESSIONS, RULES, ALERTS, LEASES, JOBS, ENDPOINTS, RUNS)


class Watcher:
    """What one watcher believes the bucket to hold."""

    def __init__(self, bucket: Bucket, pattern: str) -> None:
        self.bucket = bucket
        self.pattern = pattern
        self.values: dict[str, bytes] = {}
        self.ready = asyncio.Event()

    def heard(self, entry: Entry, _ready: bool) -> None:
        if entry.value is None:
            self.values.pop(entry.key, None)
        else:
            self.values[entry.key] = entry.value

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Watcher]:
        task = asyncio.ensure_future(self.bucket.watch(self.heard, self.pattern, self.ready.set))
        try:
            await in_time(self.ready.wait(), 20)
            yield self
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("name", BUCKETS)
async def test_the_marker_of_a_deleted_key_runs_out_in_every_bucket(broker: Broker, name: str, entity: str) -> None:
    bucket = Bucket(broker.connection, name)
    await bucket.put(f"{entity}.kept", b"1")
    await bucket.put(f"{entity}.gone", b"1")

    await bucket.delete(f"{entity}.gone", 1)

    assert await bucket.get(f"{entity}.gone") is None
    info = await broker.connection.api(f"STREAM.MSG.GET.{bucket.stream}", {"last_by_subj": f"$KV.{name}.{entity}.gone"})
    assert info["message"]["seq"]
    if name == SESSIONS:
        await eventually(lambda: _names(bucket, f"{entity}.>", {f"{entity}.kept"}))


async def _names(bucket: Bucket, pattern: str, wanted: set[str]) -> bool:
    return await bucket.names(pattern) == wanted


async def test_a_delete_without_a_ttl_leaves_a_marker_that_has_one(broker: Broker, entity: str) -> None:
    bucket = Bucket(broker.connection, SESSIONS)
    await bucket.put(entity, b"1")

    await bucket.delete(entity)

    assert (await stored_headers(broker, bucket, entity))["Nats-TTL"] == f"{MARKER_SECONDS:.0f}s"


async def test_a_watcher_that_was_cut_off_until_the_marker_ran_out_drops_the_key(
    broker: Broker, nats_server: str, entity: str
) -> None:
    here = Bucket(broker.connection, SESSIONS)
    for key in ("gone", "kept", "changed"):
        await here.put(f"{entity}.{key}", b"old")
    port = int(nats_server.rpartition(":")[2])
    async with (
        Proxy(port) as proxy,
        Broker(BrokerSettings(f"nats://127.0.0.1:{proxy.port}"), "watcher") as far,
        Watcher(Bucket(far.connection, SESSIONS), f"{entity}.*").running() as watcher,
    ):
        assert set(watcher.values) == {f"{entity}.{key}" for key in ("gone", "kept", "changed")}
        proxy.refuse()
        await here.delete(f"{entity}.gone", 1)
        await here.put(f"{entity}.changed", b"new")
        await eventually(lambda: _names(here, f"{entity}.*", {f"{entity}.kept", f"{entity}.changed"}))

        proxy.accept()

        await eventually(lambda: watcher.values == {f"{entity}.kept": b"old", f"{entity}.changed": b"new"})


async def test_a_watcher_drops_the_last_key_that_vanished_while_it_was_cut_off(
    broker: Broker, nats_server: str, entity: str
) -> None:
    here = Bucket(broker.connection, SESSIONS)
    await here.put(f"{entity}.only", b"1")
    port = int(nats_server.rpartition(":")[2])
    async with (
        Proxy(port) as proxy,
        Broker(BrokerSettings(f"nats://127.0.0.1:{proxy.port}"), "watcher") as far,
        Watcher(Bucket(far.connection, SESSIONS), f"{entity}.*").running() as watcher,
    ):
        proxy.refuse()
        await here.purge(f"{entity}.only")

        proxy.accept()

        await eventually(lambda: watcher.values == {})


async def test_a_connected_watcher_drops_a_key_that_was_purged_without_a_marker(
    broker: Broker, entity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket_module, "COMPARE_SECONDS", 0.2)
    bucket = Bucket(broker.connection, SESSIONS)
    await bucket.put(f"{entity}.gone", b"1")
    await bucket.put(f"{entity}.kept", b"1")
    async with Watcher(bucket, f"{entity}.*").running() as watcher:
        assert len(watcher.values) == 2

        await bucket.purge(f"{entity}.gone")

        await eventually(lambda: set(watcher.values) == {f"{entity}.kept"})


async def test_a_purge_leaves_what_is_newer_than_the_revision_it_names(broker: Broker, entity: str) -> None:
    bucket = Bucket(broker.connection, SESSIONS)
    old = await bucket.put(entity, b"old")
    await bucket.put(entity, b"new")

    await bucket.purge(entity, before=old + 1)

    found = await bucket.get(entity)
    assert found is not None and found.value == b"new"


async def test_a_key_of_a_full_bucket_can_be_deleted(own_nats: str) -> None:
    async with Broker(unhurried(own_nats), "test") as broker:
        bucket = Bucket(broker.connection, SESSIONS)
        await resize(broker, SESSIONS, 5000)
        with pytest.raises(Refused) as refusal:
            for number in range(1000):
                await bucket.create(f"k{number}", b"x" * (600 if number < 8 else 10))
        assert refusal.value.err_code == ErrorCode.STREAM_STORE_FAILED

        await bucket.delete("k0", 30)

        assert await bucket.get("k0") is None
        assert "KV-Operation" in await stored_headers(broker, bucket, "k0")


async def test_a_listing_leaves_no_consumer_behind(own_nats: str) -> None:
    async with Broker(unhurried(own_nats), "test") as broker:
        bucket = Bucket(broker.connection, LEASES)
        await bucket.put("a", b"1")

        assert await bucket.keys() == ["a"]
        assert await bucket.entries("nothing.*") == []

        assert not (await broker.connection.api("CONSUMER.NAMES.KV_LEASES"))["consumers"]


async def test_the_leader_is_asked_for_the_newest_value_or_marker_of_a_key(broker: Broker, entity: str):
    bucket = Bucket(broker.connection, "ALERTS")
    assert await bucket.latest(f"{entity}.none") is None
    revision = await bucket.put(f"{entity}.key", b"\x00value")

    found = await bucket.latest(f"{entity}.key")

    assert found is not None and (found.value, found.revision) == (b"\x00value", revision)
    marker = await bucket.delete(f"{entity}.key")
    assert marker > revision
    gone = await bucket.latest(f"{entity}.key")
    assert gone is not None and (gone.value, gone.revision) == (None, marker)
