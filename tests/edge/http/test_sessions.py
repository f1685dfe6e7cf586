"""Sessions over HTTP: creating, reading, deleting, testing, and every way to get it wrong."""

from __future__ import annotations

from typing import Any

import pytest

from edge.errors import TITLES
from tests.edge.conftest import RunningEdge
from tests.waiting import eventually


async def test_a_session_is_made_read_listed_and_deleted(edge: RunningEdge) -> None:
    made = await edge.http.post(
        "/callbacks/sessions", json={"delivery_method": "websocket", "events": ["thinking", "progress"], "timeout": 30}
    )
    session = made.json()["session_id"]

    assert made.status_code == 201
    assert made.headers["location"] == f"/callbacks/sessions/{session}"
    assert made.json()["events"] == ["thinking", "progress"]
    assert (await edge.http.get(f"/callbacks/sessions/{session}")).json() == made.json()
    assert session in [
        s["session_id"] for s in (await edge.http.get("/callbacks/sessions?limit=1000")).json()["sessions"]
    ]
    assert (await edge.http.delete(f"/callbacks/sessions/{session}")).status_code == 204
    for method, path in (
        ("GET", ""),
        ("DELETE", ""),
        ("GET", "/stats"),
        ("GET", "/events"),
        ("GET", "/sse"),
        ("POST", "/test"),
    ):
        gone = await edge.http.request(method, f"/callbacks/sessions/{session}{path}")
        assert (gone.status_code, gone.json()["code"]) == (404, "session_not_found"), path


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ([], "bad_body"),
        ("text", "bad_body"),
        ({"delivery_method": "pigeon"}, "bad_body"),
        ({"colour": "red"}, "unknown_field"),
        ({"events": "progress"}, "bad_body"),
        ({"events": ["Bad Type"]}, "bad_body"),
        ({"events": [1]}, "bad_body"),
        ({"events": ["a"] * 129}, "bad_body"),
        ({"subjects": ["a..b"]}, "bad_pattern"),
        ({"subjects": ["agent.>.x"]}, "bad_pattern"),
        ({"subjects": ["a.b.c"] * 65}, "bad_body"),
        ({"filter": "data.x >"}, "bad_filter"),
        ({"filter": 7}, "bad_body"),
        ({"filter": "x" * 2001}, "bad_body"),
        ({"cursor": "nope"}, "bad_cursor"),
        ({"cursor": 7}, "bad_body"),
        ({"since": "yesterday"}, "bad_cursor"),
        ({"last": -1}, "bad_cursor"),
        ({"last": 1, "cursor": "now"}, "bad_cursor"),
        ({"include_intermediate_results": "yes"}, "bad_body"),
        ({"dialect": "latin"}, "bad_body"),
        ({"delivery_method": "webhook"}, "missing_field"),
        ({"delivery_method": "webhook", "webhook_url": "ftp://x/"}, "bad_webhook"),
        ({"delivery_method": "webhook", "webhook_url": "http://10.0.0.1/"}, "bad_webhook"),
        (
            {"delivery_method": "webhook", "webhook_url": "http://127.0.0.1/", "headers": {"a": "b\r\nc: d"}},
            "bad_webhook",
        ),
    ],
)
async def test_a_bad_session_is_refused_with_a_stable_code(edge: RunningEdge, body: Any, code: str) -> None:
    answer = await edge.http.post("/callbacks/sessions", json=body)

    assert answer.json()["code"] == code, answer.text
    assert answer.status_code == TITLES[code][0]
    assert answer.headers["content-type"] == "application/problem+json"


async def test_bodies_that_are_no_json_or_too_large_are_refused(edge: RunningEdge) -> None:
    for path in ("/callbacks/sessions", "/events"):
        broken = await edge.http.post(path, content=b'{"a":')
        large = await edge.http.post(path, content=b'"' + b"x" * (1024 * 1024) + b'"')

        assert (broken.status_code, broken.json()["code"]) == (400, "bad_json")
        assert (large.status_code, large.json()["code"]) == (413, "body_too_large")


