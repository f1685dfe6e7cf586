"""Polling: pages that lose none, long polls that wait, and a bounded amount of work for each request."""

from __future__ import annotations

import asyncio
import time

import pytest

from edge.transports import polling
from edge.view import Pace
from router.cursor import Start
from router.position import of_one
from router.record import Record
from tests.edge.conftest import EdgeFactory, RunningEdge, n
from tests.edge.transports.scanning import scanning
from tests.waiting import eventually, in_time


async def test_polling_250_events_by_pages_of_100_loses_none(edge: RunningEdge, entity: str) -> None:
    session = await edge.session(delivery_method="polling", subjects=[f"job.{entity}.>"])
    await edge.numbers(entity, 250)

    found: list[int] = []
    query, more = "?limit=100", True
    while more:
        page = await edge.poll(session, query)
        found += n(page["events"])
        query, more = f"?limit=100&cursor={page['next']}", page["has_more"]

    assert found == list(range(250))


async def test_polling_by_the_guide_s_since_loses_none(edge: RunningEdge, entity: str) -> None:
    session = await edge.session(delivery_method="polling", subjects=[f"job.{entity}.>"])
    found: list[str] = []
    last = "undefined"
    for round in range(4):
        await edge.numbers(entity, 30, start=30 * round)
        page = await edge.poll(session, f"?since={last}")
        for event in page["events"]:
            if event["id"] not in found:
                found.append(event["id"])
            last = event["timestamp"]

    assert len(found) == 120


async def test_a_poll_that_scans_much_and_finds_nothing_answers_with_a_place_to_go_on_from(
    edge_factory: EdgeFactory, entity: str
) -> None:
    async with scanning(edge_factory, entity) as (edge, session):
        page = await edge.poll(session)
        pages = [page]
        while page["has_more"]:
            page = await edge.poll(session, f"?cursor={page['next']}")
            pages.append(page)

        assert [page["count"] for page in pages] == [0] * (len(pages) - 1) + [1]
        assert len(pages) >= 4
        assert [page["next"] for page in pages] == sorted({page["next"] for page in pages})
        assert n(pages[-1]["events"]) == [-1]


@pytest.mark.parametrize("query", ["", "?since=2020-01-01T00:00:00Z", "?cursor=earliest"])
async def test_a_poll_that_says_the_same_place_each_time_still_gets_on(
    edge_factory: EdgeFactory, entity: str, query: str
) -> None:
    async with scanning(edge_factory, entity) as (edge, session):
        found: list[int] = []
        for _ in range(200):
            page = await edge.poll(session, query)
            found = n(page["events"])
            if found:
                break
            assert page["has_more"] is True

        assert found == [-1]


async def test_a_long_poll_answers_at_once_where_more_is_to_be_scanned(edge_factory: EdgeFactory, entity: str) -> None:
    async with scanning(edge_factory, entity) as (edge, session):
        page = await in_time(edge.poll(session, "?wait=50"), 45)

        assert page["events"] == [] and page["has_more"] is True


async def test_a_long_poll_waits_for_the_next_event(edge: RunningEdge, entity: str) -> None:
    session = await edge.session(delivery_method="polling", subjects=[f"job.{entity}.>"])
    waiting = asyncio.ensure_future(edge.poll(session, "?wait=50"))
    await eventually(lambda: _polls(edge, session, 1))
    await edge.numbers(entity, 1)

    page = await in_time(waiting)

    assert n(page["events"]) == [0]
    empty = await edge.poll(session, f"?cursor={page['next']}&wait=0.2")
    assert empty["events"] == [] and empty["next"] >= page["next"]


async def _polls(edge: RunningEdge, session: str, count: int) -> bool:
    return (await edge.stats(session))["readers"]["polling"] == count


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("?cursor=nope", "bad_cursor"),
        ("?cursor=1-5f3a9c1e-00000000002", "bad_cursor"),
        ("?last=x", "bad_cursor"),
        ("?since=yesterday", "bad_cursor"),
        ("?limit=0", "bad_parameter"),
        ("?limit=1001", "bad_parameter"),
        ("?limit=x", "bad_parameter"),
        ("?wait=-1", "bad_parameter"),
        ("?wait=nan", "bad_parameter"),
    ],
)
async def test_a_bad_query_is_refused_with_a_code(edge: RunningEdge, query: str, code: str) -> None:
    session = await edge.session()
    answer = await edge.http.get(f"/callbacks/sessions/{session}/events{query}")

    assert (answer.status_code, answer.json()["code"]) == (400, code)


