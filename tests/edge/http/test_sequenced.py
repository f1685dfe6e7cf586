"""Events that follow from the last one of their subject: progress that never goes back, changes of metrics."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from edge.http.idempotency import Name
from edge.http.sequenced import Sequenced, rule_of
from router.broker import Broker
from router.codec import decode
from router.event import Event
from router.nats.counters import REFUSED, figures
from router.nats.stream import Ack
from router.topology import TopologySettings
from tests.edge.conftest import EdgeFactory, RunningEdge
from tests.router.resharding import broker_of, reshard


@pytest.fixture
async def two(edge_factory: EdgeFactory) -> AsyncIterator[tuple[RunningEdge, RunningEdge]]:
    """Two replicas on one server."""
    async with edge_factory() as one, edge_factory() as other:
        yield one, other


async def send(edge: RunningEdge, subject: str, data: dict[str, Any], **more: Any) -> httpx.Response:
    headers = more.pop("headers", None)
    return await edge.http.post("/events", json={"subject": subject, "data": data, **more}, headers=headers)


async def stored(store: Broker, pattern: str) -> list[dict[str, Any]]:
    return [dict(record.event.data) for record in (await store.read(pattern, 0, 1000)).records if record.event]


async def progress(store: Broker, entity: str) -> list[Any]:
    return [data.get("progress") for data in await stored(store, f"job.{entity}.progress")]


async def test_a_progress_that_would_go_back_is_stored_with_the_greatest_and_its_other_fields(
    edge: RunningEdge, store: Broker, entity: str
) -> None:
    for data in (
        {"progress": 0.5},
        {"progress": 0.2, "message": "b", "stage": "s"},
        {"progress": 0.7},
        {"percent": 60},
    ):
        assert (await send(edge, f"job.{entity}.progress", data)).status_code == 201

    assert await stored(store, f"job.{entity}.progress") == [
        {"progress": 0.5},
        {"progress": 0.5, "message": "b", "stage": "s"},
        {"progress": 0.7},
        {"percent": 70},
    ]


async def test_a_progress_without_a_number_does_not_make_the_run_forget_how_far_it_is(
    two: tuple[RunningEdge, RunningEdge], store: Broker, entity: str
) -> None:
    one, other = two

    for edge, data in ((one, {"progress": 0.5}), (one, {"message": "on it"}), (other, {"progress": 0.2})):
        await send(edge, f"agent.{entity}.progress", data)

    assert await stored(store, f"agent.{entity}.progress") == [
        {"progress": 0.5},
        {"message": "on it"},
        {"progress": 0.5},
    ]


async def test_two_replicas_that_alternate_on_one_run_never_let_it_go_back(
    two: tuple[RunningEdge, RunningEdge], store: Broker, entity: str
) -> None:
    refused = figures.published[REFUSED]

    await asyncio.gather(
        *(send(two[n % 2], f"job.{entity}.progress", {"progress": (n * 37 % 60) / 60, "n": n}) for n in range(60))
    )

    found = await stored(store, f"job.{entity}.progress")
    assert sorted(data["n"] for data in found) == list(range(60))
    shares = [data["progress"] for data in found]
    assert shares == sorted(shares)
    assert figures.published[REFUSED] == refused


async def test_a_program_that_speaks_nats_is_followed_too(edge: RunningEdge, store: Broker, entity: str) -> None:
    await send(edge, f"job.{entity}.progress", {"progress": 0.1})
    await store.publish(Event.new(f"job.{entity}.progress", {"progress": 0.9}, source="sdk"))
    await send(edge, f"job.{entity}.progress", {"progress": 0.3})

    assert await progress(store, entity) == [0.1, 0.9, 0.9]


@pytest.mark.parametrize("replica", [0, 1], ids=["the same replica", "another"])
async def test_a_run_that_is_begun_anew_begins_at_its_beginning_and_one_that_is_resumed_does_not(
    two: tuple[RunningEdge, RunningEdge], store: Broker, entity: str, replica: int
) -> None:
    first, second = two[0], two[replica]

    await send(first, f"job.{entity}.progress", {"progress": 0.8})
    await send(second, f"job.{entity}.workflow_start", {"incarnation": "b"})
    await send(first, f"job.{entity}.progress", {"progress": 0.1})
    await send(second, f"job.{entity}.workflow_start", {"incarnation": "c", "resumed": True})
    await send(first, f"job.{entity}.progress", {"progress": 0.0})

    assert await progress(store, entity) == [0.8, 0.1, 0.1]


async def test_each_answer_of_a_conversation_begins_at_its_beginning(
    edge: RunningEdge, store: Broker, entity: str
) -> None:
    for kind, data in (("progress", {"progress": 0.9}), ("done", {}), ("progress", {"progress": 0.2})):
        assert (await send(edge, f"thread.{entity}.{kind}", data)).status_code == 201

    assert [data["progress"] for data in await stored(store, f"thread.{entity}.progress")] == [0.9, 0.2]


async def test_a_repeat_of_a_raised_progress_is_a_duplicate_and_another_body_under_its_key_is_refused(
    two: tuple[RunningEdge, RunningEdge], store: Broker, entity: str
) -> None:
    one, other = two
    subject, key = f"job.{entity}.progress", {"Idempotency-Key": entity}

    await send(one, subject, {"progress": 0.8})
    first = await send(one, subject, {"progress": 0.1}, headers=key)
    await send(other, subject, {"progress": 0.9})
    again = [await send(edge, subject, {"progress": 0.1}, headers=key) for edge in two]
    foreign = await send(other, subject, {"progress": 0.2}, headers=key)

    for answer in again:
        assert (answer.status_code, answer.json()["duplicate"]) == (201, True)
        assert answer.json()["cursor"] == first.json()["cursor"]
    assert foreign.json()["code"] == "idempotency_key_reused"
    assert await progress(store, entity) == [0.8, 0.8, 0.9]


async def test_the_progress_of_a_batch_keeps_its_order_between_the_other_events(
    edge: RunningEdge, store: Broker, entity: str
) -> None:
    batch: list[dict[str, Any]] = []
    for n in range(20):
        batch += [
            {"subject": f"job.{entity}.progress", "data": {"progress": (n % 7) / 10, "n": 2 * n}},
            {"subject": f"job.{entity}.output", "data": {"n": 2 * n + 1}},
            {"subject": f"job.{entity}-2.progress", "data": {"progress": n / 20, "n": n}},
        ]

    await edge.publish(*batch)

    assert [data["n"] for data in await stored(store, f"job.{entity}.>")] == list(range(40))
    shares = await progress(store, entity)
    assert shares == [min(n, 6) / 10 for n in range(20)]
    assert await progress(store, f"{entity}-2") == [n / 20 for n in range(20)]


async def test_the_last_progress_of_a_job_that_fails_does_not_go_back_either(
    edge: RunningEdge, store: Broker, entity: str
) -> None:
    await send(edge, f"job.{entity}.job_progress", {"status": "processing", "progress": 0.6})
    await send(edge, f"job.{entity}.job_progress", {"status": "failed", "progress": 0.0, "error": "no space"})

    assert (await stored(store, f"job.{entity}.job_progress"))[1] == {
        "status": "failed", "progress": 0.6, "error": "no space",
    }  # fmt: skip


async def test_outside_of_runs_progress_may_go_back(edge: RunningEdge, store: Broker, entity: str) -> None:
    for share in (0.5, 0.2):
        await send(edge, f"render.{entity}.progress", {"progress": share})

    assert await stored(store, f"render.{entity}.progress") == [{"progress": 0.5}, {"progress": 0.2}]


async def test_a_metric_is_completed_from_the_last_one_whichever_replica_took_it(
    two: tuple[RunningEdge, RunningEdge], store: Broker, entity: str
) -> None:
    for n, value in enumerate((100, 120, 90)):
        await send(two[n % 2], f"metric.{entity}.live_metric_update", {"metric": "ctr", "value": value})

    assert await stored(store, f"metric.{entity}.>") == [
        {"metric": "ctr", "value": 100},
        {"metric": "ctr", "value": 120, "delta": 20, "deltaPercent": 20.0},
        {"metric": "ctr", "value": 90, "delta": -30, "deltaPercent": -25.0},
    ]


async def test_metrics_that_share_a_subject_are_compared_each_with_its_own_last(
    two: tuple[RunningEdge, RunningEdge], store: Broker, entity: str
) -> None:
    names = ("ctr", "clicks", "spend")

    for n in range(12):
        data = {"metric": names[n % 3], "value": n // 3 * (n % 3 + 1)}
        await send(two[n // 5 % 2], f"metric.{entity}.live_metric_update", data)

    deltas = [data.get("delta") for data in await stored(store, f"metric.{entity}.>")]
    assert deltas == [None, None, None, 1, 2, 3, 1, 2, 3, 1, 2, 3]


@pytest.mark.parametrize("domain", ["metric", "campaign"])
async def test_campaigns_that_share_a_subject_are_compared_each_with_its_own_last(
    two: tuple[RunningEdge, RunningEdge], store: Broker, entity: str, domain: str
) -> None:
    for n, (campaign, clicks) in enumerate((("a", 10), ("b", 100), ("a", 11), ("b", 110))):
        data = {"campaignId": campaign, "metrics": {"clicks": clicks}}
        await send(two[n // 2 % 2], f"{domain}.{entity}.campaign_metrics", data)

    found = await stored(store, f"{domain}.{entity}.>")
    assert [data.get("change") for data in found] == [None, None, {"clicks": 1}, {"clicks": 10}]


@pytest.mark.parametrize("replica", [0, 1], ids=["the same replica", "another"])
async def test_a_figure_is_compared_with_its_last_value_though_events_between_do_not_have_it(
    two: tuple[RunningEdge, RunningEdge], store: Broker, entity: str, replica: int
) -> None:
    subject = f"metric.{entity}.campaign_metrics"
    for edge, metrics in (
        (two[0], {"clicks": 1}),
        (two[0], {"impressions": 5}),
        (two[replica], {"clicks": 4}),
        (two[0], {"clicks": 6, "impressions": 9}),
    ):
        await send(edge, subject, {"metrics": metrics})

    changes = [data.get("change") for data in await stored(store, subject)]
    assert changes == [None, None, {"clicks": 3}, {"clicks": 2, "impressions": 4}]


async def test_the_newest_of_many_events_of_a_subject_is_the_one_that_counts(
    edge: RunningEdge, store: Broker, entity: str
) -> None:
    subject = f"metric.{entity}.metric"
    for n in range(600):
        await store.publish(Event.new(subject, {"name": "a" if n < 598 else "b", "value": n}))
    await send(edge, subject, {"name": "a", "value": 600})

    assert (await store.latest([subject]))[0].event.data["delta"] == 3


async def test_many_at_once_add_up_to_the_newest_value_less_the_first(
    two: tuple[RunningEdge, RunningEdge], store: Broker, entity: str
) -> None:
    await asyncio.gather(
        *(
            send(two[n % 2], f"metric.{entity}.campaign_metrics", {"metrics": {"clicks": n * 31 % 40}})
            for n in range(40)
        )
    )

    found = await stored(store, f"metric.{entity}.>")
    assert len(found) == 40
    assert (
        sum(data["change"]["clicks"] for data in found if "change" in data)
        == found[-1]["metrics"]["clicks"] - found[0]["metrics"]["clicks"]
    )


async def test_what_a_producer_gives_itself_is_kept(edge: RunningEdge, store: Broker, entity: str) -> None:
    whole = {"metric": "ctr", "value": 5, "delta": 7, "deltaPercent": 8}

    await send(edge, f"metric.{entity}.live_metric_update", whole)

    assert await stored(store, f"metric.{entity}.>") == [whole]


async def test_what_was_reached_before_a_reshard_counts_behind_it(own_nats: str) -> None:
    async with broker_of(own_nats, TopologySettings()) as broker, broker_of(own_nats, TopologySettings()) as other:
        here, there = Sequenced(broker), Sequenced(other)

        async def say(publisher: Sequenced, type: str, **data: object) -> tuple[Event, Ack]:
            event = Event.new(f"job.a.{type}", data)
            rule = rule_of(event)
            assert rule is not None
            payload, ack = await publisher.publish(rule, event, Name(event.id, None))
            return decode(payload), ack

        await say(here, "progress", progress=0.2)
        await say(there, "progress", progress=0.6)
        await reshard(other, 2)

        event, ack = await say(here, "progress", progress=0.4)
        assert (event.data["progress"], ack.stream != "EVENTS") == (0.6, True)
        event, _ = await say(there, "progress", progress=0.8)
        assert event.data["progress"] == 0.8
        event, _ = await say(here, "progress", progress=0.7)
        assert event.data["progress"] == 0.8