async def test_a_test_event_travels_like_a_real_one_and_is_marked(edge: RunningEdge) -> None:
    session = await edge.session(subjects=None, events=["completion"])
    answer = await edge.http.post(
        f"/callbacks/sessions/{session}/test",
        json={"event_type": "progress", "test_data": {"message": "Test callback", "progress": 0.5}},
    )
    async with edge.socket(session) as socket:
        (event,) = await socket.events(1)

    assert answer.status_code == 200
    assert event["test"] is True
    assert (event["event_type"], event["data"]) == ("progress", {"message": "Test callback", "progress": 0.5})
    assert event["cursor"] == answer.json()["cursor"]


@pytest.mark.parametrize(
    ("view", "named"), [({"subjects": ["job.x.>"]}, "subjects"), ({"subjects": None, "filter": "data.n > 1"}, "filter")]
)
async def test_a_test_event_that_the_session_does_not_match_is_no_success(
    edge: RunningEdge, view: dict[str, Any], named: str
) -> None:
    reader = await edge.session(**view)
    webhook = await edge.session(delivery_method="webhook", webhook_url="http://127.0.0.1:9/", **view)

    for session, query in ((reader, ""), (webhook, "?wait=60")):
        said = (await edge.http.post(f"/callbacks/sessions/{session}/test{query}", json={})).json()
        assert (said["status"], said["success"]) == ("not_matched", False)
        assert named in said["detail"] and f"session.{session}." in said["detail"]


async def test_a_test_event_reaches_a_session_that_names_its_own_subject(edge: RunningEdge) -> None:
    session = await edge.session()
    own = {"subjects": [f"session.{session}.>"], "filter": "data.n > 1"}
    assert (await edge.http.patch(f"/callbacks/sessions/{session}", json=own)).status_code == 200

    answer = await edge.http.post(f"/callbacks/sessions/{session}/test", json={"test_data": {"n": 2}})

    async with edge.socket(session) as socket:
        (event,) = await socket.events(1)
    assert answer.json()["success"] is True and event["data"] == {"n": 2}


async def test_a_bad_test_event_is_refused(edge: RunningEdge) -> None:
    session = await edge.session()
    for body, code in (
        ({"event_type": "Bad Type"}, "bad_event"),
        ({"event_type": 1}, "bad_body"),
        ({"test_data": []}, "bad_body"),
        ({"x": 1}, "unknown_field"),
        ([], "bad_body"),
    ):
        answer = await edge.http.post(f"/callbacks/sessions/{session}/test", json=body)
        assert answer.json()["code"] == code, answer.text


async def test_what_is_addressed_to_another_session_is_not_seen(edge: RunningEdge) -> None:
    mine, theirs = await edge.session(subjects=None), await edge.session(subjects=None)
    await edge.http.post(f"/callbacks/sessions/{theirs}/test", json={"event_type": "secret"})
    await edge.http.post(f"/callbacks/sessions/{mine}/test", json={"event_type": "mine"})

    seen = [
        event["event_type"] for event in (await edge.poll(mine))["events"] if event["subject"].startswith("session.")
    ]

    assert seen == ["mine"]


async def test_sessions_see_the_subjects_types_and_data_they_asked_for(edge: RunningEdge, entity: str) -> None:
    by_subject = await edge.session(subjects=[f"job.{entity}.>"])
    by_type = await edge.session(subjects=[f"job.{entity}.>"], events=["progress"])
    by_filter = await edge.session(subjects=[f"job.{entity}.>"], filter="data.n > 1")
    final = await edge.session(subjects=[f"job.{entity}.>"], include_intermediate_results=False)
    await edge.publish(
        {"subject": f"job.{entity}.progress", "data": {"n": 1}},
        {"subject": f"job.{entity}.output", "data": {"n": 2}},
        {"subject": f"job.{entity}x.output", "data": {"n": 3}},
        {"subject": f"job.{entity}.progress", "data": {"n": 4}},
    )

    async def seen(session: str) -> list[int]:
        return [event["data"]["n"] for event in (await edge.poll(session))["events"]]

    assert await seen(by_subject) == [1, 2, 4]
    assert await seen(by_type) == [1, 4]
    assert await seen(by_filter) == [2, 4]
    assert await seen(final) == [2]


