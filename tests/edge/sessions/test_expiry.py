"""Tests session expiry, and that sessions leave nothing in their bucket."""

from __future__ import annotations

import asyncio
import json
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, cast

import pytest

from edge.sessions import expiry
from edge.sessions.expiry import SessionExpiry
from edge.stats import Stats
from edge.webhooks.fanout.shard_fanout import ShardFanout
from router.broker import Broker
from router.nats.bucket import Bucket
from router.record import Record
from router.topology import SESSIONS
from tests.edge.conftest import EdgeFactory, RunningEdge
from tests.edge.webhooks.stage import Receiver
from tests.proxy import Proxy
from tests.router.buckets import resize, stored_headers
from tests.waiting import eventually, unhurried


async def status(edge: RunningEdge, session: str) -> int:
    return (await edge.http.get(f"/callbacks/sessions/{session}")).status_code


async def test_the_key_that_says_when_a_session_was_read_goes_with_the_session(
    edge_factory: EdgeFactory, store: Broker
) -> None:
    bucket = Bucket(store.connection, SESSIONS)
    async with edge_factory() as edge:
        session = await edge.session(ttl=1)
        async with edge.socket(session) as socket:
            await socket.control("ready")
            await eventually(lambda: bucket.get(f"seen.{session}"))
            assert int((await stored_headers(store, bucket, f"seen.{session}"))["Nats-TTL"].rstrip("s")) >= 7 * 86400

            assert (await edge.http.delete(f"/callbacks/sessions/{session}")).status_code == 204

        assert await bucket.names(f"seen.{session}") == set()
        assert "Nats-TTL" in await stored_headers(store, bucket, session)


async def test_the_key_of_an_idle_session_goes_with_it(edge_factory: EdgeFactory, store: Broker) -> None:
    bucket = Bucket(store.connection, SESSIONS)
    async with edge_factory() as edge:
        session = await edge.session(ttl=1)
        async with edge.socket(session) as socket:
            await socket.control("ready")
            await eventually(lambda: bucket.get(f"seen.{session}"))

        await eventually(lambda: _has_status(edge, session, 404))

        assert await bucket.names(f"seen.{session}") == set()


async def _has_status(edge: RunningEdge, session: str, wanted: int) -> bool:
    return await status(edge, session) == wanted


async def test_an_edge_that_was_cut_off_until_the_marker_ran_out_drops_the_deleted_session(
    edge_factory: EdgeFactory, nats_server: str, store: Broker
) -> None:
    bucket = Bucket(store.connection, SESSIONS)
    async with (
        edge_factory() as near,
        Proxy(int(nats_server.rpartition(":")[2])) as proxy,
        edge_factory(nats=f"nats://127.0.0.1:{proxy.port}") as far,
    ):
        deleted, kept = await near.session(), await near.session()
        for session in (deleted, kept):
            await eventually(lambda session=session: _has_status(far, session, 200))
        async with far.socket(deleted) as socket:
            await socket.control("ready")
            proxy.refuse()
            assert (await near.http.delete(f"/callbacks/sessions/{deleted}")).status_code == 204
            # What the server does after `MARKER_SECONDS`.
            await bucket.purge(deleted)

            proxy.accept()

            async def told() -> bool:
                said = await socket.next()
                return said.get("control") == "bye" and said["reason"] == "session_deleted"

            await eventually(told)
        await eventually(lambda: _has_status(far, deleted, 404))
        assert await status(far, kept) == 200


async def test_a_session_for_which_there_is_no_room_is_refused_with_a_code_until_another_is_deleted(
    edge_factory: EdgeFactory, own_nats: str
) -> None:
    async with edge_factory(nats=own_nats) as edge, Broker(unhurried(own_nats), "test") as store:
        session = await edge.session()
        await resize(store, SESSIONS, 10_000)

        async def refused() -> bool:
            answer = await edge.http.post("/callbacks/sessions", json={"name": "x" * 200})
            return answer.status_code == 507 and answer.json()["code"] == "session_store_full"

        await eventually(refused)
        assert (await edge.http.delete(f"/callbacks/sessions/{session}")).status_code == 204
        await edge.session()


async def test_a_webhook_with_a_ttl_expires_once_nothing_is_posted_and_nothing_waits(
    edge_factory: EdgeFactory, entity: str
) -> None:
    async with edge_factory() as edge:
        away: dict[str, Any] = {"delivery_method": "webhook", "webhook_url": "http://127.0.0.1:9/x"}
        retried = {**away, "ttl": 1, "retry_schedule": [600], "subjects": [f"agent.{entity}.>"]}
        waiting = await edge.session(**retried)
        await edge.publish({"subject": f"agent.{entity}.noted", "data": {}})
        idle, kept = await edge.session(**away, ttl=1, subjects=["agent.none.>"]), await edge.session(**away)

        await eventually(lambda: _has_status(edge, idle, 404))

        assert [await status(edge, each) for each in (waiting, kept)] == [200, 200]


