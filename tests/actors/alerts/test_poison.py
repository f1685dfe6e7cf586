"""What the alerts actor finds in the stream when it starts may be anybody's: it must not crash it, now or at each start."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

from actors.alerts.actor import Alerts
from actors.system.probe import Probe
from router.broker import Broker
from router.codec import encode
from router.event import Event
from router.filter import NOTHING
from tests.actors.alerts.readings import HOT, made, reading, said, written
from tests.actors.system.running import running_actor
from tests.waiting import eventually

SAID = {"rule": "gone", "key": "k", "alert": "gone-1", "count": 1, "since": "2026-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    "odd",
    [
        {"alert": "a" * 3000},
        {"rule": "r" * 500},
        {"rule": "a rule. with > odd \n characters"},
        {"text": "x" * 7_000_000},
        {"count": 2**64 - 1},
        {"since": "0001-01-01T00:00:00", "told": "9999-12-31T23:59:59.999999-14:00"},
    ],
    ids=lambda odd: next(iter(odd)),
)
async def test_a_foreign_alert_in_the_stream_crashes_no_start_and_no_tick(
    broker: Broker, entity: str, odd: dict[str, Any]
) -> None:
    event = Event.new(f"alert.{entity}.firing", {**SAID, **odd}, source="alerts")
    await broker.store(f"ev.{event.subject}", encode(event), {})
    before = restarts()

    async with running_actor(Alerts, broker, instance=entity) as running:

        async def ticked() -> bool:
            reply = await broker.connection.ask(f"cmd.alerts.{entity}.firing", b"{}")
            assert entity.encode() not in reply.payload
            return b"gone" not in reply.payload

        await eventually(ticked, within=30)
        # Another tick behind the one that ended it.
        await asyncio.wait({running}, timeout=1.5)

        assert not running.done()
        assert restarts() == before


def restarts() -> float:
    return REGISTRY.get_sample_value("actors_restarts_total", {"actor": "alerts"}) or 0.0


class FailingFilter:
    """A condition that fails at every event, as no filter should."""

    text = "fails"
    faults = 0
    needs = NOTHING

    def matches(self, _event: object) -> bool:
        raise ArithmeticError("no event is good enough")


async def test_a_rule_that_fails_is_told_of_and_keeps_no_other_rule_from_its_alert(tmp_path: Path) -> None:
    async with Probe(made(written(tmp_path, HOT))) as alerts:
        assert isinstance(alerts.actor, Alerts)
        engine = alerts.actor._engine
        hot = engine.rules["hot"]
        engine.replace([replace(hot, name="broken", when=FailingFilter()), hot])  # type: ignore[arg-type]

        await alerts.receive(reading(91))

    assert said(alerts) == ["system.alerts.rule_failed", "alert.hot.firing"]
    assert alerts.emitted[0][1]["rule"] == "broken" and "good enough" in alerts.emitted[0][1]["fault"]