async def test_a_poll_brings_no_more_than_fits_one_answer(edge: RunningEdge, entity: str) -> None:
    session = await edge.session(subjects=[f"job.{entity}.>"], delivery_method="polling")
    for number in range(12):
        await edge.publish({"subject": f"job.{entity}.said", "data": {"n": number, "text": "w" * 500_000}})
    seen: list[int] = []
    query = ""
    while True:
        answer = await edge.http.get(f"/callbacks/sessions/{session}/events?limit=1000{query}")
        assert len(answer.content) < 4_500_000
        seen += [event["data"]["n"] for event in answer.json()["events"]]
        if not answer.json()["has_more"]:
            break
        query = f"&cursor={answer.json()['next']}"
    assert seen == list(range(12))


@pytest.mark.parametrize(
    ("accepted", "packed"),
    [("gzip", True), ("br;q=1.0, gzip;q=0.8", True), ("gzip;q=0, identity", False), ("identity", False)],
)
async def test_a_long_answer_to_a_poll_is_packed_for_who_takes_it(
    edge: RunningEdge, entity: str, accepted: str, packed: bool
) -> None:
    session = await edge.session(subjects=[f"job.{entity}.>"], delivery_method="polling")
    await edge.publish({"subject": f"job.{entity}.said", "data": {"text": "word " * 2000}})

    answer = await edge.http.get(f"/callbacks/sessions/{session}/events", headers={"Accept-Encoding": accepted})

    assert (answer.headers.get("content-encoding") == "gzip") is packed
    assert answer.json()["events"][0]["data"]["text"] == "word " * 2000
    assert answer.headers["vary"] == "Accept-Encoding"
    assert (int(answer.headers["content-length"]) < 2000) is packed


async def _figures(edge: RunningEdge, entity: str, count: int, start: int = 0) -> None:
    """Publishes the figures of three campaigns that share a subject, one after another."""
    await edge.publish(
        *(
            {
                "subject": f"campaign.{entity}.campaign_metrics",
                "data": {"campaignId": f"c{place % 3}", "metrics": {"clicks": place}},
            }
            for place in range(start, start + count)
        )
    )


@pytest.mark.parametrize("limit", [2, 3, 100])
async def test_a_poll_of_a_session_that_conflates_brings_one_event_for_each_campaign_and_the_sum_of_its_changes(
    edge: RunningEdge, entity: str, limit: int
) -> None:
    subjects = [f"campaign.{entity}.>"]
    session = await edge.session(delivery_method="polling", subjects=subjects, conflate=True)
    await _figures(edge, entity, 60)

    sums: dict[str, float] = {}
    shown = stood = 0
    query, more, pages = f"?limit={limit}", True, 0
    while more:
        page = await edge.poll(session, query)
        for event in page["events"]:
            campaign = event["data"]["campaignId"]
            sums[campaign] = sums.get(campaign, 0) + event["data"].get("change", {}).get("clicks", 0)
            stood += 1 + event.get("conflated", 0)
        shown, pages = shown + page["count"], pages + 1
        assert page["count"] <= limit
        query, more = f"?limit={limit}&cursor={page['next']}", page["has_more"]

    assert sums == {"c0": 57, "c1": 57, "c2": 57} and stood == 60
    assert (shown, pages) == ((3, 1) if limit >= 3 else (60, 30))
    stats = await edge.stats(session)
    assert stats["events_sent"] == 60 and stats["events_dropped"] == 60 - shown
    assert (await edge.poll(session, "?conflate=false"))["count"] == 60


def test_a_poll_with_a_rate_waits_for_what_else_comes_within_its_period() -> None:
    def early(max_rate: float | None, wait: float, count: int = 1, more: bool = False) -> float:
        records = [Record(place, "job.a.output", b"") for place in range(1, count + 1)]
        asked = polling.Poll(Start(), wait=wait, pace=Pace(True, max_rate))
        # As if it had come in a thousand seconds from now: so the time that this takes does not matter.
        return polling._early(
            asked, 100, polling._Scan(records, of_one(count), more), of_one(0), time.monotonic() + 1000
        )

    assert early(10, wait=50) == pytest.approx(1000.1, abs=50)
    assert early(10, wait=50) < 1000.2 < 1000.5 < early(1, wait=50)
    assert early(0.1, wait=50) < 1001.01  # a second at most
    # It has nothing yet, more than an answer holds, or no time to wait.
    assert early(10, 50, count=0) == early(10, 50, more=True) == early(10, 50, count=101) == early(None, 50) == 0
    assert early(10, wait=0) < 1000.05


async def test_a_poll_that_came_too_early_brings_all_that_there_is_when_it_answers(
    edge: RunningEdge, entity: str
) -> None:
    session = await edge.session(
        delivery_method="polling", subjects=[f"campaign.{entity}.>"], conflate=True, max_rate=5
    )
    await _figures(edge, entity, 6)

    page = await edge.poll(session, "?wait=50")
    assert [event["data"]["metrics"]["clicks"] for event in page["events"]] == [3, 4, 5]
    assert [event["data"]["change"]["clicks"] for event in page["events"]] == [3, 3, 3]
