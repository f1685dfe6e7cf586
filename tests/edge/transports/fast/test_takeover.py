"""The fast lane and the plain ASGI path: the same behaviour on both, and what only the lane does itself."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os

import pytest
import websockets

from edge.hub import heartbeats
from edge.settings import FastPathSettings, SessionSettings
from edge.transports import frames
from tests.edge.conftest import RunningEdge, n
from tests.edge.transports.fast.raw import connected, handshake, next_of
from tests.edge.transports.fast.running import PATHS, Path, running
from tests.waiting import eventually, in_time


async def metric(edge: RunningEdge, line: str) -> float:
    text = (await edge.http.get("/metrics")).text
    found = [row for row in text.splitlines() if row.startswith(line + " ")]
    return float(found[0].rsplit(" ", 1)[1]) if found else 0.0


# The same on both paths


async def test_a_socket_and_a_stream_read_what_was_and_what_comes(edge: RunningEdge, entity: str) -> None:
    session = await edge.session(subjects=[f"job.{entity}.>"])
    await edge.numbers(entity, 5)
    async with edge.socket(session) as socket, edge.sse(session) as stream:
        ready = await socket.control("ready")
        name, cursor, data = await stream.next()
        assert ready["session_id"] == session and ready["recovered"] is True
        assert name == "ready" and cursor == data["cursor"]
        assert n(await socket.events(5)) == n(await stream.events(5)) == [0, 1, 2, 3, 4]

        await edge.numbers(entity, 50, start=5)

        assert n(await socket.events(50)) == n(await stream.events(50)) == list(range(5, 55))


async def test_a_reader_comes_back_at_its_cursor_on_the_other_transport(edge: RunningEdge, entity: str) -> None:
    session = await edge.session(subjects=[f"job.{entity}.>"])
    await edge.numbers(entity, 30)
    async with edge.socket(session, max_queue=None) as socket:
        first = await socket.events(10)
    async with edge.sse(session, headers={"Last-Event-ID": first[-1]["cursor"]}) as stream:
        second = await stream.events(10)
    async with edge.socket(session, f"?cursor={second[-1]['cursor']}", max_queue=None) as socket:
        third = await socket.events(10)

    assert n(first + second + third) == list(range(30))


async def test_who_reads_a_deleted_session_is_told_and_closed(edge: RunningEdge, entity: str) -> None:
    session = await edge.session(subjects=[f"job.{entity}.>"])
    async with edge.socket(session) as socket, edge.sse(session) as stream:
        await socket.control("ready")
        await stream.next()
        await edge.numbers(entity, 3)
        assert (await edge.http.delete(f"/callbacks/sessions/{session}")).status_code == 204

        assert n(await socket.events(3)) == n(await stream.events(3)) == [0, 1, 2]
        bye = await socket.control("bye")
        await socket.raw.wait_closed()
        name, cursor, data = await stream.next()

        assert (bye["reason"], bye["reconnect"]) == ("session_deleted", False)
        assert (socket.raw.close_code, socket.raw.close_reason) == (4504, "session_deleted")
        assert (name, data["reason"], data["cursor"]) == ("bye", "session_deleted", cursor)
        with pytest.raises(AssertionError, match="the stream ended"):
            await stream.next()


async def test_a_reader_that_does_not_read_lags_and_catches_up(nats_server: str, path: Path, entity: str) -> None:
    limits = SessionSettings(mailbox_events=50, mailbox_bytes=64 * 1024)
    async with running(nats_server, path, session=limits) as edge:
        session = await edge.session(subjects=[f"job.{entity}.>"])
        async with (
            edge.socket(session, max_queue=1) as lazy,
            edge.socket(session) as quick,
            edge.sse(session) as idle,
        ):
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
            assert stats["spills"] >= 2

            assert n(await lazy.events(2000)) == n(await idle.events(2000)) == list(range(2000))
            settled = await eventually(lambda: edge.stats(session))
            assert settled["events_delivered"] == settled["events_sent"] == 6000


async def test_a_second_reader_takes_nothing_and_leaves_nothing(edge: RunningEdge, entity: str) -> None:
    session = await edge.session(subjects=[f"job.{entity}.>"])
    sockets_before = await metric(edge, 'edge_readers{transport="websocket"}')
    delivered_before = await metric(edge, 'edge_delivered_events_total{transport="sse"}')
    written_before = await metric(edge, 'edge_publish_to_write_seconds_count{transport="sse"}')
    async with edge.socket(session) as first:
        async with edge.socket(session) as second, edge.sse(session) as third:
            await edge.numbers(entity, 10)
            assert n(await first.events(10)) == n(await second.events(10)) == n(await third.events(10))
            stats = await edge.stats(session)
            assert stats["events_delivered"] == stats["events_sent"] == 30
            assert stats["readers"] == {"websocket": 2, "sse": 1, "polling": 0}
            assert await metric(edge, 'edge_readers{transport="websocket"}') == sockets_before + 2
            assert await metric(edge, 'edge_delivered_events_total{transport="sse"}') == delivered_before + 10
            assert await metric(edge, 'edge_publish_to_write_seconds_count{transport="sse"}') > written_before

        async def alone() -> bool:
            return (await edge.stats(session))["readers"] == {"websocket": 1, "sse": 0, "polling": 0}

        await eventually(alone)
        await edge.numbers(entity, 10, start=10)
        assert n(await first.events(10)) == list(range(10, 20))
        assert await metric(edge, 'edge_readers{transport="websocket"}') == sockets_before + 1


async def test_a_ping_is_answered_and_nonsense_is_named(edge: RunningEdge) -> None:
    session = await edge.session()
    async with edge.socket(session) as socket:
        ready = await socket.control("ready")
        for said, code in (("x", "bad_json"), ("[]", "unknown_control"), (b'{"control":"dance"}', "unknown_control")):
            await socket.raw.send(said)
            assert (await socket.control("error"))["code"] == code
        await socket.raw.send('{"control":"ping","id":7}')
        pong = await socket.control("pong")
        assert pong["id"] == 7 and pong["cursor"] >= ready["cursor"]
        await in_time(await socket.raw.ping(b"are you there"))
        await socket.raw.send(["in ", "two ", "parts"])
        assert (await socket.control("error"))["code"] == "bad_json"


async def test_a_stopping_edge_says_bye_and_closes(nats_server: str, path: Path, entity: str) -> None:
    async with running(nats_server, path) as edge, contextlib.AsyncExitStack() as stack:
        session = await edge.session(subjects=[f"job.{entity}.>"])
        sockets = [await stack.enter_async_context(edge.socket(session)) for _ in range(3)]
        streams = [await stack.enter_async_context(edge.sse(session)) for _ in range(2)]
        (cursor,) = await edge.numbers(entity, 1)
        for reader in (*sockets, *streams):
            await reader.events(1)

        edge.stop()

        for socket in sockets:
            bye = await socket.control("bye")
            await socket.raw.wait_closed()
            assert (bye["reason"], bye["reconnect"], bye["cursor"]) == ("shutdown", True, cursor)
            assert socket.raw.close_code == 4001
        for stream in streams:
            name, at, _ = await stream.next()
            assert (name, at) == ("bye", cursor)
            with pytest.raises(AssertionError, match="the stream ended"):
                await stream.next()


async def test_a_stop_does_not_wait_for_a_client_that_does_not_answer(nats_server: str) -> None:
    async with running(nats_server, PATHS["lane-uvloop"], lanes=FastPathSettings(grace=0.5)) as edge:
        session = await edge.session()
        async with handshake(edge, session) as (reader, _):
            await next_of(reader, frames.TEXT, b'"ready"')
            edge.stop()
            await next_of(reader, frames.TEXT, b'"shutdown"')
            assert int.from_bytes((await next_of(reader, frames.CLOSE))[:2], "big") == 4001
            with contextlib.suppress(ConnectionError):
                assert await in_time(reader.read()) == b""


async def test_the_answer_to_a_stream_has_all_its_headers(edge: RunningEdge) -> None:
    session = await edge.session()
    async with edge.sse(session, headers={"Origin": "http://localhost:3000"}) as stream:
        headers = stream.headers

        assert headers["access-control-allow-origin"] == "http://localhost:3000"
        assert "Origin" in headers["vary"]
        assert headers["content-type"].startswith("text/event-stream") and "no-transform" in headers["cache-control"]
        assert headers["x-accel-buffering"] == "no" and "date" in headers
        assert (await stream.next())[0] == "ready"


async def test_a_foreign_page_gets_neither_stream_nor_socket(edge: RunningEdge) -> None:
    session = await edge.session()
    foreign = {"Origin": "https://evil.example"}

    assert (await edge.http.get(f"/callbacks/sessions/{session}/sse", headers=foreign)).status_code == 403
    with pytest.raises(websockets.InvalidStatus):
        async with edge.socket(session, additional_headers=foreign):
            pass


async def test_head_of_a_stream_ends_and_the_connection_goes_on(edge: RunningEdge) -> None:
    session = await edge.session()

    answer = await edge.http.head(f"/callbacks/sessions/{session}/sse")

    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/event-stream")
    assert (await edge.http.get("/livez")).status_code == 200


async def test_a_filtered_reader_s_cursor_moves_on(nats_server: str, path: Path, entity: str) -> None:
    async with running(nats_server, path, session=SessionSettings(heartbeat=0.3)) as edge:
        session = await edge.session(subjects=[f"job.{entity}.wanted"])
        async with edge.socket(session, "?controls=all") as socket, edge.sse(session) as stream:
            ready = await socket.control("ready")
            (cursor,) = await edge.publish({"subject": f"job.{entity}.other", "data": {}})
            while (said := await socket.next()).get("cursor", "") < cursor:
                assert said["control"] in ("heartbeat", "position")
            assert said["cursor"] > ready["cursor"]
            while (told := await stream.next())[1] < cursor:
                pass
            assert told[0] == "position"


@pytest.mark.parametrize("lane", ["lane", "lane-uvloop"])
async def test_who_comes_to_a_crowded_process_is_told_a_longer_period_and_gets_its_heartbeats(
    nats_server: str, lane: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeats, "SHORTEST", 0.2)
    monkeypatch.setattr(heartbeats, "LEVEL_READERS", 1)
    async with running(nats_server, PATHS[lane], session=SessionSettings()) as edge:
        session = await edge.session()
        async with (
            edge.socket(session, "?controls=all") as first,
            edge.sse(session) as second,
            edge.socket(session, "?controls=all") as third,
        ):
            told = [await first.control("ready"), (await second.next())[2], await third.control("ready")]
            for socket in (first, third):
                for _ in range(3):
                    assert (await socket.next())["control"] in ("heartbeat", "position")

    assert [said["heartbeat_seconds"] for said in told] == [0.2, 0.4, 0.9]


async def test_a_rotated_connection_is_asked_to_come_back(nats_server: str, path: Path) -> None:
    async with running(nats_server, path, session=SessionSettings(heartbeat=0.3, rotate=0.5)) as edge:
        session = await edge.session()
        async with edge.socket(session) as socket:
            await socket.control("ready")
            while (said := await socket.next())["control"] != "bye":
                pass
            await socket.raw.wait_closed()

    assert said["reason"] == "rotated" and socket.raw.close_code == 4002


# What only the lane does itself


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["websocket", "sse"])
async def test_a_reader_that_never_reads_costs_little_delays_nobody_and_is_cut(
    nats_server: str, path: Path, entity: str, transport: str
) -> None:
    limits = SessionSettings(mailbox_events=50, mailbox_bytes=64 * 1024, send_timeout=3.0)
    cut = f'edge_disconnects_total{{reason="slow",transport="{transport}"}}'
    async with running(nats_server, path, session=limits) as edge:
        session = await edge.session(subjects=[f"job.{entity}.>"])
        before = await metric(edge, cut)
        async with (
            connected(edge, limit=1024) as (_, writer),
            edge.sse(await edge.session(subjects=[f"job.{entity}.>"])) as quick,
        ):
            ask(writer, session, transport)
            await eventually(lambda: served(edge, session, transport))
            owed = []
            for batch in range(40):
                await edge.publish(
                    *({"subject": f"job.{entity}.output", "data": {"n": batch, "x": "y" * 8000}} for _ in range(50))
                )
                assert len(await quick.events(50)) == 50
                owed.append(await metric(edge, "edge_mailbox_bytes"))
            stats = await edge.stats(session)
            # 16 MB were told it; what is kept for it are at most so many bytes of events that all readers share.
            assert max(owed) <= 2 * limits.mailbox_bytes
            if stats["readers"][transport]:
                assert stats["lag_events"] >= 500
                assert stats["oldest_event_seconds"] > 0

            async def gone() -> bool:
                return await metric(edge, cut) == before + 1

            await eventually(gone)
            stats = await edge.stats(session)
            assert stats["readers"][transport] == 0
            assert stats["lag_events"] == 0
            assert stats["events_sent"] == stats["events_delivered"] < 1000


def ask(writer: asyncio.StreamWriter, session: str, transport: str) -> None:
    """Asks for a stream or a socket, whose answer need not be read."""
    key = base64.b64encode(os.urandom(16)).decode()
    upgrade = f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
    last, more = ("ws", upgrade) if transport == "websocket" else ("sse", "")
    writer.write(f"GET /callbacks/sessions/{session}/{last} HTTP/1.1\r\nHost: 127.0.0.1\r\n{more}\r\n".encode())


async def served(edge: RunningEdge, session: str, transport: str) -> bool:
    readers: dict[str, int] = (await edge.stats(session))["readers"]
    return readers[transport] == 1


async def test_a_session_with_a_rate_loses_nothing(lane: RunningEdge, entity: str) -> None:
    session = await lane.session(subjects=[f"job.{entity}.>"], max_rate=20.0, conflate=True)
    async with lane.socket(session) as socket, lane.sse(session) as stream:
        await socket.control("ready")
        await stream.next()
        await lane.numbers(entity, 100)
        assert n(await socket.events(100)) == n(await stream.events(100)) == list(range(100))


async def test_many_come_and_go_and_nothing_stays(lane: RunningEdge, entity: str) -> None:
    session = await lane.session(subjects=[f"job.{entity}.>"])

    async def visit(number: int) -> None:
        async with lane.socket(session) if number % 2 else lane.sse(session) as reader:
            await (reader.control("ready") if number % 2 else reader.next())

    for _ in range(3):
        await asyncio.gather(*(visit(number) for number in range(20)))

    async def nobody() -> bool:
        return (await lane.stats(session))["readers"] == {"websocket": 0, "sse": 0, "polling": 0}

    await eventually(nobody)
    await lane.numbers(entity, 1)
    stats = await lane.stats(session)
    assert stats["events_sent"] == stats["events_delivered"] == 0
