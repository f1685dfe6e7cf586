"""Publishing over HTTP while the events are put into other streams, seen from outside: nothing lost, nothing twice."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.edge.conftest import EdgeFactory, RunningEdge
from tests.edge.webhooks.stage import Receiver
from tests.router.resharding import all_stored, broker_of, ids, reshard
from tests.waiting import eventually


async def send(edge: RunningEdge, events: list[dict[str, Any]] | dict[str, Any], key: str | None = None) -> Any:
    body = {"events": events} if isinstance(events, list) else events
    answer = await edge.http.post("/events", json=body, headers={"Idempotency-Key": key} if key else None)
    assert answer.status_code == 201, answer.text
    return answer.json()["events"]


async def test_clients_publish_on_and_their_repeats_are_known_behind_a_reshard(
    edge_factory: EdgeFactory, own_nats: str
) -> None:
    async with edge_factory(nats=own_nats) as edge, broker_of(own_nats) as broker:
        one = {"subject": "job.a.said", "data": {"n": 1}}
        many = [{"subject": f"job.e{n % 3}.said", "data": {"n": n}} for n in range(9)]
        first, batch = await send(edge, one, "k-1"), await send(edge, many, "k-9")
        await send(edge, {"subject": "job.run.workflow_start", "data": {"incarnation": "one"}})
        await send(edge, {"subject": "job.run.progress", "data": {"progress": 0.6}})

        await reshard(broker, 3)

        again = await send(edge, one, "k-1")
        assert again[0]["duplicate"] and again[0]["id"] == first[0]["id"]
        assert [(each["id"], each["duplicate"]) for each in await send(edge, many, "k-9")] == [
            (each["id"], True) for each in batch
        ]
        other = await edge.http.post(
            "/events", json={"subject": "job.a.said", "data": {}}, headers={"Idempotency-Key": "k-1"}
        )
        assert other.status_code == 422 and other.json()["code"] == "idempotency_key_reused"
        await send(edge, many)
        await send(edge, {"subject": "job.run.progress", "data": {"progress": 0.4}})
        (ended,) = await send(edge, {"subject": "job.run.completion", "data": {"success": True}})
        late = await edge.http.post("/events", json={"subject": "job.run.completion", "data": {"success": False}})
        assert late.status_code == 409

        stored = await all_stored(broker)
        found = [id for each in stored.values() for id in ids(each)]
        assert len(found) == len(set(found)) and ended["id"] in found
        last = await edge.http.get("/events", params={"subjects": "job.run.progress", "last": 1})
        assert last.json()["events"][0]["data"]["progress"] == 0.6


async def test_a_metric_is_compared_with_its_last_value_before_a_reshard(
    edge_factory: EdgeFactory, own_nats: str
) -> None:
    async with edge_factory(nats=own_nats) as edge, broker_of(own_nats) as broker:

        async def tell(metric: str, value: float) -> None:
            await send(edge, {"subject": "metric.shop.metric", "data": {"metric": metric, "value": value}})

        await tell("roas", 2)
        await tell("ctr", 5)
        await reshard(broker, 3)
        # The newest event of the subject is of another name, and in the new streams.
        await tell("ctr", 6)
        await tell("roas", 3)

        found = await edge.http.get("/events", params={"subjects": "metric.shop.metric", "last": 2})
        deltas = [(event["data"]["metric"], event["data"]["delta"]) for event in found.json()["events"]]
        assert deltas == [("ctr", 1), ("roas", 1)]


async def test_receipts_lead_readers_on_and_webhooks_get_all(edge_factory: EdgeFactory, own_nats: str) -> None:
    async with edge_factory(nats=own_nats) as edge, broker_of(own_nats) as broker, Receiver().serving() as receiver:
        await edge.session(delivery_method="webhook", webhook_url=receiver.url, subjects=["job.>"])
        stop, sent = asyncio.Event(), list[dict[str, Any]]()

        async def publish(entity: str) -> None:
            number = 0
            while not stop.is_set():
                number += 1
                sent.extend(await send(edge, {"subject": f"job.{entity}.said", "data": {"n": number}}))

        async with asyncio.TaskGroup() as group:
            for place in range(4):
                group.create_task(publish(f"e{place}"))
            await eventually(lambda: len(sent) > 20)
            await reshard(broker, 2)
            before = len(sent)
            await eventually(lambda: len(sent) > before + 20)
            stop.set()

        assert not any(each["duplicate"] for each in sent)
        await eventually(lambda: len({post.headers["webhook-id"] for post in receiver.posts}) == len(sent))
        # A receipt's cursor is a place: what came behind it is read from there, and what it is of is not.
        (mark,) = await send(edge, {"subject": "job.e0.said", "data": {"n": -1}})
        await send(edge, {"subject": "job.e0.said", "data": {"n": -2}})

        async def behind() -> bool:
            answer = await edge.http.get("/events", params={"subjects": "job.e0.>", "cursor": mark["cursor"]})
            return [each["data"]["n"] for each in answer.json()["events"]] == [-2]

        await eventually(behind)
