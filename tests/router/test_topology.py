"""Tests of router/topology.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from router import topology
from router.broker import Broker
from router.errors import Unsuitable
from router.nats.bucket import Bucket
from router.nats.embedded import EmbeddedServer, EmbeddedSettings, free_port
from router.nats.settings import BrokerSettings
from router.topology import (
    ALERTS,
    ENDPOINTS,
    JOBS,
    LEASES,
    RULES,
    RUNS,
    SESSIONS,
    TopologySettings,
    apply,
    diff,
    streams,
)
from tests.router.buckets import stored_headers

BUCKETS = (SESSIONS, RULES, ALERTS, LEASES, JOBS, ENDPOINTS, RUNS)


@pytest.mark.parametrize(
    ("subject", "stream"),
    [
        ("ev.orders.1.placed", "EVENTS"),
        ("hook.q.3.sess", "HOOKS"),
        ("$KV.LEASES.hook.member.a", "KV_LEASES"),
        ("live.ev.orders.1.placed", ""),
        ("cmd.run.a.stop", ""),
    ],
)
def test_the_stream_of_a_subject_is_known(subject: str, stream: str) -> None:
    assert topology.stream_of(subject) == stream


def test_every_stream_s_subjects_lead_back_to_it() -> None:
    for stream in streams(TopologySettings()):
        for subject in stream.config["subjects"]:
            assert topology.stream_of(subject) == stream.name


def test_a_limit_of_0_means_none() -> None:
    settings = TopologySettings(events_max_bytes=0, hooks_per_session=0, buckets_max_bytes=0)
    declared = {stream.name: stream.config for stream in streams(settings)}

    assert declared["EVENTS"]["max_bytes"] == declared["KV_LEASES"]["max_bytes"] == -1
    assert declared["HOOKS"]["max_msgs_per_subject"] == -1
    assert declared["HOOKS"]["discard_new_per_subject"] is False


def test_only_the_pictures_are_expendable_and_only_in_a_cluster() -> None:
    single, cluster = TopologySettings(), TopologySettings(replicas=3)

    assert [each.name for each in streams(single) if topology.is_expendable(each, single)] == []
    assert [each.name for each in streams(cluster) if topology.is_expendable(each, cluster)] == ["FRAMES"]


async def test_streams_are_made_as_declared_and_a_difference_is_mended(tmp_path: Path) -> None:
    server = EmbeddedServer(EmbeddedSettings(tmp_path, free_port()))
    await server.start()
    try:
        async with Broker(BrokerSettings(server.url), "t") as broker:
            assert await topology.diff(broker.connection, TopologySettings()) == []
            wanted = TopologySettings(events_max_bytes=5_000_000)
            found = await topology.diff(broker.connection, wanted)
            assert [(d.stream, d.field, d.want) for d in found] == [("EVENTS", "max_bytes", 5_000_000)]
            await topology.apply(broker.connection, wanted)
            assert await topology.diff(broker.connection, wanted) == []
    finally:
        await server.stop()


async def test_storage_that_is_too_small_is_told_with_the_setting_that_helps(tmp_path: Path) -> None:
    server = EmbeddedServer(EmbeddedSettings(tmp_path, free_port(), max_file="1MB"))
    await server.start()
    try:
        with pytest.raises(Unsuitable, match=r"lower CALLBOARD_[A-Z]+_MAX_BYTES, or give JetStream more storage"):
            async with Broker(BrokerSettings(server.url), "t"):
                pass
    finally:
        await server.stop()


async def test_buckets_of_an_earlier_version_get_the_new_configuration(own_nats: str) -> None:
    async with Broker(BrokerSettings(own_nats), "test") as broker:
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
