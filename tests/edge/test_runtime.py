"""Tests that an edge starts all parts, says what it is not ready for, and closes its readers when it drains."""

from __future__ import annotations

import pytest

from edge.runtime import Edge
from edge.settings import EdgeSettings
from edge.webhooks.client.ssrf import GuardSettings
from router.broker import Broker
from router.errors import Unreachable
from tests.waiting import eventually


async def test_an_edge_is_ready_once_it_runs_and_not_any_more_when_it_drains(broker: Broker) -> None:
    edge = Edge(EdgeSettings(drain=0.0), broker, GuardSettings())
    assert not edge.ready["events"] and not edge.ready["sessions"]

    async with edge.running():
        await eventually(lambda: all(edge.ready.values()))
        assert edge.readiness["status"] == "ok"

        await edge.drain()

        assert {check for check, passes in edge.ready.items() if not passes} == {"not_draining"}
        assert edge.readiness["status"] == "unavailable"


async def test_an_edge_whose_store_does_not_get_ready_in_time_does_not_start(broker: Broker) -> None:
    edge = Edge(EdgeSettings(), broker, GuardSettings())

    with pytest.raises(BaseExceptionGroup) as failed:
        async with edge.running(timeout=0.0):
            raise AssertionError("it is not ready")

    assert failed.group_contains(Unreachable)


async def test_webhooks_to_the_edge_s_own_port_are_denied(broker: Broker) -> None:
    edge = Edge(EdgeSettings(port=8123), broker, GuardSettings(closed_ports=(22,)))

    assert edge.guard.closed_ports == (22, 8123)
