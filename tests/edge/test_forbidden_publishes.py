"""A right to publish that a real nats-server takes away and gives back: those who write are told at once, and readiness says so."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from router.broker import Broker
from router.deadletters import DeadLetters
from router.errors import Forbidden
from router.event import Event
from router.nats.embedded import free_port
from router.nats.publisher import Publish, Publisher
from router.nats.settings import BrokerSettings
from router.nats.stream import Ack, stored
from tests.edge.conftest import EdgeFactory, RunningEdge
from tests.edge.webhooks.stage import Receiver
from tests.ops.command import callboard
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


async def is_forbidden_by_metric(edge: RunningEdge) -> bool:
    # Edges of earlier tests in this process are counted until they are collected.
    metrics = (await edge.http.get("/metrics")).text
    return re.search(r'^edge_store_state\{code="forbidden"\} [1-9]', metrics, re.MULTILINE) is not None


def code_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


async def test_a_publisher_is_told_that_the_edge_may_not_publish_and_the_edge_recovers(
    rights: Rights, edge_factory: EdgeFactory, entity: str
) -> None:
    async with edge_factory(nats=BrokerSettings(rights.url)) as edge:
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
        assert await is_forbidden_by_metric(edge)

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
    async with edge_factory(nats=BrokerSettings(rights.url)) as edge:
        await edge.publish({"subject": f"job.{entity}.output", "data": {}})
        rights.deny("ev.camera.>")

        answer = await edge.http.post("/events", json={"subject": f"camera.{entity}.state", "data": {"status": "idle"}})

        assert code_of(answer) == (503, "store_forbidden")
        # The next look is over once another stream is found forbidden.
        rights.deny("ev.camera.>", "$KV.LEASES.>")
        await becomes(edge, "forbidden")
        assert list((await store_of(edge))["streams"]) == ["KV_LEASES"]
        await edge.publish({"subject": f"job.{entity}.output", "data": {}})


async def test_an_idle_edge_notices_that_a_right_is_gone(
    rights: Rights, edge_factory: EdgeFactory, entity: str
) -> None:
    async with edge_factory(nats=BrokerSettings(rights.url)) as edge:
        await edge.publish({"subject": f"job.{entity}.output", "data": {}})
        rights.deny("ev.>")
        await becomes(edge, "forbidden")


@pytest.mark.parametrize("bucket", ["SESSIONS", "LEASES"])
async def test_the_buckets_of_sessions_and_tickets_answer_at_once(
    rights: Rights, edge_factory: EdgeFactory, entity: str, bucket: str
) -> None:
    async with edge_factory(nats=BrokerSettings(rights.url)) as edge:
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


INTERNAL = {"hook": "HOOKS", "retry": "RETRIES", "dead": "DEADLETTERS", "attempt": "ATTEMPTS"}


@pytest.mark.parametrize("subject", INTERNAL)
async def test_what_callboard_writes_for_itself_is_found_forbidden_before_it_is_needed(
    rights: Rights, edge_factory: EdgeFactory, subject: str
) -> None:
    async with edge_factory(nats=BrokerSettings(rights.url)) as edge:
        rights.deny(f"{subject}.>")
        await becomes(edge, "forbidden")

        told = await store_of(edge)
        assert list(told["streams"]) == [INTERNAL[subject]]
        assert f"publish to {subject}." in told["streams"][INTERNAL[subject]]["text"]
        assert await is_forbidden_by_metric(edge)

        rights.deny()
        await becomes(edge, "ok")


async def test_webhook_jobs_that_may_not_be_written_are_named_and_delivered_once_they_may(
    rights: Rights, edge_factory: EdgeFactory, entity: str
) -> None:
    async with Receiver().serving() as receiver, edge_factory(nats=BrokerSettings(rights.url)) as edge:
        hook = {"delivery_method": "webhook", "webhook_url": receiver.url}
        session = await edge.session(subjects=[f"job.{entity}.>"], **hook)
        # No other subject of the stream: only the job itself shows it.
        rights.deny(f"hook.q.*.{session}")
        await edge.numbers(entity, 20)
        await becomes(edge, "forbidden")

        assert session in (await store_of(edge))["streams"]["HOOKS"]["text"]
        done = await asyncio.to_thread(callboard, "doctor", "--json", NATS_URL=rights.url, EDGE_PORT=str(edge.port))
        found = {each["check"]: each for each in json.loads(done.stdout)["findings"]}
        assert session in found["edge"]["found"]
        assert "accounts.conf" in found["edge"]["mend"]
        assert not receiver.posts

        rights.deny()
        await becomes(edge, "ok")
        await eventually(lambda: len(receiver.posts) >= 20)
        numbers = [json.loads(post.body)["data"]["n"] for post in receiver.posts]
        assert sorted(numbers) == list(range(20))


async def test_messages_sent_side_by_side_are_each_told_whether_they_are_forbidden(rights: Rights, entity: str) -> None:
    async with Broker(BrokerSettings(rights.url), "test") as broker:
        publisher = Publisher(broker.connection)
        subjects = ["hook.q.0.open", f"hook.q.0.Denied-{entity}", "hook.park.0.a.b", f"hook.q.0.Denied-{entity}"]
        rights.deny(f"hook.q.0.Denied-{entity}", "hook.park.>")

        answers = await publisher.send([Publish(subject, b"x", {}) for subject in subjects])

        assert isinstance(answers[0], Ack)
        assert [type(answer) for answer in answers[1:]] == [Forbidden] * 3
        assert [subject in str(answer) for subject, answer in zip(subjects[1:], answers[1:], strict=True)] == [True] * 3
        assert set(subjects[1:]) <= set(broker.connection.refused_publishes.subjects)


async def test_reading_that_is_forbidden_is_told_at_once(rights: Rights, entity: str) -> None:
    async with Broker(BrokerSettings(rights.url), "test") as broker:
        rights.deny("$JS.API.DIRECT.GET.>")
        reads = [
            broker.read(f"job.{entity}.>", 0),
            broker.stream("ATTEMPTS").read_run({"seq": 1, "batch": 10}, stored),
            DeadLetters(broker).read(),
        ]
        for read in reads:
            with pytest.raises(Forbidden):
                await read


async def test_a_request_is_told_that_it_is_forbidden_and_others_are_not(rights: Rights, entity: str) -> None:
    async with Broker(BrokerSettings(rights.url), "test") as broker:
        rights.deny("ev.camera.>")
        event = Event.new(f"camera.{entity}.state", {"status": "idle"})
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
