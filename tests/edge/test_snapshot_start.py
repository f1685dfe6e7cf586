"""Beginning with a snapshot, on each transport of a real edge: the newest of each subject, then all that comes after."""

from __future__ import annotations

from tests.edge.conftest import RunningEdge, n


async def _said(edge: RunningEdge, entity: str) -> None:
    await edge.numbers(f"{entity}a", 5, kind="progress")
    await edge.numbers(f"{entity}a", 5, start=100, kind="output")
    await edge.numbers(f"{entity}b", 3, start=10, kind="progress")


async def test_a_late_joiner_gets_the_whole_and_then_changes_on_every_transport(edge: RunningEdge, entity: str) -> None:
    await _said(edge, entity)
    session = await edge.session(subjects=[f"job.{entity}a.*", f"job.{entity}b.*"], cursor="snapshot")
    assert (await edge.http.get(f"/callbacks/sessions/{session}")).json()["cursor"] == "snapshot"

    async with edge.socket(session, "?controls=all") as socket, edge.sse(session) as stream:
        page = await edge.poll(session)
        snapshot = [await socket.events(2), await stream.events(2), page["events"]]
        position = await socket.control("position")
        await edge.numbers(f"{entity}a", 2, start=5, kind="progress")
        await edge.numbers(f"{entity}b", 1, start=200, kind="output")
        rest = [
            await socket.events(3),
            await stream.events(3),
            (await edge.poll(session, f"?cursor={page['next']}"))["events"],
        ]

    assert [n(events) for events in snapshot] == [[4, 12]] * 3
    assert [n(events) for events in rest] == [[5, 6, 200]] * 3
    assert position["cursor"] == page["next"]


async def test_a_snapshot_is_read_in_pages_and_is_as_of_its_first_one(edge: RunningEdge, entity: str) -> None:
    for number in range(5):
        await edge.numbers(f"{entity}-{number}", 1, start=number, kind="progress")
    session = await edge.session(delivery_method="polling", subjects=[f"job.{entity}-{x}.*" for x in range(5)])
    pages = [await edge.poll(session, "?cursor=snapshot&limit=2")]
    await edge.numbers(f"{entity}-4", 1, start=50, kind="progress")
    while len(pages) < 4:
        pages.append(await edge.poll(session, f"?cursor={pages[-1]['next']}&limit=2"))

    assert [n(page["events"]) for page in pages] == [[0, 1], [2, 3], [4], [50]]
    assert [page["has_more"] for page in pages] == [True, True, False, False]


async def test_a_reader_goes_on_in_its_snapshot_by_the_cursor_of_ready(edge: RunningEdge, entity: str) -> None:
    await _said(edge, entity)
    session = await edge.session(subjects=[f"job.{entity}a.*", f"job.{entity}b.*"])
    async with edge.socket(session, "?cursor=snapshot") as socket:
        ready = await socket.control("ready")
    # The connection broke before the first event, and meanwhile something happened.
    await edge.numbers(f"{entity}a", 1, start=5, kind="progress")
    async with edge.sse(session, headers={"Last-Event-ID": ready["cursor"]}) as stream:
        again = await stream.events(3)

    assert ready["snapshot"] == {"events": 2, "left_out": 0}
    assert n(again) == [4, 12, 5]


async def test_types_and_filter_of_a_session_hold_in_its_snapshot(edge: RunningEdge, entity: str) -> None:
    await _said(edge, entity)
    session = await edge.session(
        subjects=[f"job.{entity}a.*", f"job.{entity}b.*"], filter="data.n > 4", cursor="snapshot"
    )

    assert n((await edge.poll(session))["events"]) == [12]


async def test_a_webhook_cannot_begin_with_a_snapshot(edge: RunningEdge) -> None:
    answer = await edge.http.post(
        "/callbacks/sessions",
        json={"delivery_method": "webhook", "webhook_url": "http://127.0.0.1:9/x", "cursor": "snapshot"},
    )

    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (422, "bad_body", "cursor")


async def test_an_empty_snapshot_leads_to_what_comes_next(edge: RunningEdge, entity: str) -> None:
    session = await edge.session(subjects=[f"job.{entity}.*"], cursor="snapshot")
    page = await edge.poll(session)
    await edge.numbers(entity, 1, kind="progress")

    assert (page["events"], page["has_more"]) == ([], False)
    assert n((await edge.poll(session, f"?cursor={page['next']}"))["events"]) == [0]


async def test_campaigns_that_share_a_subject_are_all_in_a_snapshot_on_every_transport(
    edge: RunningEdge, entity: str
) -> None:
    said = [("a", 1), ("b", 2), ("a", 3), ("c", 4)]
    for campaign, clicks in said:
        data = {"campaignId": campaign, "metrics": {"clicks": clicks}}
        await edge.publish({"subject": f"campaign.{entity}.campaign_metrics", "data": data})
    session = await edge.session(subjects=[f"campaign.{entity}.>"], cursor="snapshot")

    async with edge.socket(session) as socket, edge.sse(session) as stream:
        ready = await socket.control("ready")
        page = await edge.poll(session)
        found = [await socket.events(3), await stream.events(3), page["events"]]

    assert ready["snapshot"] == page["snapshot"] == {"events": 3, "left_out": 0}
    for events in found:
        assert [(e["data"]["campaignId"], e["data"]["metrics"]["clicks"]) for e in events] == [
            ("b", 2),
            ("a", 3),
            ("c", 4),
        ]
