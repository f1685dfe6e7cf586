"""A server's streams are made as declared, also where an earlier version made them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from router import provisioning
from router.broker import Broker
from router.errors import Unsuitable
from router.nats.bucket import Bucket
from router.nats.embedded import EmbeddedServer, EmbeddedSettings, free_port
from router.provisioning import apply, diff
from router.store_health import StoreHealth
from router.topology import ALERTS, RULES, SESSIONS, TopologySettings, streams
from tests.router.buckets import stored_headers
from tests.waiting import unhurried


async def test_streams_are_made_as_declared_and_a_difference_is_mended(tmp_path: Path) -> None:
    server = EmbeddedServer(EmbeddedSettings(tmp_path, free_port()))
    await server.start()
    try:
        async with Broker(unhurried(server.url), "t") as broker:
            assert await provisioning.diff(broker.connection, TopologySettings()) == []
            wanted = TopologySettings(events_max_bytes=5_000_000)
            found = await provisioning.diff(broker.connection, wanted)
            assert [(d.stream, d.field, d.want) for d in found] == [("EVENTS", "max_bytes", 5_000_000)]
            await provisioning.apply(broker.connection, wanted)
            assert await provisioning.diff(broker.connection, wanted) == []
    finally:
        await server.stop()


async def test_storage_that_is_too_small_is_told_with_the_setting_that_helps(tmp_path: Path) -> None:
    server = EmbeddedServer(EmbeddedSettings(tmp_path, free_port(), max_file="1MB"))
    await server.start()
    try:
        with pytest.raises(Unsuitable, match=r"lower CALLBOARD_[A-Z]+_MAX_BYTES, or give JetStream more storage"):
            async with Broker(unhurried(server.url), "t"):
                pass
    finally:
        await server.stop()


async def test_a_server_without_storage_for_recordings_has_all_other_streams(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # All but RECORDINGS take 3.2 GiB.
    server = EmbeddedServer(EmbeddedSettings(tmp_path, free_port(), max_file="4GB"))
    await server.start()
    try:
        async with Broker(unhurried(server.url), "t") as broker:
            found = await diff(broker.connection, TopologySettings())
            assert [(each.stream, each.field) for each in found] == [("RECORDINGS", "*")]
            assert await provisioning.missing(broker.connection, TopologySettings()) == []
            (told,) = [each for each in caplog.records if "cameras cannot record" in each.message]
            assert "CALLBOARD_RECORDINGS_MAX_BYTES" in told.why  # type: ignore[attr-defined]
            health = StoreHealth(broker)
            await health.look()
            assert health.troubles == {}
        fewer = TopologySettings(recordings_max_bytes=100_000_000)
        async with Broker(unhurried(server.url), "t", fewer) as broker:
            assert await diff(broker.connection, fewer) == []
    finally:
        await server.stop()


async def test_buckets_of_an_earlier_version_get_the_new_configuration(own_nats: str) -> None:
    async with Broker(unhurried(own_nats), "test") as broker:
        for name in (SESSIONS, RULES, ALERTS):
            stream = next(each for each in streams(TopologySettings()) if each.name == f"KV_{name}")
            config: dict[str, Any] = {**stream.desired, "allow_msg_ttl": False}
            await broker.connection.api(f"STREAM.DELETE.{stream.name}")
            await broker.connection.api(f"STREAM.CREATE.{stream.name}", config)
        bucket = Bucket(broker.connection, SESSIONS)
        await bucket.put("before", b"1")
        # A process that may not change streams can still delete.
        await bucket.delete("before")
        assert await bucket.get("before") is None
        await bucket.put("expiring", b"1", 60)

        await apply(broker.connection, TopologySettings())

        assert not await diff(broker.connection, TopologySettings())
        await bucket.put("after", b"1")
        await bucket.delete("after")
        assert "Nats-TTL" in await stored_headers(broker, bucket, "after")
