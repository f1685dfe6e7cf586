"""The read path of the Durable Streams protocol: offsets, pages, long polls, SSE, and streams that are closed with their run."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from edge.settings import SessionSettings
from router.cursor import Cursor
from tests.edge.auth.conftest import SecuredFactory, name, secured
from tests.edge.conftest import EdgeFactory, RunningEdge
from tests.edge.surfaces.conftest import streaming
from tests.waiting import eventually

NEXT, CLOSED, UP_TO_DATE, CURSOR = "Stream-Next-Offset", "Stream-Closed", "Stream-Up-To-Date", "Stream-Cursor"


async def publish(edge: RunningEdge, run: str, *events: tuple[str, dict[str, Any]]) -> list[str]:
    return await edge.publish(*({"subject": f"agent.{run}.{kind}", "data": data} for kind, data in events))


BEGUN = [("workflow_start", {"name": "chat"}), ("token", {"content": "Hel"}), ("token", {"content": "lo"})]
END = ("completion", {"success": True})


def types(answer: httpx.Response) -> list[str]:
    return [event["event_type"] for event in answer.json()]


def events(said: bytes) -> list[tuple[str, Any]]:
    """The events of a stream: names and what was said."""
    found = []
    for block in said.decode().split("\n\n"):
        lines = dict(line.split(":", 1) for line in block.split("\n") if line)
        if lines:
            found.append((lines["event"].strip(), json.loads(lines["data"])))
    return found


async def test_a_run_is_read_from_its_beginning_and_on_from_each_offset_until_it_is_closed(
    edge: RunningEdge, entity: str
) -> None:
    await publish(edge, entity, ("workflow_start", {"name": "former"}), END)
    cursors = await publish(edge, entity, *BEGUN)
    path = f"/streams/runs/{entity}"

    first = await edge.http.get(path)
    same = await edge.http.get(path, params={"offset": "-1"})
    middle = await edge.http.get(path, params={"offset": cursors[0]})
    tail = await edge.http.get(path, params={"offset": first.headers[NEXT]})
    (end,) = await publish(edge, entity, END)
    rest = await edge.http.get(path, params={"offset": tail.headers[NEXT]})
    behind = await edge.http.get(path, params={"offset": rest.headers[NEXT]})
    head = await edge.http.head(path)

    assert types(first) == types(same) == ["workflow_start", "token", "token"]
    assert types(middle) == ["token", "token"]
    assert [answer.headers["content-type"] for answer in (first, tail, head)] == ["application/json"] * 3
    assert (tail.json(), tail.headers[UP_TO_DATE], CLOSED in tail.headers) == ([], "true", False)
    assert (types(rest), rest.headers[CLOSED], rest.headers[NEXT]) == (["completion"], "true", end)
    assert (behind.json(), behind.headers[CLOSED], behind.headers[NEXT]) == ([], "true", end)
    assert (head.headers[NEXT], head.headers[CLOSED], head.headers["cache-control"]) == (end, "true", "no-store")
    assert first.headers[NEXT] == cursors[2] < end


async def test_offsets_are_the_cursors_of_every_transport(edge: RunningEdge, entity: str) -> None:
    await edge.numbers(entity, 3)
    path, session = f"/streams/job.{entity}.>", await edge.session(subjects=[f"job.{entity}.>"])
    whole = await edge.http.get(path)

    polled = await edge.poll(session, f"?cursor={whole.json()[0]['cursor']}")
    assert [event["data"]["n"] for event in polled["events"]] == [1, 2]
    back = await edge.http.get(path, params={"offset": polled["events"][0]["cursor"]})
    assert [event["data"]["n"] for event in back.json()] == [2]


async def test_now_has_nothing_of_the_past_and_a_long_poll_brings_what_comes(edge: RunningEdge, entity: str) -> None:
    await edge.numbers(entity, 2)
    path = f"/streams/job.{entity}.>"

    now = await edge.http.get(path, params={"offset": "now"})
    silent = await edge.http.get(path, params={"offset": "now", "live": "long-poll", "timeout": "0"})
    again = {"offset": now.headers[NEXT], "live": "long-poll"}
    waiting = asyncio.ensure_future(edge.http.get(path, params=again))
    assert edge.edge is not None
    readers = edge.edge.hub.readers
    assert await eventually(lambda: len(readers))
    await edge.numbers(entity, 1, start=2)
    came = await waiting
    leap = await edge.http.get(path, params={**again, "cursor": came.headers[CURSOR]})

    assert (now.json(), now.headers[UP_TO_DATE], now.headers["cache-control"]) == ([], "true", "no-store")
    assert "etag" not in now.headers
    assert (silent.status_code, silent.headers[UP_TO_DATE], silent.headers[NEXT]) == (204, "true", now.headers[NEXT])
    assert silent.headers[CURSOR].isdigit()
    assert [event["data"]["n"] for event in came.json()] == [2]
    assert int(leap.headers[CURSOR]) > int(came.headers[CURSOR])


async def test_a_closed_stream_lets_nobody_wait(edge: RunningEdge, entity: str) -> None:
    (*_, end) = await publish(edge, entity, *BEGUN, END)
    path = f"/streams/runs/{entity}"

    for offset in (end, "now"):
        poll = await edge.http.get(path, params={"offset": offset, "live": "long-poll"})
        stream = await edge.http.get(path, params={"offset": offset, "live": "sse"})
        assert (poll.status_code, poll.headers[CLOSED], poll.headers[NEXT]) == (204, "true", end)
        assert events(stream.content) == [
            ("control", {"streamNextOffset": end, "upToDate": True, "streamClosed": True})
        ]


async def test_sse_says_behind_each_page_where_to_go_on_and_closes_with_the_run(
    either: RunningEdge, entity: str
) -> None:
    cursors = await publish(either, entity, *BEGUN)

    query = {"offset": "-1", "live": "sse", "cursor": "1"}
    path = f"/streams/runs/{entity}"
    async with streaming(either, path, params=query) as stream, streaming(either, path, params=query) as other:
        await stream.until(b'"upToDate":true')
        await other.until(b'"upToDate":true')
        (token,) = await publish(either, entity, ("token", {"content": "!"}))
        await stream.until(token.encode())
        await other.until(token.encode())
        (end,) = await publish(either, entity, END)
        said, same = events(await stream.rest()), events(await other.rest())

    # The second may have come in the next interval.
    for kind, each in same:
        if kind == "control" and "streamCursor" in each:
            each["streamCursor"] = said[1][1]["streamCursor"]
    assert same == said
    assert stream.answer.headers["content-type"] == "text/event-stream"
    interval = said[1][1]["streamCursor"]
    assert int(interval) > 1
    assert [(name, [event["event_type"] for event in each]) for name, each in said if name == "data"] == [
        ("data", ["workflow_start", "token", "token"]),
        ("data", ["token"]),
        ("data", ["completion"]),
    ]
    assert [each for name, each in said if name == "control"] == [
        {"streamNextOffset": cursors[2], "streamCursor": interval, "upToDate": True},
        {"streamNextOffset": token, "streamCursor": interval, "upToDate": True},
        {"streamNextOffset": end, "upToDate": True, "streamClosed": True},
    ]


async def test_sse_of_a_stream_that_is_closed_already_brings_it_to_its_end_and_no_further(
    edge: RunningEdge, entity: str
) -> None:
    (*_, end) = await publish(edge, entity, *BEGUN, END)
    await publish(edge, entity, ("state", {"status": "completed"}))

    answer = await edge.http.get(f"/streams/runs/{entity}", params={"offset": "-1", "live": "sse"})

    assert [name for name, _ in events(answer.content)] == ["data", "control"]
    assert events(answer.content)[1][1] == {"streamNextOffset": end, "upToDate": True, "streamClosed": True}


async def test_a_page_that_a_client_has_is_not_sent_again_unless_it_has_changed(edge: RunningEdge, entity: str) -> None:
    await publish(edge, entity, *BEGUN)
    path = f"/streams/runs/{entity}"
    tag = (await edge.http.get(path)).headers["etag"]

    kept = await edge.http.get(path, headers={"If-None-Match": f'"other", W/{tag}'})
    await publish(edge, entity, END)
    closed = await edge.http.get(path, headers={"If-None-Match": tag})

    assert (kept.status_code, kept.content, kept.headers["etag"]) == (304, b"", tag)
    assert (closed.status_code, closed.headers[CLOSED]) == (200, "true")


async def test_a_full_page_says_that_there_is_more_and_may_be_cached(edge: RunningEdge, entity: str) -> None:
    for start in (0, 600):
        await edge.numbers(entity, 600, start=start)
    path = f"/streams/job.{entity}.output"

    first = await edge.http.get(path)
    second = await edge.http.get(path, params={"offset": first.headers[NEXT]})

    assert (len(first.json()), UP_TO_DATE in first.headers) == (1000, False)
    assert "max-age=60" in first.headers["cache-control"] and first.headers["content-encoding"] == "gzip"
    assert (len(second.json()), second.headers[UP_TO_DATE]) == (200, "true")


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("?offset=", 400, "bad_parameter"),
        ("?offset=a&offset=b", 400, "bad_parameter"),
        ("?offset=0,1", 400, "bad_cursor"),
        ("?live=long-poll", 400, "bad_parameter"),
        ("?offset=-1&live=forever", 400, "bad_parameter"),
        ("?offset=-1&timeout=nan", 400, "bad_parameter"),
        ("?offset=1-00000000-000000000007", 410, "offset_gone"),
        ("?offset=1-00000000-000000000007&live=sse", 410, "offset_gone"),
    ],
)
async def test_a_bad_request_is_refused_and_a_place_that_is_gone_is_told(
    edge: RunningEdge, entity: str, query: str, status: int, code: str
) -> None:
    await edge.numbers(entity, 1)

    answer = await edge.http.get(f"/streams/job.{entity}.>{query}")

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_what_is_not_there_and_what_is_not_done_here(edge: RunningEdge, entity: str) -> None:
    unknown = await edge.http.get(f"/streams/runs/{entity}")
    written = [await edge.http.request(each, f"/streams/runs/{entity}") for each in ("PUT", "POST", "DELETE")]
    other = await edge.http.get(f"/streams/job.{entity}.>?offset=-1&unknown=1")

    assert (unknown.status_code, unknown.json()["code"]) == (404, "run_not_found")
    assert [each.status_code for each in written] == [405] * 3
    assert (other.status_code, other.json()) == (200, [])


async def test_a_turn_of_a_thread_has_nothing_of_the_others(edge: RunningEdge, entity: str) -> None:
    async def say(*events: tuple[str, dict[str, Any]]) -> list[str]:
        return await edge.publish(*({"subject": f"thread.{entity}.{kind}", "data": data} for kind, data in events))

    before = await say(("workflow_start", {"incarnation": "a"}), ("token", {"content": "1"}))
    await say(("workflow_start", {"incarnation": "b"}), ("token", {"content": "2"}), ("token", {"content": "3"}))

    first = await edge.http.get(f"/streams/runs/{entity}:a")
    second = await edge.http.get(f"/streams/runs/{entity}:b", params={"offset": before[0]})

    assert [event["data"].get("content") for event in first.json()] == [None, "1"]
    assert first.headers[CLOSED] == "true"
    assert [event["data"].get("content") for event in second.json()] == [None, "2", "3"]
    assert CLOSED not in second.headers


async def test_a_stream_needs_a_grant(secured: SecuredFactory, name: str) -> None:
    async with secured() as edge:
        mine = edge.as_(name, read=[f"job.{name}.>"])
        answers = [await mine.http.get(f"/streams/{each}") for each in (f"job.{name}.>", "job.>")]
        nobody = await edge.http.get(f"/streams/job.{name}.>")
        path = f"/streams/job.{name}.>"
        ticket = (await mine.http.post("/tickets", json={"path": path})).json()["ticket"]
        async with streaming(edge, path, params={"offset": "now", "live": "sse", "ticket": ticket}) as stream:
            await stream.until(b'"upToDate":true')

    assert [answer.status_code for answer in (*answers, nobody)] == [200, 403, 401]


async def test_a_quiet_stream_moves_its_client_s_offset(edge_factory: EdgeFactory, entity: str) -> None:
    async with edge_factory(session=SessionSettings(heartbeat=0.2)) as edge:
        path = f"/streams/job.{entity}.>"
        async with streaming(edge, path, params={"offset": "now", "live": "sse"}) as stream:
            await stream.until(b"event: control")
            (cursor,) = await edge.publish({"subject": f"job.{entity}-other.output", "data": {}})
            place = Cursor.parse(cursor).sequence
            while True:
                last = [each for name, each in events(_whole(stream.said)) if name == "control"][-1]
                if Cursor.parse(last["streamNextOffset"]).sequence >= place:
                    break
                await stream.more()

    assert last["upToDate"] is True


def _whole(said: bytes) -> bytes:
    """Events that have come whole, without comments."""
    whole = said[: said.rfind(b"\n\n") + 2]
    return b"\n".join(line for line in whole.split(b"\n") if not line.startswith(b":"))


__all__ = ["name", "secured"]
