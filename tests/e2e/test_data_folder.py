"""A data folder that the version before has written: today's edge and actors serve all that is in it.

`tests/e2e/data/store.tar.xz` is such a folder, with what that version answered about it;
`python -m tests.e2e.data.make CHECKOUT` makes it, and says what is in it.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tarfile
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from actors.agent.actor import Agent, AgentSettings
from actors.alerts.actor import Alerts, AlertsSettings
from actors.system.supervisor import run_actor
from edge.webhooks.client.exchange import Exchange
from edge.webhooks.service import WebhookSettings
from router.broker import Broker
from router.nats.embedded import EmbeddedServer, EmbeddedSettings, free_port
from router.topology import TopologySettings
from tests.e2e.data.answers import read_answers
from tests.e2e.data.make import FAILING, RULES, STORE
from tests.e2e.data.receiver import ENDPOINTS, Receiver
from tests.edge.conftest import EdgeFactory, RunningEdge, edge_factory
from tests.waiting import PATIENCE, eventually, unhurried

__all__ = ["edge_factory"]

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="listens on 127.77.13.1")

# As it was made: nothing in the folder runs out, however long ago that is.
FOR_EVER = TopologySettings(events_max_age=0, deadletters_max_age=0, attempts_max_age=0)
CENTURY = 100 * 365 * 86400.0


class Started(NamedTuple):
    """Today's edge on the folder, the receiver of its webhooks, and what the version before answered."""

    edge: RunningEdge
    receiver: Receiver
    before: dict[str, Any]


@pytest.fixture
async def started(tmp_path: Path, edge_factory: EdgeFactory, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Started]:
    """Starts nats-server, edge and actors on a copy; every endpoint lets its requests wait."""
    with tarfile.open(STORE) as archive:
        archive.extractall(tmp_path, filter="data")
    of = WebhookSettings.of

    def patient(*arguments: Any) -> WebhookSettings:
        settings = of(*arguments)
        return replace(settings, worker=replace(settings.worker, keep=CENTURY))

    def unhurried_exchange(begun: float, _deadline: float) -> Exchange:
        return Exchange(begun, begun + 10 * PATIENCE)

    monkeypatch.setattr(WebhookSettings, "of", patient)
    # However long a busy machine takes: a request that is given up would change the state of its endpoint.
    monkeypatch.setattr("edge.webhooks.client.sender.Exchange", unhurried_exchange)
    nats = EmbeddedServer(EmbeddedSettings(tmp_path / "data", free_port()))
    await nats.start()
    stop = asyncio.Event()
    try:
        async with (
            Broker(unhurried(nats.url), "test", FOR_EVER) as broker,
            Receiver(**dict.fromkeys(ENDPOINTS, 0)).serving() as receiver,
            asyncio.TaskGroup() as group,
        ):
            # A run of the folder that nobody goes on with is as old as the folder.
            group.create_task(run_actor(lambda: Agent(AgentSettings(silent_after=CENTURY)), broker, stop=stop))
            group.create_task(run_actor(lambda: Alerts(AlertsSettings(str(RULES))), broker, stop=stop))
            async with edge_factory(nats.url, FOR_EVER, session_ttl=0.0) as edge:
                yield Started(edge, receiver, json.loads((tmp_path / "answers.json").read_text()))
            stop.set()
    finally:
        stop.set()
        await nats.stop()


async def test_a_data_folder_of_the_version_before_is_served_on(started: Started) -> None:
    edge, receiver, before = started
    sessions = {name: session["session_id"] for name, session in before["sessions"].items()}

    await _all_is_there(edge, before)
    await _readers_go_on(edge, sessions, before)
    await _runs_and_alerts_go_on(edge)
    assert not receiver.posts

    receiver.answers = dict.fromkeys(ENDPOINTS, 204)
    answer = await edge.http.post(f"/callbacks/sessions/{sessions['disabled']}/enable", json={})
    assert answer.status_code == 200, answer.text
    await _what_waited_is_delivered(edge, receiver, before)
    await edge.publish(*({"subject": f"{name}.1.placed", "data": {"n": 100}} for name in ENDPOINTS))
    await eventually(lambda: all(receiver.accepted(name)[-1:] == [100] for name in ENDPOINTS))


