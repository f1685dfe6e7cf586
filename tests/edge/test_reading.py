"""Reading a session by WebSocket, SSE and polling: one cursor, one order, nothing lost and nothing twice."""

from __future__ import annotations

import asyncio
from pathlib import Path

from edge.settings import SessionSettings
from router.nats.embedded import EmbeddedServer, EmbeddedSettings, free_port
from tests.edge.conftest import EdgeFactory, RunningEdge, n
from tests.waiting import PATIENCE, eventually


async def test_what_was_said_between_creation_and_the_first_reader_is_read(edge: RunningEdge, entity: str) -> None:
    session = await edge.session(subjects=[f"job.{entity}.>"])
    await edge.numbers(entity, 5)

    async with edge.socket(session) as socket:
        ready = await socket.control("ready")
        assert ready["session_id"] == session
        assert n(await socket.events(5)) == [0, 1, 2, 3, 4]
        await edge.numbers(entity, 5, start=5)
        assert n(await socket.events(5)) == [5, 6, 7, 8, 9]


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


async def test_a_bad_cursor_on_sse_is_a_400_and_on_a_socket_said_in_band(edge: RunningEdge) -> None:
    session = await edge.session()
    answer = await edge.http.get(f"/callbacks/sessions/{session}/sse?cursor=nope")
    async with edge.socket(session, "?cursor=nope") as socket:
        said = await socket.next()
        await socket.raw.wait_closed()

    assert answer.json()["code"] == "bad_cursor"
    assert (said["control"], said["code"]) == ("error", "bad_cursor")
    assert socket.raw.close_code == 4506


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


async def test_heartbeats_come_and_the_cursor_moves_past_what_is_filtered_out(
    edge_factory: EdgeFactory, entity: str
) -> None:
    async with edge_factory(session=SessionSettings(heartbeat=0.3)) as edge:
        session = await edge.session(subjects=[f"job.{entity}.wanted"])
        async with edge.socket(session, "?controls=all") as socket:
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
