"""The actor with its stores on a real server: what it says is kept, rules of the API are followed, people are heard."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from actors.alerts.actor import Alerts, AlertsSettings
from router.alert_store import AlertStore
from router.alerts import AlertRecord, act
from router.broker import Broker
from router.clock import wall
from router.event import Event
from router.rule_store import RuleStore, StoredRule
from tests.actors.system.running import events_under, running_actor
from tests.waiting import eventually


async def test_an_alert_is_kept_over_a_restart_and_a_person_who_resolves_it_is_heard(
    broker: Broker, entity: str, tmp_path: Path
) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text("rules: []\n")
    rule = f"name: {entity}\nsubjects: [metric.{entity}.*]\nwhen: data.celsius > 80\ncooldown: 0\n"
    await RuleStore(broker).create(StoredRule(name=entity, text=rule, version=1, created=1, updated=1))

    async def hot(celsius: int, count: int) -> list[Event]:
        await broker.publish(Event.new(f"metric.{entity}.temperature", {"celsius": celsius}))

        async def told() -> list[Event] | None:
            found = await events_under(broker, f"alert.{entity}.firing")
            return found if len(found) == count else None

        found = await eventually(told)
        assert found is not None
        return found

    settings = AlertsSettings(rules_file=str(file))
    async with running_actor(lambda: Alerts(settings), broker, instance=entity):
        [first] = await hot(90, 1)
    async with running_actor(lambda: Alerts(settings), broker, instance=entity):
        again = (await hot(91, 2))[1]
        assert again.data["alert"] == first.data["alert"]

        def resolve(known: AlertRecord | None) -> AlertRecord:
            assert known is not None
            return act(known, "resolve", "alice", wall.now_ns())

        await AlertStore(broker).change(entity, str(first.data["key"]), resolve)
        # Until the watch has told the actor, a match belongs to the alert that was resolved.
        await eventually(lambda: _anew(broker, entity, str(first.data["alert"])))
    await RuleStore(broker).delete(entity)


async def _anew(broker: Broker, entity: str, before: str) -> bool:
    await broker.publish(Event.new(f"metric.{entity}.temperature", {"celsius": 95}))
    newest = (await events_under(broker, f"alert.{entity}.firing"))[-1]
    return newest.data["alert"] != before


@pytest.mark.slow
async def test_what_is_heard_while_the_actor_is_down_for_long_is_not_absent(
    broker: Broker, entity: str, tmp_path: Path
) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text("rules: []\n")
    rule = f"name: {entity}\nsubjects: [job.{entity}.beat]\nabsence: 4s\n"
    await RuleStore(broker).create(StoredRule(name=entity, text=rule, version=1, created=1, updated=1))
    settings = AlertsSettings(rules_file=str(file))

    async def beats() -> None:
        while True:
            await broker.publish(Event.new(f"job.{entity}.beat", {}))
            await asyncio.sleep(0.3)

    beating = asyncio.ensure_future(beats())
    try:
        async with running_actor(lambda: Alerts(settings), broker, instance=entity):
            await asyncio.sleep(4)  # until its state is stored
        await asyncio.sleep(6)  # longer than the absence
        async with running_actor(lambda: Alerts(settings), broker, instance=entity):
            await asyncio.sleep(3)
            assert await events_under(broker, f"alert.{entity}.>") == []
            beating.cancel()
            await eventually(lambda: events_under(broker, f"alert.{entity}.firing"))
    finally:
        beating.cancel()
    await RuleStore(broker).delete(entity)
