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
            await probe.receive(f"metric.{entity}.campaign_metrics", {"metrics": {"clicks": 1}})
        await clock.advance(10)
        await probe.tick()
        known = await probe.ask("entities")
        await probe.receive("metric.a.campaign_metrics", {"metrics": {"spend": 2}})
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


async def test_campaigns_that_share_a_subject_are_parts_with_a_state_each() -> None:
    clock = ManualClock()
    async with Probe(Metrics, clock=clock) as probe:
        for campaign, clicks in (("a.1", 5), ("b", 70), ("a.1", 6)):
            await probe.receive("metric.shop.campaign_metrics", {"campaignId": campaign, "metrics": {"clicks": clicks}})
        await probe.receive("metric.shop.metric", {"name": "visitors", "value": 9})
        await probe.receive("metric.shop.live_metric_update", {"entityId": "b", "metric": "ctr", "value": 0.5})
        await clock.advance(1)
        await probe.tick()

        states = {event.subject: event.data for event in probe.events}
        assert {subject: (state["part"], state["values"]) for subject, state in states.items()} == {
            "metric.shop.a=2E1.state": ("a.1", {"clicks": 6}),
            "metric.shop.b.state": ("b", {"clicks": 70, "ctr": 0.5}),
            "metric.shop.state": (None, {"visitors": 9}),
        }
        assert {state["entity"] for state in states.values()} == {"shop"}
        assert states["metric.shop.b.state"]["entity_type"] == "campaign"
        assert (await probe.ask("snapshot", entity="shop", part="b"))["version"] == 1
        with pytest.raises(Reject, match="nothing is known"):
            await probe.ask("snapshot", entity="shop", part="c")


async def test_the_parts_of_an_entity_survive_a_crash_each_for_itself() -> None:
    clock = ManualClock()
    stored = [
        Event.new(
            f"metric.shop.{part}.state", {"entity": "shop", "part": part, "version": 3, "values": {"clicks": clicks}}
        )
        for part, clicks in (("a", 5), ("b", 70))
    ]
    later = Event.new("metric.shop.campaign_metrics", {"campaignId": "b", "metrics": {"clicks": 71}})
    async with Probe(lambda: Metrics(MetricsSettings(most_entities=1)), clock=clock, stored=[*stored, later]) as probe:
        await clock.advance(1)
        await probe.tick()
        assert [(event.subject, event.data["version"], event.data["values"]) for event in probe.events] == [
            ("metric.shop.b.state", 4, {"clicks": 71})
        ]
        # "a" is not in memory any more, and "b" is not taken for it.
        await probe.receive("metric.shop.campaign_metrics", {"campaignId": "a", "metrics": {"spend": 1}})
        await clock.advance(10)
        await probe.tick()
        assert (probe.events[-1].subject, probe.events[-1].data["values"]) == (
            "metric.shop.a.state",
            {"clicks": 5, "spend": 1},
        )


async def test_an_entity_with_a_name_that_no_subject_has_room_for_is_a_dead_letter() -> None:
    async with Probe(Metrics) as probe:
        data = {"campaignId": "c" * 250, "metrics": {"clicks": 1}}
        assert await probe.receive("metric.shop.campaign_metrics", data) == "rejected"
