"""Reading without a session: places, pages, what is shown, and who may."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.edge.auth.conftest import SecuredFactory
from tests.edge.conftest import RunningEdge, n


async def read(edge: RunningEdge, **query: Any) -> dict[str, Any]:
    answer = await edge.http.get("/events", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_the_past_is_read_in_pages_that_lose_none_and_leaves_no_session(edge: RunningEdge, entity: str) -> None:
    cursors = await edge.numbers(entity, 25)
    subjects = f"job.{entity}.>"
    before = await edge.session_ids()

    pages = [await read(edge, subjects=subjects, cursor="earliest", limit=10)]
    while pages[-1]["has_more"]:
        pages.append(await read(edge, subjects=subjects, cursor=pages[-1]["next"], limit=10))

    assert [number for page in pages for number in n(page["events"])] == list(range(25))
    assert n((await read(edge, subjects=subjects, last=3))["events"]) == [22, 23, 24]
    assert n((await read(edge, subjects=subjects, cursor=cursors[22]))["events"]) == [23, 24]
    assert "session_id" not in pages[0]
    assert await edge.session_ids() <= before


async def test_a_poll_by_time_begins_at_that_time_whoever_polled_before(edge: RunningEdge, entity: str) -> None:
    await edge.numbers(entity, 3)
    events = (await read(edge, subjects=f"job.{entity}.>", last=3))["events"]

    for _ in range(2):
        page = await read(edge, subjects=f"job.{entity}.>", since=events[0]["timestamp"])
        assert n(page["events"])[-1] == 2
        assert page["events"][-1]["timestamp"] == events[-1]["timestamp"]


async def test_subjects_types_and_a_filter_say_what_is_shown(edge: RunningEdge, entity: str) -> None:
    for kind, number in (("output", 1), ("progress", 2), ("output", 3)):
        await edge.publish(
            {"subject": f"job.{entity}.{kind}", "type": kind, "data": {"n": number, "progress": 0.5}},
            {"subject": f"agent.{entity}.{kind}", "type": kind, "data": {"n": 10 * number, "progress": 0.5}},
        )
    both = f"job.{entity}.>, agent.{entity}.>"

    assert n((await read(edge, subjects=both, types="output", last=10))["events"]) == [1, 10, 3, 30]
    assert n((await read(edge, subjects=both, filter="data.n > 5", last=10))["events"]) == [10, 20, 30]
    snapshot = await read(edge, subjects=f"job.{entity}.>", cursor="snapshot")
    assert (n(snapshot["events"]), snapshot["snapshot"]["events"]) == ([2], 1)
    clouds = await read(edge, subjects=f"job.{entity}.>", last=1, dialect="cloudevents")
    assert clouds["events"][0]["specversion"] == "1.0"


async def test_who_names_no_place_begins_now_and_may_wait(edge: RunningEdge, entity: str) -> None:
    await edge.numbers(entity, 1)

    now = await read(edge, subjects=f"job.{entity}.>")
    waiting = asyncio.ensure_future(read(edge, subjects=f"job.{entity}.>", cursor=now["next"], wait=30))
    await edge.numbers(entity, 1, start=1)

    assert now["events"] == []
    assert n((await waiting)["events"]) == [1]


@pytest.mark.parametrize(
    ("query", "status", "code", "field"),
    [
        ("subjects=job..x", 422, "bad_pattern", None),
        ("types=Output", 400, "bad_parameter", "types"),
        ("filter=data.", 422, "bad_filter", None),
        ("cursor=nope", 400, "bad_cursor", None),
        ("last=1&cursor=now", 400, "bad_cursor", None),
        ("limit=0", 400, "bad_parameter", "limit"),
        ("dialect=morse", 400, "bad_parameter", "dialect"),
        (f"subjects={','.join(f'job.j{n}.>' for n in range(65))}", 400, "bad_parameter", "subjects"),
    ],
)
async def test_a_bad_query_is_refused_by_name(
    edge: RunningEdge, query: str, status: int, code: str, field: str | None
) -> None:
    answer = await edge.http.get(f"/events?{query}")

    assert (answer.status_code, answer.json()["code"], answer.json().get("field")) == (status, code, field)


async def test_nobody_reads_what_is_not_granted(secured: SecuredFactory, entity: str) -> None:
    async with secured() as edge:
        writer = edge.as_("writer", publish=["job.>", "camera.>"])
        await writer.publish(
            *({"subject": f"{domain}.{entity}.output", "data": {"n": n}} for n, domain in enumerate(("job", "camera")))
        )
        reader = edge.as_("reader", read=[f"job.{entity}.>"])

        assert n((await read(reader, last=10))["events"]) == [0]
        refused = await reader.http.get("/events", params={"subjects": f"camera.{entity}.>", "last": 1})
        assert (refused.status_code, refused.json()["code"]) == (403, "not_granted")
        assert (await edge.http.get("/events")).status_code == 401
