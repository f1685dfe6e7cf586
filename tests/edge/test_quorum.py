"""Two of three nats-servers die: publishers, readiness and the metric say `no_quorum`; with the servers back all goes on by itself."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any

import pytest

from router import store_health
from router.broker import Broker
from router.errors import BrokerError
from router.nats.settings import BrokerSettings
from router.topology import FRAMES, TopologySettings, streams
from tests.chaos.cluster import Cluster
from tests.edge.conftest import EdgeFactory, RunningEdge, Socket
from tests.edge.webhooks.stage import Receiver
from tests.ops.command import callboard
from tests.waiting import PATIENCE, eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

# The streams that the test writes to, or that writing to them needs.
NEEDED = {"EVENTS", "KV_LEASES", "KV_SESSIONS"}
TIMEOUTS = 'router_published_events_total{outcome="timeout"}'


async def readiness(edge: RunningEdge) -> dict[str, Any]:
    told: dict[str, Any] = (await edge.http.get("/readyz")).json()
    return told


async def metric(edge: RunningEdge, name: str) -> float:
    lines = (await edge.http.get("/metrics")).text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name} "))


async def collect(socket: Socket, numbers: list[int]) -> None:
    """Notes the number of each event that comes."""
    while True:
        said = await socket.next(10 * PATIENCE)
        if "control" not in said:
            numbers.append(said["data"]["n"])


async def test_edges_are_ready_and_start_while_one_server_of_three_is_away(
    edge_factory: EdgeFactory, tmp_path: Path, entity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Cluster(tmp_path)
    await cluster.start()
    topology = TopologySettings(replicas=3)
    event = {"subject": f"job.{entity}.output", "data": {}}
    try:
        async with (
            Broker(BrokerSettings(cluster.url), "test", topology) as broker,
            edge_factory(nats=BrokerSettings(cluster.url), topology=topology) as edge,
        ):
            # The one that has the only copy of the pictures.
            await (await cluster.leader(broker.connection, FRAMES)).kill()
            await eventually(lambda: has_leader(broker))

            # What does not pass by itself is a failure at once.
            monkeypatch.setattr(store_health, "GRACE_SECONDS", 0.0)
            health = store_health.StoreHealth(broker)
            await health.look()
            assert health.writable, health.describe()

            async def ready() -> bool:
                return (await readiness(edge))["status"] == "ok"

            await eventually(ready)
            async with edge_factory(nats=BrokerSettings(cluster.url), topology=topology) as late:
                assert (await late.http.post("/events", json=event)).status_code == 201
            done = await asyncio.to_thread(callboard, "doctor", "--json", NATS_URL=cluster.url, REPLICAS="3")
            (leaders,) = [each for each in json.loads(done.stdout)["findings"] if each["check"] == "leaders"]
            assert leaders["found"] == "none: FRAMES"
    finally:
        await cluster.stop()


async def has_leader(broker: Broker) -> bool:
    try:
        infos = [
            await broker.connection.api(f"STREAM.INFO.{stream.name}")
            for stream in streams(broker.topology)
            if stream.name != FRAMES
        ]
    except BrokerError:
        return False
    return all(info["cluster"].get("leader") for info in infos)


async def test_without_a_quorum_publishes_are_refused_by_name_and_all_goes_on_once_it_is_back(
    edge_factory: EdgeFactory, tmp_path: Path, entity: str
) -> None:
    cluster = Cluster(tmp_path)
    await cluster.start()
    accepted: list[int] = []
    unknown: list[int] = []
    seen: list[int] = []
    number = 0

    try:
        async with (
            Receiver().serving() as receiver,
            edge_factory(nats=BrokerSettings(cluster.url), topology=TopologySettings(replicas=3)) as edge,
        ):

            async def publish() -> str:
                """Publishes the next number; the code of the refusal, or "" where it was stored."""
                nonlocal number
                number += 1
                answer = await edge.http.post(
                    "/events", json={"subject": f"job.{entity}.output", "data": {"n": number}}
                )
                if answer.status_code == 201:
                    accepted.append(number)
                    return ""
                assert answer.status_code == 503, answer.text
                unknown.append(number)
                code: str = answer.json()["code"]
                return code

            async def stored() -> bool:
                return not await publish()

            subjects = [f"job.{entity}.>"]
            session = await edge.session(subjects=subjects)
            await edge.session(subjects=subjects, delivery_method="webhook", webhook_url=receiver.url)
            async with edge.socket(session) as socket:
                collecting = asyncio.create_task(collect(socket, seen))
                for _ in range(20):
                    await eventually(stored)
                await eventually(lambda: len(receiver.posts) >= 20)

                for node in cluster.nodes[:2]:
                    await node.kill()

                async def refused() -> bool:
                    return await publish() == "no_quorum"

                await eventually(refused)

                async def told() -> bool:
                    answer = await readiness(edge)
                    # Each stream fails by itself, once it has had no leader for a while; what is written to below is among them.
                    return answer["status"] != "ok" and set(answer["store"]["streams"]) >= NEEDED

                await eventually(told)
                store = (await readiness(edge))["store"]
                assert store["code"] == "no_quorum", store
                assert {each["code"] for each in store["streams"].values()} == {"no_quorum"}, store
                assert await metric(edge, 'edge_store_state{code="no_quorum"}') == 1.0
                # Refused at once: not one of these waited for an acknowledgement in vain.
                before = await metric(edge, TIMEOUTS)
                assert [await publish() for _ in range(20)] == ["no_quorum"] * 20
                assert await metric(edge, TIMEOUTS) == before
                refusal = await edge.http.post("/callbacks/sessions", json={"subjects": subjects})
                assert (refusal.status_code, refusal.json()["code"]) == (503, "no_quorum")

                # A single look, too, waits until it is no election.
                done = await asyncio.to_thread(callboard, "doctor", "--json", NATS_URL=cluster.url, REPLICAS="3")
                findings = {each["check"]: each for each in json.loads(done.stdout)["findings"]}
                assert findings["writes"]["verdict"] == "fail", findings
                assert "no_quorum" in findings["writes"]["found"]
                assert "two of three" in findings["writes"]["mend"]

                for node in cluster.nodes[:2]:
                    await node.start()

                async def ready() -> bool:
                    answer = await readiness(edge)
                    assert answer["status"] == "ok", answer
                    return True

                await eventually(ready)
                assert await metric(edge, 'edge_store_state{code="no_quorum"}') == 0.0
                for _ in range(20):
                    await eventually(stored)
                await eventually(lambda: set(seen) >= set(accepted))
                await eventually(
                    lambda: {json.loads(post.body)["data"]["n"] for post in receiver.posts} >= set(accepted)
                )
                # What was refused as unknown may have been stored; nothing else comes, in order and once.
                assert seen == sorted(set(seen))
                assert set(seen) <= set(accepted) | set(unknown)
                collecting.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await collecting
    finally:
        await cluster.stop()
