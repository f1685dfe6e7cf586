"""Tests session expiry, and that sessions leave nothing in their bucket."""

from __future__ import annotations

from typing import Any

from router.broker import Broker
from router.nats.bucket import Bucket
from router.topology import SESSIONS
from tests.edge.conftest import EdgeFactory, RunningEdge
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