async def test_overall_stats_add_up(edge: RunningEdge) -> None:
    session = await edge.session()
    stats = (await edge.http.get("/callbacks/stats")).json()

    assert stats["active_sessions"] >= 1 and stats["edges"] >= 1
    assert stats["events_sent"] == (
        stats["events_delivered"] + stats["events_failed"] + stats["queued_events"] + stats["events_dropped"]
    )
    assert (await edge.stats(session))["events_sent"] == 0


async def test_a_restarted_edge_serves_the_sessions_of_the_one_before(edge_factory, entity: str) -> None:  # type: ignore[no-untyped-def]
    async with edge_factory() as first:
        session = await first.session(subjects=[f"job.{entity}.>"])
        await first.numbers(entity, 3)
    async with edge_factory() as second, second.socket(session) as socket:
        assert [event["data"]["n"] for event in await socket.events(3)] == [0, 1, 2]


async def test_two_edges_serve_one_session(edge_factory, entity: str) -> None:  # type: ignore[no-untyped-def]
    async with edge_factory() as one, edge_factory() as other:
        session = await one.session(subjects=[f"job.{entity}.>"])
        async with one.socket(session) as left, other.socket(session) as right:
            await other.numbers(entity, 20)
            seen = [await socket.events(20) for socket in (left, right)]
            assert seen[0] == seen[1]

            async def agree() -> bool:
                # A process that is slow to answer the other is left out of its sum.
                stats = [await each.stats(session) for each in (one, other)]
                delivered, readers = stats[0]["events_delivered"], stats[0]["readers"]["websocket"]
                return stats[0] == stats[1] and (delivered, readers) == (40, 2)

            await eventually(agree)


async def test_deleting_on_one_edge_closes_readers_on_another(edge_factory, entity: str) -> None:  # type: ignore[no-untyped-def]
    async with edge_factory() as one, edge_factory() as other:
        session = await one.session(subjects=[f"job.{entity}.>"])
        async with other.socket(session) as socket:
            await socket.control("ready")
            await one.http.delete(f"/callbacks/sessions/{session}")
            bye = await socket.control("bye")
            assert (bye["reason"], bye["reconnect"]) == ("session_deleted", False)
            await socket.raw.wait_closed()
            assert socket.raw.close_code == 4504


async def test_a_change_takes_effect_for_connected_readers_without_loss(edge: RunningEdge, entity: str) -> None:
    session = await edge.session(subjects=[f"job.{entity}.a"])
    async with edge.socket(session) as socket:
        await edge.numbers(entity, 3, kind="a")
        assert [event["data"]["n"] for event in await socket.events(3)] == [0, 1, 2]
        changed = await edge.http.patch(
            f"/callbacks/sessions/{session}", json={"subjects": [f"job.{entity}.>"], "filter": "data.n < 9"}
        )
        assert changed.json()["subjects"] == [f"job.{entity}.>"]
        await edge.numbers(entity, 3, start=3, kind="b")
        await edge.numbers(entity, 3, start=8, kind="a")
        assert [event["data"]["n"] for event in await socket.events(4)] == [3, 4, 5, 8]
        await edge.http.patch(f"/callbacks/sessions/{session}", json={"filter": None})
        await edge.numbers(entity, 1, start=20, kind="b")
        assert [event["data"]["n"] for event in await socket.events(1)] == [20]