async def _all_is_there(edge: RunningEdge, before: dict[str, Any]) -> None:
    async def read() -> bool:
        # The owners of the partitions have read what is stored.
        now = await read_answers(edge.http)
        assert _endpoints(now) == _endpoints(before)
        # The alerts actor has taken over what the version before kept in events only.
        assert len(now["alerts"]) == len(before["alerts"])
        return True

    await eventually(read)
    now = await read_answers(edge.http)
    for what in ("sessions", "recoveries", "deadletters", "summary", "jobs", "runs", "attempts"):
        assert _kept(now[what], before[what]) == before[what], what
    # An alert was its newest event then, whose id and cursor were told; today it is a record, and `id` names the alert.
    alerts = [{name: alert[name] for name in alert.keys() - {"alert", "id", "cursor"}} for alert in before["alerts"]]
    assert _kept(now["alerts"], alerts) == alerts
    assert [alert["state"] for alert in now["alerts"]] == ["firing"]


def _kept(now: Any, before: Any) -> Any:
    """What is answered now, without the fields that the version before did not have; runs in the order that they had then."""
    if isinstance(now, dict) and isinstance(before, dict):
        return {name: _kept(value, before[name]) for name, value in now.items() if name in before}
    if isinstance(now, list) and isinstance(before, list) and len(now) == len(before):
        if all(isinstance(item, dict) and "run" in item for item in (*now, *before)):
            order = [item["run"] for item in before]
            now = sorted(now, key=lambda item: order.index(item["run"]))
        return [_kept(one, other) for one, other in zip(now, before, strict=True)]
    return now


def _endpoints(answers: dict[str, Any]) -> dict[str, Any]:
    """The state and the figures of each endpoint that does not fail just now.

    Events that wait are one number: some have no job until there is room for it. A pause of the failing one is over.
    """
    found = {}
    for name in ENDPOINTS:
        stats, health = answers["stats"][name], answers["health"][name]
        waiting = stats["queued_events"] + health["waiting_events"]
        found[name] = {**stats, **health, "queued_events": waiting, "waiting_events": None}
        if name == "failing":
            found[name] |= {"state": None, "reason": None}
    return found


async def _readers_go_on(edge: RunningEdge, sessions: dict[str, str], before: dict[str, Any]) -> None:
    query = f"?cursor={before['cursor']}"
    polled = await edge.poll(sessions["by polling"], query)
    async with edge.sse(sessions["by sse"], query) as sse, edge.socket(sessions["by websocket"], query) as socket:
        assert [event["id"] for event in polled["events"]] == before["after_cursor"]
        assert [event["id"] for event in await sse.events(4)] == before["after_cursor"]
        assert [event["data"]["n"] for event in await socket.events(2)] == [2, 4]

        await edge.publish({"subject": "order.9.placed", "data": {"n": 8}})
        assert [event["data"]["n"] for event in await sse.events(1)] == [8]
        assert [event["data"]["n"] for event in await socket.events(1)] == [8]


async def _runs_and_alerts_go_on(edge: RunningEdge) -> None:
    await edge.publish(
        {"subject": "agent.run-1.progress", "data": {"progress": 0.75}},
        {"subject": "agent.run-2.workflow_start", "data": {"title": "again"}},
        {"subject": "agent.run-2.completion", "data": {"success": True}},
    )

    async def gone_on() -> bool:
        now = await read_answers(edge.http)
        runs = {run["run"]: run for run in now["runs"]}
        assert runs["run-1"]["progress"] == 0.75
        return [alert["state"] for alert in now["alerts"]] == ["resolved"]

    [alert] = (await edge.http.get("/alerts")).json()["alerts"]
    await eventually(gone_on)
    gone = (await edge.http.get(f"/alerts/{alert['id']}")).json()
    assert gone["reason"] == "resolve_when" and [step["what"] for step in gone["history"]] == ["fired", "resolved"]


async def _what_waited_is_delivered(edge: RunningEdge, receiver: Receiver, before: dict[str, Any]) -> None:
    waited = {"failing": FAILING, "hanging": 3, "disabled": 2}

    async def counted() -> bool:
        now = await read_answers(edge.http)
        for name in ENDPOINTS:
            delivered = before["stats"][name]["events_delivered"] + waited.get(name, 0)
            assert now["stats"][name]["events_delivered"] == delivered, name
        return now["deadletters"] == before["deadletters"]

    await eventually(counted)
    assert receiver.accepted("hanging") == [0, 1, 2]
    assert sorted(receiver.accepted("disabled")) == [1, 2]
    by_key: dict[int, list[int]] = {}
    for n in receiver.accepted("failing"):
        by_key.setdefault(n % 4, []).append(n)
    assert by_key == {key: list(range(key, FAILING, 4)) for key in range(4)}
    assert {post.endpoint for post in receiver.posts} == waited.keys()
