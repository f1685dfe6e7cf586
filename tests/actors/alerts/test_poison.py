"""What the alerts actor finds in the stream when it starts may be anybody's: it must not crash it, now or at each start."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prometheus_client import REGISTRY

from actors.alerts.actor import Alerts
from router.alerts import entry_key
from router.broker import Broker
from router.filter import NOTHING
from router.nats.bucket import Bucket
from router.topology import ALERTS
from tests.actors.alerts.readings import HOT, probed, reading, said, written
from tests.actors.system.running import running_actor
from tests.waiting import eventually


@pytest.mark.parametrize(
    "odd",
    [
        {"rule": "r" * 500},
        {"rule": "a rule. with > odd \n characters"},
        {"text": "x" * 1_000_000},
        {"count": 2**64 - 1},
        {"since": -(2**62), "told": 2**63 - 1},
        {"history": [{"what": "eaten"}]},
    ],
    ids=lambda odd: next(iter(odd)),
)
async def test_an_odd_alert_in_the_bucket_crashes_no_start_and_no_tick(
    broker: Broker, entity: str, odd: dict[str, Any]
) -> None:
    record = {
        "id": f"{entry_key('gone', entity)}.{'0' * 12}",
        "rule": "gone",
        "key": entity,
        "state": "firing",
        "severity": "info",
        "category": entity,
        "entity": "e",
        "title": "t",
        "since": 0,
        "updated": 0,
        **odd,
    }
    entry = entry_key("gone", entity)
    bucket = Bucket(broker.connection, ALERTS)
    await bucket.put(entry, msgspec.json.encode(record))
    before = restarts()

    async with running_actor(Alerts, broker, instance=entity) as running:

        async def ended() -> bool:
            entry_now = await bucket.latest(entry)
            assert entry_now is not None and entry_now.value is not None
            # What cannot be an alert of this entry is left alone.
            return b'"resolved"' in entry_now.value or "history" in odd or "rule" in odd

        await eventually(ended, within=60)
        assert not running.done()
        assert restarts() == before
    await bucket.delete(entry)


def restarts() -> float:
    return REGISTRY.get_sample_value("actors_restarts_total", {"actor": "alerts"}) or 0.0


class FailingFilter:
    """A condition that fails at every event, as no filter should."""

    text = "fails"
    faults = 0
    needs = NOTHING

    def matches_in(self, _context: object, _event: object) -> bool:
        raise ArithmeticError("no event is good enough")


async def test_a_rule_that_fails_is_told_of_and_keeps_no_other_rule_from_its_alert(tmp_path: Path) -> None:
    async with probed(written(tmp_path, HOT)) as alerts:
        assert isinstance(alerts.actor, Alerts)
        engine = alerts.actor._engine
        hot = engine.rules["hot"]
        engine.replace([replace(hot, name="broken", when=FailingFilter()), hot])  # type: ignore[arg-type]

        await alerts.receive(reading(91))

    assert said(alerts) == ["system.alerts.rule_failed", "alert.hot.firing"]
    assert alerts.emitted[0][1]["rule"] == "broken" and "good enough" in alerts.emitted[0][1]["fault"]
