"""Tests of router/store_probe.py against a real nats-server."""

from __future__ import annotations

from router import topology
from router.broker import Broker
from router.nats.settings import BrokerSettings
from router.store_probe import SILENT_PUBLISHES, StoreProbe
from router.store_trouble import STREAM_MISSING, WRITE_FAILED
from router.topology import DeclaredStream, TopologySettings


def declared(name: str) -> DeclaredStream:
    return next(stream for stream in topology.streams(TopologySettings()) if stream.name == name)


async def test_a_stream_that_takes_writes_has_no_trouble(broker: Broker) -> None:
    probe = StoreProbe(broker)

    found = [await probe.examine(stream, active=True) for stream in topology.streams(TopologySettings())]

    assert found == [None] * len(topology.streams(TopologySettings()))


async def test_a_missing_stream_is_created_again_where_the_probe_is_active(own_nats: str) -> None:
    async with Broker(BrokerSettings(own_nats), "test") as broker:
        probe, events = StoreProbe(broker), declared(topology.EVENTS)
        renewed: list[str] = []
        probe.on_renewed(renewed.append)
        assert await probe.examine(events, active=False) is None
        await broker.connection.api("STREAM.DELETE.EVENTS")

        passive = await probe.examine(events, active=False)
        active = await probe.examine(events, active=True)
        after = await probe.examine(events, active=True)

    assert passive is not None and (passive.trouble.code, passive.certain) == (STREAM_MISSING, True)
    assert active is None and after is None
    assert probe.recreated == {"EVENTS": 1} and renewed == ["EVENTS"]


async def test_without_the_right_to_create_streams_a_missing_one_stays_a_trouble(own_nats: str) -> None:
    async with Broker(BrokerSettings(own_nats), "operator"):
        pass
    settings = TopologySettings(apply_streams=False)
    async with Broker(BrokerSettings(own_nats), "test", settings) as broker:
        await broker.connection.api("STREAM.DELETE.EVENTS")

        found = await StoreProbe(broker).examine(declared(topology.EVENTS), active=True)

    assert found is not None and found.trouble.code == STREAM_MISSING
    assert "callboard streams apply" in found.trouble.text


async def test_publishes_left_unanswered_while_a_stream_stores_nothing_are_a_failure(own_nats: str) -> None:
    # Only where this process may not purge: a purge that succeeds shows that the stream's store works.
    settings = TopologySettings(apply_streams=False)
    async with Broker(BrokerSettings(own_nats), "operator"):
        pass
    async with Broker(BrokerSettings(own_nats), "test", settings) as broker:
        probe, events = StoreProbe(broker), declared(topology.EVENTS)
        broker.unanswered["EVENTS"] = SILENT_PUBLISHES - 1
        assert await probe.examine(events, active=True) is None
        assert probe.is_stuck("EVENTS")
        broker.unanswered["EVENTS"] = SILENT_PUBLISHES

        found = await probe.examine(events, active=True)

    assert found is not None and (found.trouble.code, found.certain) == (WRITE_FAILED, True)
