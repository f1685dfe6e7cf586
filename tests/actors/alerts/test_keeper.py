"""The engine's state, kept over a restart of the actor."""

from __future__ import annotations

import zlib
from pathlib import Path

from actors.alerts import keeper as module
from actors.alerts.actor import Alerts, AlertsSettings
from actors.alerts.keeper import StateKeeper
from router.broker import Broker
from router.clock import wall
from router.event import Event
from router.nats.bucket import Bucket
from router.topology import ALERTS
from tests.actors.alerts.feeding import engine, event, fed
from tests.actors.alerts.readings import S
from tests.actors.system.running import events_under, running_actor
from tests.waiting import eventually


async def test_a_time_that_runs_goes_on_after_a_restart(broker: Broker, entity: str, tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(
        f"rules:\n  - {{name: r{entity}, subjects: [metric.{entity}.*], when: data.n > 5, for: 1h}}\n".lower()
    )
    settings = AlertsSettings(rules_file=str(file))
    hour_ago = wall.now_ns() - 3590 * S
    kept = StateKeeper(broker, entity)

    async def is_kept() -> bool:
        return entity in str(await kept.read())

    async with running_actor(lambda: Alerts(settings), broker, instance=entity):
        await broker.publish(Event.new(f"metric.{entity}.reading", {"n": 6}, time_ns=hour_ago))
        await eventually(is_kept)
    later = wall.now_ns() + 60 * S
    async with running_actor(lambda: Alerts(settings, now=lambda: later), broker, instance=entity):
        [fired] = await eventually(lambda: events_under(broker, f"alert.r{entity}.firing".lower()))

    assert fired.data["entity"] == entity


async def test_a_state_is_written_where_it_has_changed_and_one_that_is_odd_or_too_large_is_left_out(
    broker: Broker, entity: str
) -> None:
    kept, alerts = StateKeeper(broker, entity), engine("when: data.n > 5\n    for: 30s")
    assert await kept.read() is None
    fed(alerts, event(0, n=6))

    packed = kept.pack(alerts.state())
    assert packed is not None and kept.pack(alerts.state()) is None
    await kept.write(packed)
    again = engine("when: data.n > 5\n    for: 30s")
    state = await StateKeeper(broker, entity).read()
    assert state is not None and again.restore(state) == 0
    assert fed(again, until=31) == [("firing", 30, "metric.a")]

    for odd in (b"odd", zlib.compress(b"["), zlib.compress(b"[]")):
        await Bucket(broker.connection, ALERTS).put(f"engine.state.{entity}", odd)
        assert await kept.read() is None


def test_a_large_state_is_written_less_often_and_one_that_is_too_large_not_at_all(broker: Broker) -> None:
    kept = StateKeeper(broker, "large")
    assert kept.is_due(0.0)
    kept.spent(0.0, 0.1)
    assert not kept.is_due(4.9) and kept.is_due(5.1)

    state = {"version": 1, "lanes": {}, "rules": {str(n): {"x": hash(str(n))} for n in range(200_000)}}
    assert kept.pack(state) is None and module.MAX_STATE < 1_000_000
