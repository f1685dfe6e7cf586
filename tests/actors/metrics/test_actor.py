"""The metrics actor under a Probe: rates, snapshots, restarts, bounds."""

from __future__ import annotations

from typing import Any

import pytest

from actors.metrics.actor import EVENTS_A_TICK, Metrics, MetricsSettings
from actors.system.actor import Reject
from actors.system.probe import Probe
from router.entity import apply
from router.event import Event
from router.timing import ManualClock


def metrics(**values: float) -> dict[str, Any]:
    return {"campaignId": "c1", "metrics": values}


async def test_a_thousand_updates_are_published_at_a_bounded_rate_as_a_snapshot_and_changes() -> None:
    clock = ManualClock()
    async with Probe(Metrics, clock=clock) as probe:
        for n in range(1000):
            await probe.receive("metric.c1.campaign_metrics", metrics(clicks=n, spend=1))
            if n % 10 == 9:
                await clock.advance(0.1)
                await probe.tick()

        kinds = [event.type for event in probe.events]
        # Ten seconds: four a second at most, two or three of them snapshots.
        assert len(kinds) <= 41 and 2 <= kinds.count("state") <= 3 and kinds[0] == "state"
        whole: Any = probe.events[0].data
        for event in probe.events[1:]:
            whole = event.data if event.type == "state" else apply(whole, event.data)
            assert whole is not None and whole["version"] == event.data["version"]
        await clock.advance(1)
        await probe.tick()
        assert apply(whole, probe.events[-1].data)["values"] == {"clicks": 999, "spend": 1}  # type: ignore[index]
        versions = [event.data["version"] for event in probe.events]
        assert versions == sorted(versions) and set(versions) == set(range(1, versions[-1] + 1))


async def test_an_entity_that_rests_is_told_whole_once_more() -> None:
    clock = ManualClock()
    async with Probe(Metrics, clock=clock) as probe:
        for clicks in (1, 2):
            await probe.receive("metric.c1.campaign_metrics", metrics(clicks=clicks))
            await clock.advance(0.3)
            await probe.tick()
        for _ in range(20):
            await clock.advance(1)
            await probe.tick()

        assert [(event.type, event.data["version"]) for event in probe.events] == [
            ("state", 1),
            ("changed", 2),
            ("state", 2),
        ]
        assert probe.events[-1].data["change"] == {"clicks": 1}


async def test_state_and_version_survive_a_crash_and_what_was_not_published_is() -> None:
    clock = ManualClock()
    first = Event.new("metric.c1.live_metric_update", {"metric": "ctr", "value": 2})
    second = Event.new("metric.c1.campaign_metrics", metrics(clicks=7))
    state = Event.new(
        "metric.c1.state", {"version": 8, "values": {"ctr": 2, "old": 1}, "updated": "2026-01-01T00:00:00Z"}
    )
    async with Probe(Metrics, clock=clock, stored=[first, state, second]) as probe:
        await clock.advance(1)
        await probe.tick()

        (event,) = probe.events
        assert (event.type, event.data["version"], event.data["previous_version"]) == ("state", 9, 8)
        assert event.data["values"] == {"ctr": 2, "old": 1, "clicks": 7}


async def test_what_is_not_published_at_the_end_is_then() -> None:
    async with Probe(Metrics) as probe:
        await probe.receive("metric.c1.campaign_metrics", metrics(clicks=7))

    assert [(event.type, event.data["values"]) for event in probe.events][-1] == ("state", {"clicks": 7})


async def test_entities_are_bounded_and_one_that_went_is_recalled() -> None:
    clock = ManualClock()
    async with Probe(lambda: Metrics(MetricsSettings(most_entities=2)), clock=clock) as probe:
        for entity in ("a", "b", "c"):
            await probe.receive(f"metric.{entity}.campaign_metrics", metrics(clicks=1))
        await clock.advance(10)
        await probe.tick()
        known = await probe.ask("entities")
        await probe.receive("metric.a.campaign_metrics", metrics(spend=2))
        await clock.advance(10)
        await probe.tick()

        assert [each["entity"] for each in known["entities"]] == ["c", "b"]
        assert (probe.events[-1].subject, probe.events[-1].data["version"]) == ("metric.a.state", 2)
        assert probe.events[-1].data["values"] == {"clicks": 1, "spend": 2}


async def test_one_tick_publishes_so_much_and_the_next_ones_the_rest() -> None:
    clock = ManualClock()
    async with Probe(Metrics, clock=clock) as probe:
        for n in range(EVENTS_A_TICK + 5):
            await probe.receive(f"metric.e{n}.campaign_metrics", metrics(clicks=1))
        await clock.advance(10)
        await probe.tick()
        assert len(probe.events) == EVENTS_A_TICK
        await probe.tick()
        assert len({event.subject for event in probe.events}) == EVENTS_A_TICK + 5


async def test_a_metric_without_a_number_is_a_dead_letter_and_other_events_are_passed_over() -> None:
    async with Probe(Metrics) as probe:
        assert await probe.receive("metric.c1.live_metric_update", {"metric": "ctr", "value": "x"}) == "rejected"
        assert await probe.receive("metric.c1.note", {"text": "x"}) == "acked"
        assert await probe.receive("metric.c1.campaign_metrics", metrics(clicks=1)) == "acked"


async def test_a_snapshot_can_be_asked_for() -> None:
    async with Probe(Metrics) as probe:
        await probe.receive("metric.c1.campaign_metrics", metrics(clicks=1))

        assert (await probe.ask("snapshot", entity="c1"))["version"] == probe.events[-1].data["version"]
        with pytest.raises(Reject, match="nothing is known"):
            await probe.ask("snapshot", entity="nobody")
