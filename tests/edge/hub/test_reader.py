"""Readers that ask for less: conflation and a rate, with the cursor and the stats still true."""

from __future__ import annotations

import asyncio
from typing import Any

from edge.settings import SessionSettings
from edge.transports.fast.connection import FastReader
from tests.edge.conftest import EdgeFactory, RunningEdge
from tests.waiting import eventually


async def _many_updates(edge: RunningEdge, entity: str, bursts: int) -> int:
    """Publishes bursts of fifty updates, twenty bursts a second where the machine can, and says how many updates."""
    for n in range(0, 50 * bursts, 50):
        await edge.publish(*({"subject": f"job.{entity}.progress", "data": {"n": n + k}} for k in range(50)))
        await asyncio.sleep(0.05)
    return 50 * bursts


async def test_many_updates_of_one_bar_reach_a_viewer_at_the_rate_it_asks_for(either: RunningEdge, entity: str) -> None:
    edge = either
    session = await edge.session(subjects=[f"job.{entity}.>"])
    async with edge.socket(session, "?conflate=true&max_rate=10") as calm, edge.socket(session) as full:
        await calm.control("ready")
        assert edge.edge is not None
        taken_over = edge.edge.settings.lane
        assert all(isinstance(reader, FastReader) is taken_over for reader in edge.edge.hub.readers)
        begun = asyncio.get_running_loop().time()
        said = await _many_updates(edge, entity, 40)
        await edge.publish({"subject": f"job.{entity}.completion", "data": {"n": said}})

        seen = []
        while not seen or seen[-1]["event_type"] != "completion":
            seen += await calm.events(1)
        passed = asyncio.get_running_loop().time() - begun
        everything = await full.events(said + 1)

    updates = [event for event in seen if event["event_type"] == "progress"]
    # At most one write every tenth of a second; a slow machine spreads a burst over several.
    assert len(updates) <= min(10 * passed + 2, said / 2)
    assert sum(1 + event.get("conflated", 0) for event in updates) == said
    assert updates[-1]["data"]["n"] == said - 1
    assert [event["cursor"] for event in seen] == sorted(event["cursor"] for event in seen)
    assert len(everything) == said + 1
    stats = await edge.stats(session)
    assert stats["conflated"] == said - len(updates) == stats["events_dropped"]
    assert (
        stats["events_sent"]
        == sum(stats[f"events_{k}"] for k in ("delivered", "failed", "dropped")) + stats["queued_events"]
    )


async def test_a_thousand_updates_of_a_campaign_reach_a_viewer_as_few_whose_changes_add_up(
    either: RunningEdge, entity: str
) -> None:
    edge = either
    session = await edge.session(subjects=[f"metric.{entity}.>"])
    query = "?conflate=true&max_rate=10"
    async with edge.socket(session, query) as socket, edge.sse(session, query) as stream:
        await socket.control("ready")
        await stream.next()
        begun = asyncio.get_running_loop().time()
        for start in range(0, 1000, 100):
            await edge.publish(
                *(
                    {
                        "subject": f"metric.{entity}.campaign_metrics",
                        "data": {"metrics": {"clicks": 2 * n}, "change": {"clicks": 2}},
                    }
                    for n in range(start + 1, start + 101)
                )
            )
        seen: list[list[dict]] = [[], []]
        for reader, events in ((socket, seen[0]), (stream, seen[1])):
            while not events or events[-1]["data"]["metrics"]["clicks"] < 2000:
                events += await reader.events(1)
        passed = asyncio.get_running_loop().time() - begun

    for events in seen:
        assert len(events) <= min(10 * passed + 2, 500)
        assert sum(event["data"]["change"]["clicks"] for event in events) == 2000
        assert sum(1 + event.get("conflated", 0) for event in events) == 1000


async def test_figures_of_two_campaigns_reach_a_viewer_at_the_rate_it_asks_for(edge: RunningEdge, entity: str) -> None:
    session = await edge.session(subjects=[f"metric.{entity}.>"])
    async with edge.socket(session, "?conflate=true&max_rate=10") as socket:
        await socket.control("ready")
        begun = asyncio.get_running_loop().time()
        for start in range(0, 1000, 100):
            await edge.publish(
                *(
                    {
                        "subject": f"metric.{entity}.campaign_metrics",
                        "data": {"campaignId": "ab"[n % 2], "metrics": {"impressions": n, "clicks": n // 10}},
                    }
                    for n in range(start, start + 100)
                )
            )
        seen: list[dict[str, Any]] = []
        while {998, 999} - {event["data"]["metrics"]["impressions"] for event in seen}:
            seen += await socket.events(1)
        passed = asyncio.get_running_loop().time() - begun

    # At most one write every tenth of a second, with at most one event of each campaign.
    assert len(seen) <= 2 * (10 * passed + 2)
    assert sum(1 + event.get("conflated", 0) for event in seen) == 1000


async def test_a_session_s_own_pace_holds_where_a_reader_says_nothing(edge: RunningEdge, entity: str) -> None:
    session = await edge.session(subjects=[f"job.{entity}.>"], conflate=True, max_rate=5)
    await edge.publish(*({"subject": f"job.{entity}.progress", "data": {"n": n}} for n in range(100)))
    async with edge.sse(session) as stream:
        (event,) = await stream.events(1)

    assert (event["data"]["n"], event["conflated"]) == (99, 99)


async def test_events_of_the_log_are_never_left_out(either: RunningEdge, entity: str) -> None:
    edge = either
    session = await edge.session(subjects=[f"job.{entity}.>"])
    async with edge.socket(session, "?conflate=true&max_rate=20") as socket:
        await socket.control("ready")
        for start in range(0, 100, 10):
            await edge.numbers(entity, 10, start=start)
        assert [event["data"]["n"] for event in await socket.events(100)] == list(range(100))


async def test_a_slow_reader_that_conflates_needs_no_replay(edge_factory: EdgeFactory, entity: str) -> None:
    async with edge_factory(session=SessionSettings(mailbox_events=50)) as edge:
        session = await edge.session(subjects=[f"job.{entity}.>"])
        async with edge.socket(session, "?conflate=true&max_rate=2") as socket:
            await socket.control("ready")
            said = await _many_updates(edge, entity, 10)
            last = 0
            while last < said - 1:
                last = (await socket.events(1))[0]["data"]["n"]
            stats = await eventually(lambda: edge.stats(session))
            assert stats["spills"] == 0 and stats["conflated"] > 0


async def test_bad_paces_are_refused(edge: RunningEdge) -> None:
    session = await edge.session()
    for query in ("?max_rate=0", "?max_rate=x", "?max_rate=nan", "?conflate=maybe"):
        answer = await edge.http.get(f"/callbacks/sessions/{session}/sse{query}")
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_parameter"), query
    for body in ({"max_rate": 0}, {"max_rate": "10"}, {"conflate": "yes"}, {"max_rate": 1e9}):
        answer = await edge.http.post("/callbacks/sessions", json=body)
        assert answer.json()["code"] == "bad_body", body
