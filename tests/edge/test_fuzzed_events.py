"""Fuzzed msgpack over HTTP and by NATS, with everything on: all stays alive, each record is delivered or a dead letter."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from actors.agent.actor import Agent
from actors.alerts.actor import Alerts, AlertsSettings
from actors.system.actor import Actor
from actors.system.supervisor import run_actor
from router.broker import Broker
from router.codec import decode
from router.errors import BadEvent, Refused
from router.record import Record
from tests.edge.conftest import EdgeFactory, RunningEdge
from tests.edge.webhooks.stage import Receiver
from tests.fuzz import mutated_events, odd_fields, packed
from tests.letters import letters_under
from tests.waiting import eventually, unhurried

COUNT = 150
RULES = """
rules:
  - name: fuzzed
    subjects: ["agent.fuzz.>"]
    when: "data.n == 1 || data.m.all(k, size(k) > 0) || size(data.text) > 0 || has(data.at)"
    severity: warning
    title: "{entity} said {data.text} at {data.at}, {data.m.a} and {data.n}"
    message: "{data}"
    value: "data.n"
    key: "{data.text}"
    cooldown: 0
  - name: always
    subjects: ["agent.fuzz.>"]
    when: "true"
    severity: info
    title: "{data.n}"
    resolve_after: 1