async def test_a_webhook_expires_no_sooner_than_what_came_in_its_time_is_posted_however_late_the_fan_out_is(
    edge_factory: EdgeFactory, entity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    released, match = asyncio.Event(), ShardFanout._match

    async def held(self: ShardFanout, records: list[Record]) -> None:
        await released.wait()
        await match(self, records)

    monkeypatch.setattr(ShardFanout, "_match", held)
    async with Receiver().serving() as receiver, edge_factory() as edge:
        webhook: dict[str, Any] = {"delivery_method": "webhook", "webhook_url": receiver.url, "ttl": 1}
        due = await edge.session(**webhook, subjects=[f"agent.{entity}.>"])
        idle = await edge.session(**webhook, subjects=["agent.none.>"])
        await edge.publish({"subject": f"agent.{entity}.noted", "data": {"n": 1}})

        await eventually(lambda: _has_status(edge, idle, 404))
        assert (await status(edge, due), receiver.posts) == (200, [])

        released.set()
        await eventually(lambda: _has_status(edge, due, 404))
        assert [json.loads(post.body)["data"] for post in receiver.posts] == [{"n": 1}]


class Simulated:
    """A registry of sessions that expire, their bucket and statistics, on a clock that the test moves by rounds of a second."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, idle: float) -> None:
        self.now = 1_000_000.0
        self.sessions: dict[str, Any] = {}
        self.stats: dict[str, Stats] = {}
        self.marks: list[float] = []
        self.deleted: dict[str, float] = {}
        self.looks = 0
        self.listeners: list[Any] = []
        monkeypatch.setattr(expiry, "time", SimpleNamespace(monotonic=lambda: self.now))
        monkeypatch.setattr(expiry, "wall", SimpleNamespace(now=lambda: self.now))
        self.expiry = SessionExpiry(cast(Any, self), cast(Any, self), cast(Any, self), idle, cast(Any, None))
        look = self.expiry._look

        async def counted(*asked: Any) -> None:
            self.looks += 1
            await look(*asked)

        monkeypatch.setattr(self.expiry, "_look", counted)

    def on_change(self, listener: Any) -> None:
        self.listeners.append(listener)

    def on_delete(self, cleaner: Any) -> None:
        """Nothing is cleaned here."""

    def change(self, session_id: str, ttl: float | None = None) -> None:
        spec = SimpleNamespace(created=int(self.now * 1e9), delivery_method="websocket", expires_after=ttl)
        self.sessions[session_id] = SimpleNamespace(id=session_id, spec=spec)
        for listener in self.listeners:
            listener(session_id, self.sessions[session_id])

    def forget(self, session_id: str) -> None:
        del self.stats[session_id]

    async def put(self, _key: str, _value: bytes, _ttl: float) -> None:
        self.marks.append(self.now)

    async def delete(self, session_id: str) -> None:
        del self.sessions[session_id]
        self.deleted[session_id] = self.now

    async def pass_(self, seconds: int) -> None:
        for _ in range(seconds):
            self.now += 1.0
            await self.expiry._round()


@pytest.mark.parametrize("idle", [3.0, 20.0, 240.0, 86400.0])
async def test_a_session_that_is_read_is_marked_often_enough_and_expires_a_ttl_after_its_last_reader(
    idle: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Simulated(monkeypatch, idle)
    place.change("sess_1")
    begun = place.now
    place.stats["sess_1"] = Stats(websockets=1)
    await place.pass_(700)

    times = [begun, *place.marks, place.now]
    assert max(after - before for before, after in pairwise(times)) <= max(2.0, min(300.0, idle / 4)) + 1.0
    assert place.looks <= 700 / max(1.0, min(300.0, idle / 4) / 4) + 2

    place.stats["sess_1"].websockets = 0
    left = place.now
    await place.pass_(int(idle * 1.25) + 80)

    assert idle <= place.deleted["sess_1"] - left <= idle * 1.25 + 78


async def test_a_shorter_ttl_counts_at_once_and_a_session_without_one_is_not_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place = Simulated(monkeypatch, 0.0)
    place.change("sess_1")
    place.change("sess_2", ttl=86400.0)
    await place.pass_(30)
    assert place.looks <= 3

    place.change("sess_1", ttl=2.0)
    await place.pass_(6)

    assert place.deleted.keys() == {"sess_1"}
