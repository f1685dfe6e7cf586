"""Streams of the table are served as sessions are: heads, limits, drain, and readers that the hub knows."""

from __future__ import annotations

import asyncio
import gc
import re
import socket

import pytest
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from edge.settings import LimitSettings, SessionSettings
from edge.surfaces.lives import RunLife
from edge.surfaces.serving import session_of_surface
from edge.surfaces.surface import Reading
from router.broker import Broker
from router.cursor import Start
from router.event import Event
from tests.edge.auth.conftest import SecuredFactory
from tests.edge.conftest import EdgeFactory, RunningEdge
from tests.edge.surfaces.conftest import streaming
from tests.waiting import PATIENCE, eventually


def test_two_readings_of_the_same_share_a_view() -> None:
    reading = Reading(subjects=("job.a.>",), start=Start(now=True), types=("output",))
    one, two = session_of_surface("x", reading), session_of_surface("y", reading)

    assert one.view == two.view
    assert (one.id, one.view.patterns, one.view.types) == ("surface_x", ("job.a.>",), frozenset({"output"}))


async def test_a_head_is_answered_without_a_reader(edge: RunningEdge, entity: str) -> None:
    answer = await edge.http.head(f"/agent-run/{entity}/stream")

    assert answer.headers["content-type"] == "text/event-stream"
    assert edge.edge is not None and not edge.edge.hub.readers


async def test_a_replica_that_drains_takes_no_stream_and_tells_an_event_source_in_band(
    edge: RunningEdge, entity: str
) -> None:
    assert edge.edge is not None
    edge.edge.draining = True

    plain = await edge.http.get(f"/agent-run/{entity}/stream")
    source = await edge.http.get(f"/agent-run/{entity}/stream", headers={"Accept": "text/event-stream"})

    assert (plain.status_code, plain.json()["code"]) == (503, "draining")
    assert source.status_code == 200 and source.text.startswith("retry: ")


async def test_a_stream_is_a_connection_of_its_principal(secured: SecuredFactory, entity: str) -> None:
    path = f"/api/stream/campaign-metrics/{entity}"
    async with secured(limits=LimitSettings(connections_per_principal=1)) as edge:
        reader = edge.as_("reader", read=["metric.>"])
        async with streaming(reader, path) as stream:
            await stream.until(b"connected")
            second = await reader.http.get(path)

    assert (second.status_code, second.json()["code"]) == (429, "too_many")


@pytest.mark.parametrize("lane", [True, False], ids=["lane", "asgi"])
async def test_a_slow_reader_of_a_folded_stream_has_every_event_once_and_the_end(
    edge_factory: EdgeFactory, store: Broker, entity: str, lane: bool
) -> None:
    count, text = 400, "x" * 16_000
    small = SessionSettings(heartbeat=3600.0, mailbox_events=4)
    async with edge_factory(lane=lane, session=small) as edge:
        await store.publish(Event.new(f"agent.{entity}.workflow_start", {}))
        with socket.socket() as plain:
            # So little that the server must wait for its client.
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            plain.connect(("127.0.0.1", edge.port))
            plain.setblocking(False)
            reader, writer = await asyncio.open_connection(sock=plain, limit=1 << 20)
            writer.write(f"GET /agent-run/{entity}/stream HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n".encode())
            await reader.readuntil(b"processing")
            for n in range(count):
                await store.publish(Event.new(f"agent.{entity}.token", {"content": f"<{n}>{text}"}))
            await store.publish(Event.new(f"agent.{entity}.completion", {"success": True}))
            assert edge.edge is not None
            spills = edge.edge.cluster_stats.of("surface_stream_agent_run").spills
            said = (await reader.read(-1)).decode()
            writer.close()

    assert spills > 0
    assert re.findall(r'"token".*?<(\d+)>', said) == [str(n) for n in range(count)]
    assert said[-60:].count("event: close\ndata: {}\n\n") == 1


