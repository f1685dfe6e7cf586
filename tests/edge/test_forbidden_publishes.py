"""A right to publish that a real nats-server takes away and gives back: those who write are told at once, and readiness says so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from router.broker import Broker
from router.connection import BrokerSettings
from router.embedded import free_port
from router.errors import Forbidden
from router.event import Event
from tests.edge.conftest import EdgeFactory, RunningEdge
from tests.servers import Server, running_server
from tests.waiting import eventually

WITHIN = 30


class Rights:
    """A nats-server with one user, whose right to publish may change while it runs."""

    def __init__(self, server: Server, port: int, config: str) -> None:
        self.url = f"nats://me:s3cret@127.0.0.1:{port}"
        self._server = server
        self._config = config

    def deny(self, *subjects: str) -> None:
        """Takes the right to publish to these away; without any, gives all back."""
        self._server.config.write_text(configured(self._config, *subjects))
        self._server.reload()


def configured(config: str, *denied: str) -> str:
    listed = ", ".join(f'"{subject}"' for subject in denied)
    deny = f", permissions: {{ publish: {{ deny: [{listed}] }} }}" if denied else ""
    return f"{config}\nauthorization {{ users: [ {{ user: me, password: s3cret{deny} }} ] }}\n"


@pytest.fixture
def rights(tmp_path: Path) -> Iterator[Rights]:
    port = free_port()
    config = f'listen: 127.0.0.1:{port}\njetstream {{ store_dir: "{tmp_path / "data"}" }}'
    with running_server(tmp_path, configured(config)) as server:
        yield Rights(server, port, config)


async def store_of(edge: RunningEdge) -> dict[str, Any]:
    told: dict[str, Any] = (await edge.http.get("/readyz")).json()["store"]
    return told


async def becomes(edge: RunningEdge, code: str) -> None:
    async def told() -> bool:
        return (await store_of(edge))["code"] == code

    await eventually(told, WITHIN)


def code_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


async def test_a_publisher_is_told_that_the_edge_may_not_publish_and_the_edge_recovers(
    rights: Rights, edge_factory: EdgeFactory, entity: str
) -> None:
    async with edge_factory(nats=rights.url) as edge:
        event = {"subject": f"job.{entity}.output", "data": {"n": 1}}
        assert (await edge.http.post("/events", json=event)).status_code == 201
        rights.deny("ev.>")

        # The first answer names the reason: nothing waited for an acknowledgement that does not come.
        answer = await edge.http.post("/events", json=event)

        assert code_of(answer) == (503, "store_forbidden")
        await becomes(edge, "forbidden")
        assert (await edge.http.get("/readyz")).status_code == 503
        streams = (await store_of(edge))["streams"]
        assert list(streams) == ["EVENTS"]
        assert "ev.job." in streams["EVENTS"]["text"]
        metrics = (await edge.http.get("/metrics")).text
        assert 'edge_store_state{code="forbidden"} 1.0' in metrics

        rights.deny()
        # By the edge's own tries: nobody publishes through an edge that is not ready.
        await becomes(edge, "ok")
        assert (await edge.http.post("/events", json={**event, "data": {"n": 2}})).status_code == 201
        async with Broker(BrokerSettings(rights.url), "reader") as reader:
            stored = await reader.read(f"job.{entity}.>", 0)
        assert [record.event.data["n"] for record in stored.records if record.event] == [1, 2]


async def test_one_refused_subject_leaves_the_edge_ready_for_the_others(
    rights: Rights, edge_factory: EdgeFactory, entity: str
) -> None:
    async with edge_factory(nats=rights.url) as edge:
        await edge.publish({"subject": f"job.{entity}.output", "data": {}})
        rights.deny("ev.camera.>")

        answer = await edge.http.post("/events", json={"subject": f"camera.{entity}.state", "data": {}})

        assert code_of(answer) == (503, "store_forbidden")
        # The next look is over once another stream is found forbidden.
        rights.deny("ev.camera.>", "$KV.LEASES.>")
        await becomes(edge, "forbidden")
        assert list((await store_of(edge))["streams"]) == ["KV_LEASES"]
        await edge.publish({"subject": f"job.{entity}.output", "data": {}})


async def test_an_idle_edge_notices_that_a_right_is_gone(
    rights: Rights, edge_factory: EdgeFactory, entity: str
) -> None:
    async with edge_factory(nats=rights.url) as edge:
        await edge.publish({"subject": f"job.{entity}.output", "data": {}})
        rights.deny("ev.>")
        await becomes(edge, "forbidden")


@pytest.mark.parametrize("bucket", ["SESSIONS", "LEASES"])
async def test_the_buckets_of_sessions_and_tickets_answer_at_once(
    rights: Rights, edge_factory: EdgeFactory, entity: str, bucket: str
) -> None:
    async with edge_factory(nats=rights.url) as edge:
        session = await edge.session(subjects=[f"job.{entity}.>"])
        rights.deny(f"$KV.{bucket}.>")
        if bucket == "SESSIONS":
            answers = [
                await edge.http.post("/callbacks/sessions", json={"subjects": [f"job.{entity}.>"]}),
                await edge.http.patch(f"/callbacks/sessions/{session}", json={"name": "other"}),
                await edge.http.delete(f"/callbacks/sessions/{session}"),
            ]
        else:
            answers = [await edge.http.post("/tickets", json={"session_id": session})]
        assert [code_of(answer) for answer in answers] == [(503, "store_forbidden")] * len(answers)
        await becomes(edge, "forbidden")
        assert list((await store_of(edge))["streams"]) == [f"KV_{bucket}"]

        rights.deny()
        await becomes(edge, "ok")
        assert (await edge.http.delete(f"/callbacks/sessions/{session}")).status_code == 204


async def test_a_request_is_told_that_it_is_forbidden_and_others_are_not(rights: Rights, entity: str) -> None:
    async with Broker(BrokerSettings(rights.url), "test") as broker:
        rights.deny("ev.camera.>")
        event = Event.new(f"camera.{entity}.state", {})
        with pytest.raises(Forbidden, match=f"ev.camera.{entity}.state"):
            await broker.connection.ask(f"ev.{event.subject}", b"", timeout=WITHIN)
        await broker.publish(Event.new(f"job.{entity}.output", {}))


async def test_a_publish_waits_for_a_right_that_comes_in_time(rights: Rights, entity: str) -> None:
    async with Broker(BrokerSettings(rights.url), "test") as broker:
        rights.deny("ev.>")
        refused: list[str] = []

        def give_back(subject: str) -> None:
            refused.append(subject)
            if len(refused) == 1:
                rights.deny()

        broker.connection.refused_publishes.listener = give_back

        ack = await broker.publish(Event.new(f"job.{entity}.output", {}), WITHIN)

        assert ack.sequence and refused
