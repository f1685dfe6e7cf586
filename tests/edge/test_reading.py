"""Reading a session by WebSocket, SSE and polling: one cursor, one order, nothing lost and nothing twice."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import websockets

from edge.settings import SessionSettings
from router.nats.embedded import EmbeddedServer, EmbeddedSettings, free_port
from tests.edge.conftest import EdgeFactory, RunningEdge
from tests.waiting import PATIENCE, eventually


def n(events: list[dict]) -> list[int]:
    return [event["data"]["n"] for event in events]


async def test_what_was_said_between_creation_and_the_first_reader_is_read(edge: RunningEdge, entity: str) -> None:
    session = await edge.session(subjects=[f"job.{entity}.>"])
    await edge.numbers(entity, 5)

    async with edge.socket(session) as socket:
        ready = await socket.control("ready")
        assert ready["session_id"] == session
        assert n(await socket.events(5)) == [0, 1, 2, 3, 4]
        await edge.numbers(entity, 5, start=5)
        assert n(await socket.events(5)) == [5, 6, 7, 8, 9]


async def test_the_first_thing_on_sse_is_a_named_ready_with_an_id(edge: RunningEdge, entity: str) -> None:
    session = await edge.session(subjects=[f"job.{entity}.>"])
    async with edge.sse(session) as stream:
        name, cursor, data = await stream.next()

        assert name == "ready" and cursor == data["cursor"]
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert "no-transform" in stream.headers["cache-control"]
        assert stream.headers["x-accel-buffering"] == "no"


async def test_one_cursor_goes_on_over_sse_polling_and_websocket(edge_factory: EdgeFactory, entity: str) -> None:
    async with edge_factory() as one, edge_factory() as other:
        session = await one.session(subjects=[f"job.{entity}.>"])
        await one.numbers(entity, 40)
        async with one.sse(session) as stream:
            first = await stream.events(10)
        page = await one.poll(session, f"?cursor={first[-1]['cursor']}&limit=10")
        async with other.socket(session, f"?cursor={page['next']}") as socket:
            rest = await socket.events(20)

        assert n(first + page["events"] + rest) == list(range(40))
        assert page["has_more"] is True


async def test_the_last_event_id_header_wins_over_the_query(edge: RunningEdge, entity: str) -> None:
    session = await edge.session(subjects=[f"job.{entity}.>"])
    cursors = await edge.numbers(entity, 10)

    async with edge.sse(session, f"?cursor={cursors[0]}", headers={"Last-Event-ID": cursors[6]}) as stream:
        assert n(await stream.events(3)) == [7, 8, 9]


async def test_last_since_earliest_and_now(edge: RunningEdge, entity: str) -> None:
    session = await edge.session(subjects=[f"job.{entity}.>"])
    await edge.numbers(entity, 10)
    seen = (await edge.poll(session))["events"]

    assert n((await edge.poll(session, "?last=3"))["events"]) == [7, 8, 9]
    assert n((await edge.poll(session, "?last=0"))["events"]) == []
    assert n((await edge.poll(session, "?cursor=earliest"))["events"]) == list(range(10))
    assert n((await edge.poll(session, "?cursor=now"))["events"]) == []
    assert n((await edge.poll(session, f"?since={seen[0]['timestamp']}"))["events"])[-3:] == [7, 8, 9]
    assert n((await edge.poll(session, "?since=undefined&cursor="))["events"]) == list(range(10))


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


@contextlib.asynccontextmanager
async def _scanning(
    edge_factory: EdgeFactory, entity: str, scan_events: int = 300
) -> AsyncIterator[tuple[RunningEdge, str]]:
    """An edge that scans little per request, with 2,000 events that the session does not show before one that it does."""
    async with edge_factory(session=SessionSettings(heartbeat=2.0, scan_events=scan_events)) as edge:
        session = await edge.session(
            delivery_method="polling", subjects=[f"job.{entity}.>"], filter="data.n == -1 || data.n == -2"
        )
        for start in range(0, 2000, 500):
            await edge.numbers(entity, 500, start=start)
        await edge.numbers(entity, 1, start=-1)
        yield edge, session


async def test_a_poll_that_scans_much_and_finds_nothing_answers_with_a_place_to_go_on_from(
    edge_factory: EdgeFactory, entity: str
) -> None:
    async with _scanning(edge_factory, entity) as (edge, session):
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
    async with _scanning(edge_factory, entity) as (edge, session):
        found: list[int] = []
        for _ in range(200):
            page = await edge.poll(session, query)
            found = n(page["events"])
            if found:
                break
            assert page["has_more"] is True

        assert found == [-1]


async def test_a_long_poll_answers_at_once_where_more_is_to_be_scanned(edge_factory: EdgeFactory, entity: str) -> None:
    async with _scanning(edge_factory, entity) as (edge, session):
        page = await asyncio.wait_for(edge.poll(session, "?wait=50"), 45)

        assert page["events"] == [] and page["has_more"] is True


async def test_a_stream_that_replays_what_it_does_not_show_gets_its_one_event(
    edge_factory: EdgeFactory, entity: str
) -> None:
    async with _scanning(edge_factory, entity) as (edge, session):
        async with edge.sse(session, "?cursor=earliest") as stream:
            assert n(await stream.events(1)) == [-1]
        await edge.numbers(entity, 1, start=-2)
        assert n((await edge.poll(session, "?last=1"))["events"]) == [-2]


async def test_a_long_poll_waits_for_the_next_event(edge: RunningEdge, entity: str) -> None:
    session = await edge.session(delivery_method="polling", subjects=[f"job.{entity}.>"])
    waiting = asyncio.ensure_future(edge.poll(session, "?wait=50"))
    await eventually(lambda: _polls(edge, session, 1))
    await edge.numbers(entity, 1)

    page = await asyncio.wait_for(waiting, PATIENCE)

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


async def test_a_bad_cursor_on_sse_is_a_400_and_on_a_socket_said_in_band(edge: RunningEdge) -> None:
    session = await edge.session()
    answer = await edge.http.get(f"/callbacks/sessions/{session}/sse?cursor=nope")
    async with edge.socket(session, "?cursor=nope") as socket:
        said = await socket.next()
        await socket.raw.wait_closed()

    assert answer.json()["code"] == "bad_cursor"
    assert (said["control"], said["code"]) == ("error", "bad_cursor")
    assert socket.raw.close_code == 4506


async def test_an_unknown_session_is_said_in_band_on_a_socket(edge: RunningEdge) -> None:
    async with edge.socket("sess_" + "0" * 24) as socket:
        said = await socket.next()
        await socket.raw.wait_closed()

    assert said["code"] == "session_not_found"
    assert socket.raw.close_code == 4505


async def test_a_foreign_or_future_cursor_is_answered_by_a_gap(edge: RunningEdge, entity: str) -> None:
    session = await edge.session(subjects=[f"job.{entity}.>"])
    (cursor,) = await edge.numbers(entity, 1)
    epoch = cursor.split("-")[1]

    async with edge.socket(session, "?cursor=1-00000000-000000000001") as foreign:
        ready = await foreign.control("ready")
        gap = await foreign.control("gap")
        assert ready["recovered"] is False and gap["reset"] is True
        assert n(await foreign.events(1)) == [0]
    async with edge.socket(session, f"?cursor=1-{epoch}-ffffffffff00") as future:
        assert (await future.control("gap"))["reset"] is True
        await edge.numbers(entity, 1, start=1)
        assert n(await future.events(1)) == [1]


async def test_two_readers_of_one_session_take_nothing_from_one_another(edge: RunningEdge, entity: str) -> None:
    session = await edge.session(subjects=[f"job.{entity}.>"])
    async with edge.socket(session) as first:
        async with edge.socket(session) as second:
            await edge.numbers(entity, 10)
            assert n(await first.events(10)) == n(await second.events(10)) == list(range(10))
            assert (await edge.stats(session))["events_delivered"] == 20
        await edge.numbers(entity, 10, start=10)
        assert n(await first.events(10)) == list(range(10, 20))
        stats = await eventually(lambda: _settled(edge, session, 1))
        assert stats["has_websocket"] is True


async def _settled(edge: RunningEdge, session: str, readers: int) -> dict | None:
    stats = await edge.stats(session)
    return stats if stats["readers"]["websocket"] == readers else None


async def test_a_reader_that_does_not_read_costs_nobody_else_and_catches_up(
    edge_factory: EdgeFactory, entity: str
) -> None:
    limits = SessionSettings(mailbox_events=50, mailbox_bytes=64 * 1024)
    async with edge_factory(session=limits) as edge:
        session = await edge.session(subjects=[f"job.{entity}.>"])
        async with edge.socket(session, max_queue=1) as lazy, edge.socket(session) as quick:
            await lazy.control("ready")
            for batch in range(40):
                await edge.publish(
                    *(
                        {"subject": f"job.{entity}.output", "data": {"n": batch * 50 + k, "x": "y" * 4000}}
                        for k in range(50)
                    )
                )
            assert n(await quick.events(2000)) == list(range(2000))
            stats = await edge.stats(session)
            assert stats["events_sent"] == sum(
                stats[k] for k in ("events_delivered", "events_failed", "queued_events", "events_dropped")
            )
            assert stats["spills"] >= 1

            assert n(await lazy.events(2000)) == list(range(2000))


async def test_a_client_s_ping_is_answered_and_nonsense_is_named(edge: RunningEdge, entity: str) -> None:
    # Of its own subjects: what other tests leave to be told would come in between.
    session = await edge.session(subjects=[f"job.{entity}.>"])
    async with edge.socket(session) as socket:
        await socket.control("ready")
        for said, code in (("x", "bad_json"), ("[]", "unknown_control"), ('{"control":"dance"}', "unknown_control")):
            await socket.raw.send(said)
            assert (await socket.control("error"))["code"] == code
        await socket.raw.send('{"control":"ping","id":7}')
        assert (await socket.control("pong"))["id"] == 7


async def test_heartbeats_come_and_the_cursor_moves_past_what_is_filtered_out(
    edge_factory: EdgeFactory, entity: str
) -> None:
    async with edge_factory(session=SessionSettings(heartbeat=0.3)) as edge:
        session = await edge.session(subjects=[f"job.{entity}.wanted"])
        async with edge.socket(session) as socket:
            ready = await socket.control("ready")
            (cursor,) = await edge.publish({"subject": f"job.{entity}.other", "data": {}})
            async with asyncio.timeout(PATIENCE):
                while (said := await socket.next()).get("cursor", "") < cursor:
                    assert said["control"] in ("heartbeat", "position")
            assert said["cursor"] > ready["cursor"]


async def test_readers_go_on_after_the_nats_server_was_killed(edge_factory: EdgeFactory, tmp_path: Path) -> None:
    server = EmbeddedServer(EmbeddedSettings(tmp_path, free_port()))
    await server.start()
    try:
        async with edge_factory(nats=server.url) as edge:
            session = await edge.session(subjects=["job.a.>"])
            async with edge.socket(session) as socket, edge.sse(session) as stream:
                await edge.numbers("a", 5)
                assert n(await socket.events(5)) == [0, 1, 2, 3, 4]
                assert server.process is not None
                server.process.kill()
                await server.process.wait()
                late = asyncio.ensure_future(edge.numbers("a", 5, start=5))
                assert (await edge.http.get("/livez")).status_code == 200
                await server.start()
                await late
                assert n(await socket.events(5)) == [5, 6, 7, 8, 9]
                assert n(await stream.events(10)) == list(range(10))
    finally:
        await server.stop()


async def test_a_stopping_edge_says_bye_with_the_cursor_to_come_back_with(
    edge_factory: EdgeFactory, entity: str
) -> None:
    async with edge_factory() as other:
        session = await other.session(subjects=[f"job.{entity}.>"])
        async with edge_factory() as edge:
            raw = edge.socket(session)
            socket = await raw.__aenter__()
            await edge.numbers(entity, 3)
            assert n(await socket.events(3)) == [0, 1, 2]
        bye = await socket.control("bye")
        assert (bye["reason"], bye["reconnect"], bye["code"]) == ("shutdown", True, 4001)
        await other.numbers(entity, 2, start=3)
        async with other.socket(session, f"?cursor={bye['cursor']}") as again:
            assert n(await again.events(2)) == [3, 4]
        await raw.__aexit__(None, None, None)


async def test_a_long_connection_is_asked_to_come_back_and_goes_on(edge_factory: EdgeFactory, entity: str) -> None:
    async with edge_factory(session=SessionSettings(heartbeat=0.3, rotate=3.0)) as edge:
        session = await edge.session(subjects=[f"job.{entity}.>"])
        await edge.numbers(entity, 3)
        async with edge.socket(session) as socket:
            assert n(await socket.events(3)) == [0, 1, 2]
            while (bye := await socket.next())["control"] != "bye":
                pass
            await socket.raw.wait_closed()
            assert (bye["reason"], bye["reconnect"], socket.raw.close_code) == ("rotated", True, 4002)
        await edge.numbers(entity, 2, start=3)
        async with edge.socket(session, f"?cursor={bye['cursor']}") as again:
            assert n(await again.events(2)) == [3, 4]


async def test_a_poll_brings_no_more_than_fits_one_answer(edge: RunningEdge, entity: str) -> None:
    session = await edge.session(subjects=[f"job.{entity}.>"], delivery_method="polling")
    for n in range(12):
        await edge.publish({"subject": f"job.{entity}.said", "data": {"n": n, "text": "w" * 500_000}})
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


@pytest.fixture(params=[True, False], ids=["lane", "plain"])
async def either(edge_factory: EdgeFactory, request: pytest.FixtureRequest) -> AsyncIterator[RunningEdge]:
    async with edge_factory(lane=request.param) as edge:
        yield edge


async def test_a_websocket_may_say_in_its_first_message_where_it_begins(either: RunningEdge, entity: str) -> None:
    session = await either.session(subjects=[f"job.{entity}.>"])
    cursors = await either.publish(*({"subject": f"job.{entity}.said", "data": {"n": n}} for n in range(4)))
    async with either.socket(session, "?start=message") as socket:
        await socket.raw.send('{"control":"ping","id":1}')
        assert (await socket.next())["control"] == "pong"
        await socket.raw.send(json.dumps({"control": "resume", "cursor": cursors[1]}))
        ready = await socket.next()
        assert (ready["control"], ready["recovered"], ready["cursor"]) == ("ready", True, cursors[1])
        assert [event["data"]["n"] for event in await socket.events(2)] == [2, 3]
    async with either.socket(session, "?start=message") as socket:
        await socket.raw.send('{"control":"resume","last":1}')
        assert [event["data"]["n"] for event in await socket.events(1)] == [3]


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ('{"control":"resume","cursor":"nonsense"}', "bad_cursor"),
        ('{"control":"resume","last":"many"}', "bad_cursor"),
        ('{"control":"dance"}', "resume_expected"),
        ("{", "resume_expected"),
    ],
)
async def test_a_first_message_that_is_no_place_is_told_so_and_ends_it(
    either: RunningEdge, said: str, code: str
) -> None:
    session = await either.session()
    async with either.socket(session, "?start=message") as socket:
        await socket.raw.send(said)
        assert (await socket.next())["code"] == code
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await socket.raw.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4506
