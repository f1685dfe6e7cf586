"""After an operator deleted a stream or bucket under a running edge, it is made again and everything goes on."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator

import pytest

from router.broker import Broker
from router.nats.bucket import Bucket
from router.topology import LEASES, TopologySettings, streams
from tests.edge.conftest import EdgeFactory, RunningEdge
from tests.edge.webhooks.stage import Receiver
from tests.waiting import eventually, unhurried

NAMES = [stream.name for stream in streams(TopologySettings())]
PATIENCE = 60.0


@pytest.fixture
async def operator(own_nats: str) -> AsyncIterator[Broker]:
    """Somebody who changes the store past the edge."""
    async with Broker(unhurried(own_nats), "operator") as broker:
        yield broker


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver().serving() as serving:
        yield serving


async def delete(operator: Broker, edge: RunningEdge, name: str) -> None:
    """Deletes a stream, and waits until the edge has made it again and is ready."""
    before = (await operator.connection.api(f"STREAM.INFO.{name}"))["created"]
    await operator.connection.api(f"STREAM.DELETE.{name}")

    async def is_back() -> bool:
        there = (await operator.connection.api("STREAM.NAMES"))["streams"]
        return name in there and (await operator.connection.api(f"STREAM.INFO.{name}"))["created"] != before

    async def is_ready() -> bool:
        return (await edge.http.get("/readyz")).status_code == 200

    await eventually(is_back, within=PATIENCE)
    await eventually(is_ready, within=PATIENCE)


async def webhook(edge: RunningEdge, receiver: Receiver, entity: str) -> str:
    return await edge.session(
        delivery_method="webhook", webhook_url=receiver.url, subjects=[f"job.{entity}.>"], cursor="now"
    )


def posted(receiver: Receiver) -> list[str]:
    return [str(json.loads(post.body)["data"]["tag"]) for post in receiver.posts]


async def delivered(edge: RunningEdge, receiver: Receiver, entity: str) -> None:
    """Publishes an event, and waits until a webhook has brought it."""
    tag = secrets.token_hex(4)
    await edge.publish({"subject": f"job.{entity}.output", "data": {"tag": tag}})
    await eventually(lambda: tag in posted(receiver), within=PATIENCE)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
async def test_everything_goes_on(
    edge_factory: EdgeFactory, own_nats: str, operator: Broker, receiver: Receiver, entity: str, name: str
) -> None:
    async with edge_factory(own_nats) as edge:
        reading = await edge.session(subjects=[f"job.{entity}.>"], cursor="now")
        await webhook(edge, receiver, entity)
        await delivered(edge, receiver, entity)

        await delete(operator, edge, name)

        made = f'edge_store_recreated_streams_total{{stream="{name}"}}'
        assert made in (await edge.http.get("/metrics")).text
        if name == "KV_SESSIONS":
            # What an operator deleted is gone, here as well as in the store.
            async def is_gone() -> bool:
                return (await edge.http.get(f"/callbacks/sessions/{reading}")).status_code == 404

            await eventually(is_gone, within=PATIENCE)
            reading = await edge.session(subjects=[f"job.{entity}.>"], cursor="now")
            await webhook(edge, receiver, entity)
        async with edge.socket(reading, "?cursor=now") as socket:
            await socket.control("ready", within=PATIENCE)
            await delivered(edge, receiver, entity)
            (event,) = await socket.events(1, within=PATIENCE)
            assert event["data"]["tag"] in posted(receiver)
        await delivered(edge, receiver, entity)


async def test_webhooks_go_on_after_leases_began_anew_and_after_a_restart_of_the_edge(
    edge_factory: EdgeFactory, own_nats: str, operator: Broker, receiver: Receiver, entity: str
) -> None:
    # Revisions of the former bucket, by which the webhooks' consumers are named, are higher than any of the new one.
    leases = Bucket(operator.connection, LEASES)
    for _ in range(300):
        await leases.put("test.revisions", b"1", 60)
    async with edge_factory(own_nats) as edge:
        await webhook(edge, receiver, entity)
        await delivered(edge, receiver, entity)

        await delete(operator, edge, "KV_LEASES")

        await delivered(edge, receiver, entity)
        before = len(receiver.posts)
    async with edge_factory(own_nats) as edge:
        await delivered(edge, receiver, entity)
    assert len(set(posted(receiver))) == 3
    assert before <= 3, "what was delivered before is not delivered again"