async def test_a_stream_keeps_neither_its_request_nor_the_events_of_its_life(
    edge_factory: EdgeFactory, store: Broker, entity: str
) -> None:
    def kept() -> list[object]:
        gc.collect()
        found = [each for each in gc.get_objects() if isinstance(each, (RequestResponseCycle, RunLife))]
        return [each for each in found if isinstance(each, RunLife) or each.scope["path"].endswith("/stream")]

    await store.publish(Event.new(f"thread.{entity}.workflow_start", {"incarnation": "a"}))
    async with edge_factory() as edge:
        before = len(kept())
        async with (
            streaming(edge, f"/api/chat/{entity}/stream") as chat,
            streaming(edge, f"/agent-run/{entity}/stream") as guide,
        ):
            await chat.until(b"start")
            await guide.until(b"processing")
            await eventually(lambda: len(kept()) == before)


async def test_live_readers_of_a_run_are_written_as_one_and_each_has_what_it_asked_for(
    edge_factory: EdgeFactory, store: Broker, entity: str
) -> None:
    async def say(*words: str) -> None:
        for word in words:
            await store.publish(Event.new(f"thread.{entity}.token", {"content": word}))

    await store.publish(Event.new(f"thread.{entity}.workflow_start", {"incarnation": "a"}))
    await say("zero ", "one ")
    path = f"/api/chat/{entity}/stream"
    async with (
        edge_factory() as edge,
        streaming(edge, path) as first,
        streaming(edge, path) as second,
        streaming(edge, f"/agent-run/{entity}/stream") as guide,
    ):
        assert edge.edge is not None
        readers = edge.edge.hub.readers
        for stream in (first, second, guide):
            await stream.until(b"one ")
        cursor = re.findall(rb"id: (\S+)", first.said)[-2].decode()
        async with streaming(edge, path, last=cursor) as late:
            await late.until(b"one ")
            # Two dialects, whatever their readers have asked for.
            await eventually(lambda: len({reader.group for reader in readers} - {None}) == 2)  # type: ignore[attr-defined]
            assert all(reader.group is not None for reader in readers)  # type: ignore[attr-defined]
            await say("two ")
            await store.publish(Event.new(f"thread.{entity}.completion", {"success": True}))
            said = [await stream.rest() for stream in (first, second, late)]
            told = await guide.rest()

    assert said[0] == said[1] and said[0].endswith(said[2][said[2].index(b"data: ") :])
    assert re.findall(rb'"delta":"(\w+) "', said[0]) == [b"zero", b"one", b"two"]
    assert re.findall(rb'"delta":"(\w+) "', said[2]) == [b"one", b"two"]
    assert all(each.count(b"data: [DONE]") == 1 for each in said)
    assert told.endswith(b"event: close\ndata: {}\n\n")


async def test_what_is_counted_of_streams_is_kept_without_a_session(
    edge_factory: EdgeFactory, entity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.sessions.expiry.ROUNDS_BETWEEN_SWEEPS", 1)
    monkeypatch.setattr("edge.sessions.expiry.ROUND_SECONDS", 0.01)
    async with edge_factory() as edge, streaming(edge, f"/api/stream/campaign-metrics/{entity}") as stream:
        await stream.until(b"connected")
        assert edge.edge is not None
        counted = edge.edge.cluster_stats
        counted.of("sess_gone")
        await eventually(lambda: "sess_gone" not in counted.stats)

        assert counted.of("surface_stream_campaign_metrics").sses == 1


async def test_a_connection_that_is_kept_takes_the_next_requests_behind_a_stream_that_has_ended(
    either: RunningEdge, entity: str, store: Broker
) -> None:
    for kind, data in (("workflow_start", {"incarnation": "a"}), ("completion", {"success": True})):
        await store.publish(Event.new(f"thread.{entity}.{kind}", data))
    reader, writer = await asyncio.open_connection("127.0.0.1", either.port)

    for _ in range(3):
        writer.write(f"GET /agent-run/{entity}/stream HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        async with asyncio.timeout(PATIENCE):
            head = await reader.readuntil(b"\r\n\r\n")
            body = await reader.readuntil(b"\r\n0\r\n\r\n")
        assert b"connection: keep-alive" in head.lower() and b"close" not in head.lower()
        assert b"event: close" in body
        writer.write(b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        async with asyncio.timeout(PATIENCE):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
            await reader.readuntil(b"}")
    writer.write(f"GET /agent-run/{entity}/stream HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
    async with asyncio.timeout(PATIENCE):
        assert (await reader.read()).endswith(b"\r\n0\r\n\r\n")
    writer.close()