"""


def drawn(strategy: st.SearchStrategy[Any]) -> list[Any]:
    """Examples of a strategy, for a test that cannot run once for each."""
    found: list[Any] = []

    @settings(max_examples=COUNT, phases=[Phase.generate], suppress_health_check=list(HealthCheck), deadline=None)
    @given(strategy)
    def collect(example: Any) -> None:
        found.append(example)

    collect()
    return found


@contextlib.asynccontextmanager
async def acting(url: str, make: Callable[[], Actor]) -> AsyncIterator[asyncio.Task[None]]:
    """Runs an actor; the task ends by itself only where the actor gives up."""
    stop = asyncio.Event()
    async with Broker(unhurried(url), "actor") as broker:
        running = asyncio.ensure_future(run_actor(make, broker, stop=stop))
        try:
            yield running
        finally:
            stop.set()
            await running


async def exists(broker: Broker, consumer: str) -> bool:
    try:
        await broker.connection.api(f"CONSUMER.INFO.EVENTS.{consumer}")
    except Refused:
        return False
    return True


async def lag(broker: Broker, consumer: str) -> int:
    info = await broker.connection.api(f"CONSUMER.INFO.EVENTS.{consumer}")
    return int(info["num_pending"]) + int(info["num_ack_pending"])


async def everything(broker: Broker, pattern: str) -> list[Record]:
    """All records under a pattern."""
    found: list[Record] = []
    more, after = True, 0
    while more:
        page = await broker.read(pattern, after)
        found += page.records
        more, after = page.more and bool(page.records), found[-1].sequence if found else 0
    return found


async def publish_all(edge: RunningEdge, broker: Broker) -> tuple[int, int]:
    """Publishes fuzzed events on both ways in; how many were taken over HTTP, and how many refused."""
    kinds = ("output", "progress", "completion", "workflow_start", "error", "state", "status")
    taken = refused = 0
    for number, fields in enumerate(drawn(odd_fields())):
        body = {name: fields[name] for name in ("source", "key", "cause", "trace", "data") if name in fields}
        body |= {"subject": f"agent.fuzz.{kinds[number % len(kinds)]}"}
        answer = await edge.http.post("/events", content=packed(body), headers={"Content-Type": "application/msgpack"})
        assert answer.status_code in (201, 400, 409, 422), answer.text  # 409: the run is over
        taken += answer.status_code == 201
        refused += answer.status_code != 201
    for number, payload in enumerate(drawn(mutated_events())):
        await broker.store(f"ev.agent.fuzz.{kinds[number % len(kinds)]}", payload, {})
    for number, fields in enumerate(drawn(odd_fields())):
        # Sound but for its data, under the subject that it names, so that the actors take it.
        kind = kinds[number % len(kinds)]
        sound = {"id": f"f{number}", "type": kind, "source": "alerts", "subject": f"agent.fuzz.{kind}", "time": number}
        payload = packed({**sound, "data": fields["data"]})
        await broker.store(f"ev.agent.fuzz.{kind}", payload, {})
        alert = f"alert.fuzz{number}.firing"
        said = {"rule": "always", "key": "fuzz", "alert": "a" * 900, "count": 1, "since": "0001-01-01T00:00:00"}
        data = {**{name: value for name, value in fields["data"].items() if isinstance(name, str)}, **said}
        await broker.store(f"ev.{alert}", packed({**sound, "subject": alert, "type": "firing", "data": data}), {})
    return taken, refused


@pytest.mark.slow
async def test_whatever_is_published_everything_lives_and_each_record_is_delivered_or_a_dead_letter(
    edge_factory: EdgeFactory, own_nats: str, tmp_path: Path
) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES)
    async with (
        Receiver().serving() as receiver,
        Broker(unhurried(own_nats), "another client") as broker,
        edge_factory(own_nats) as edge,
        acting(own_nats, lambda: Alerts(AlertsSettings(rules_file=str(rules)))) as alerts,
        acting(own_nats, Agent) as agent,
    ):
        subjects = ["agent.fuzz.>"]
        filtered = "data.n == -7 || data.m.all(k, size(k) > 0) || type == 'last'"
        session = await edge.session(subjects=subjects)
        narrow = await edge.session(subjects=subjects, filter=filtered)
        hooks = [
            await edge.session(delivery_method="webhook", webhook_url=receiver.url, subjects=subjects, **more)
            for more in (
                {},
                {"mode": "fifo"},
                {"filter": filtered},
                {"dialect": "cloudevents-binary"},
                {"mode": "keyed"},
            )
        ]
        for actor in ("alerts", "agent"):
            await eventually(lambda actor=actor: exists(broker, f"actor-{actor}"), within=30)
        async with edge.socket(session) as socket, edge.sse(narrow) as sse:
            await socket.control("ready")
            await sse.next()

            taken, refused = await publish_all(edge, broker)
            await broker.store(
                "ev.agent.fuzz.last",
                packed(
                    {"id": "last", "type": "last", "source": "x", "subject": "agent.fuzz.last", "time": 1, "data": {}}
                ),
                {},
            )
            records = await everything(broker, "agent.fuzz.>")
            sound = [record for record in records if _decodes(record.payload)]
            # The agent actor's own states come beside them, and after the last that is waited for.
            heard = await heard_until_last(socket.raw)
            narrowed = await sse_until_last(sse)

            async def all_accounted() -> bool:
                buried = {letter.origin.sequence for letter in await letters_under(broker, "dead.ingest.EVENTS")}
                spoilt = {record.sequence for record in records} - {record.sequence for record in sound}
                assert spoilt <= buried
                for hook in hooks:
                    stats = await edge.stats(hook)
                    assert stats["queued_events"] == 0 and stats["events_delivered"] + stats["events_failed"] > 0, stats
                return await lag(broker, "actor-alerts") == 0 and await lag(broker, "actor-agent") == 0

            await eventually(all_accounted, within=300)
            stats = [await edge.stats(hook) for hook in hooks]

        assert taken > 20 and refused > 0
        last = next(record.sequence for record in sound if record.subject == "agent.fuzz.last")
        assert {record.sequence for record in sound if record.sequence <= last} <= heard
        assert narrowed <= heard
        posted = stats[0]
        assert posted["events_delivered"] >= len(sound)
        assert not alerts.done() and not agent.done()
        assert (await edge.http.get("/readyz")).status_code == 200
        for path in ("/runs", "/alerts", "/deadletters", "/metrics"):
            assert (await edge.http.get(path)).status_code == 200, path
        assert (await edge.poll(session, "?cursor=earliest&limit=1000"))["events"]


def _decodes(payload: bytes) -> bool:
    try:
        decode(payload)
    except BadEvent:
        return False
    return True


def _place(cursor: str) -> int:
    return int(cursor.split("-")[2], 16)


async def heard_until_last(raw: Any) -> set[int]:
    """The sequences of what a WebSocket brings, up to the event of type `last`."""
    heard: set[int] = set()
    async with asyncio.timeout(60):
        while True:
            said = json.loads(await raw.recv())
            if "control" not in said:
                heard.add(_place(said["cursor"]))
                if said["event_type"] == "last":
                    return heard


async def sse_until_last(sse: Any) -> set[int]:
    heard: set[int] = set()
    async with asyncio.timeout(60):
        while True:
            name, cursor, data = await sse.next()
            if name == "message":
                heard.add(_place(cursor))
                if data["event_type"] == "last":
                    return heard