async def test_a_bad_change_is_refused_and_changes_nothing(edge: RunningEdge) -> None:
    session = await edge.session(name="mine")
    before = (await edge.http.get(f"/callbacks/sessions/{session}")).json()
    for body, code in (
        ({"delivery_method": "sse"}, "unknown_field"),
        ({"subjects": ["a..b"]}, "bad_pattern"),
        ({"filter": "data.x >"}, "bad_filter"),
        ({"webhook_url": "http://127.0.0.1/"}, "bad_body"),
        ([], "bad_body"),
    ):
        answer = await edge.http.patch(f"/callbacks/sessions/{session}", json=body)
        assert answer.json()["code"] == code, answer.text

    assert (await edge.http.get(f"/callbacks/sessions/{session}")).json() == before


@pytest.mark.slow
async def test_an_idle_session_is_deleted_and_one_that_is_read_stays(edge_factory, entity: str) -> None:  # type: ignore[no-untyped-def]
    async with edge_factory() as one, edge_factory() as other:
        idle, read, kept = await one.session(ttl=4), await one.session(ttl=4), await one.session(ttl=0)
        async with other.socket(read) as socket:
            await socket.control("ready")
            await eventually(lambda: _is_gone(one, idle))
            assert not await _is_gone(one, read)
            assert not await _is_gone(one, kept)
        await eventually(lambda: _is_gone(one, read))
        assert not await _is_gone(one, kept)


async def _is_gone(edge: RunningEdge, session: str) -> bool:
    return (await edge.http.get(f"/callbacks/sessions/{session}")).status_code == 404


async def test_the_list_tells_who_reads_each_session_where_that_is_asked(edge: RunningEdge) -> None:
    read, unread = await edge.session(), await edge.session()

    async def listed(query: str) -> dict[str, dict[str, Any]]:
        sessions = (await edge.http.get(f"/callbacks/sessions?limit=1000{query}")).json()["sessions"]
        return {each["session_id"]: each for each in sessions}

    async with edge.socket(read) as socket:
        await socket.control("ready")
        live = await listed("&live=true")
        assert (live[read]["has_websocket"], live[read]["has_sse"]) == (True, False)
        assert (live[unread]["has_websocket"], live[unread]["has_sse"]) == (False, False)
        assert "has_websocket" not in (await listed(""))[read]


async def test_sessions_are_searched_by_what_is_shown_of_them_and_listed_newest_first(
    edge: RunningEdge, entity: str
) -> None:
    hook = await edge.session(
        delivery_method="webhook", name=f"Nightly {entity}", webhook_url="http://127.0.0.1:9/in?key=geheim" + entity
    )
    reader = await edge.session(name="another", subjects=[f"job.{entity}.>"])

    async def found(query: str) -> list[str]:
        answer = await edge.http.get(f"/callbacks/sessions?limit=1000&{query}")
        return [each["session_id"] for each in answer.json()["sessions"]]

    assert await found(f"q=NIGHTLY {entity}") == [hook]
    assert await found(f"q={entity}&newest=true") == [reader, hook]
    assert await found(f"q={entity}") == [hook, reader]
    assert await found(f"q={entity}&delivery_method=webhook") == [hook]
    assert await found(f"q=geheim{entity}") == []
    live = (await edge.http.get(f"/callbacks/sessions?live=true&q={entity}&newest=true")).json()["sessions"]
    assert [each.get("endpoint_state") for each in live] == [None, "closed"]


async def test_a_session_s_stats_say_who_reads_it_by_what_and_since_when(edge: RunningEdge, entity: str) -> None:
    session = await edge.session(subjects=[f"job.{entity}.>"])
    async with edge.socket(session) as socket, edge.sse(session) as stream:
        await socket.control("ready")
        await stream.next()
        readers = (await edge.stats(session))["connections"]

    assert [(each["transport"], each["state"], each["lag_events"]) for each in readers] == [
        ("websocket", "live", 0),
        ("sse", "live", 0),
    ]
    assert all(each["since"].endswith("Z") for each in readers)
