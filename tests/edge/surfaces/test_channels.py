"""The real-time guide's WebSocket: subscribing over the connection, following a job, and who may read what."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import websockets

from edge.settings import SessionSettings
from router.alerts import subjects
from router.broker import Broker
from router.event import Event
from tests.edge.auth.conftest import SecuredFactory, bearer
from tests.edge.conftest import UNHURRIED, EdgeFactory, RunningEdge, Socket
from tests.router.firings import raised
from tests.router.resharding import SHORT, broker_of, reshard


@contextlib.asynccontextmanager
async def channels(edge: RunningEdge, query: str = "", **options: Any) -> AsyncIterator[Socket]:
    """Opens the WebSocket, and reads that it is connected."""
    async with websockets.connect(f"ws://127.0.0.1:{edge.port}/ws{query}", **{**UNHURRIED, **options}) as raw:
        socket = Socket(raw)
        connected = await socket.next()
        assert (connected["type"], connected["message"]) == ("connected", "Connected to real-time service")
        yield socket


async def ask(socket: Socket, **said: Any) -> dict[str, Any]:
    await socket.raw.send(json.dumps(said))
    return await socket.next()


async def test_a_client_subscribes_reads_and_unsubscribes(either: RunningEdge, entity: str) -> None:
    channel = {"type": "job_progress", "id": entity}

    async with channels(either, "?userId=test") as socket:
        assert (await ask(socket, type="ping"))["type"] == "pong"
        subscribed = await ask(socket, type="subscribe", channel=channel)
        await either.publish(
            {"subject": f"job.{entity}.job_progress", "data": {"progress": 0.5, "status": "processing"}}
        )
        event = await socket.next()
        unsubscribed = await ask(socket, type="unsubscribe", channel={"type": "job_progress"})
        await either.publish({"subject": f"job.{entity}.job_progress", "data": {"progress": 0.6}})
        assert (await ask(socket, type="ping"))["type"] == "pong"

    assert (subscribed["type"], subscribed["channel"], subscribed["success"]) == ("subscribed", "job_progress", True)
    assert (event["type"], event["jobId"], event["progress"]) == ("job_progress", entity, 0.5)
    assert (unsubscribed["type"], unsubscribed["success"]) == ("unsubscribed", True)


async def test_what_one_client_says_changes_nothing_for_another_that_reads_the_same(
    edge: RunningEdge, entity: str
) -> None:
    async with channels(edge, f"?jobId={entity}") as one, channels(edge, f"?jobId={entity}") as two:
        await edge.publish({"subject": f"job.{entity}.job_progress", "data": {"progress": 0.5}})
        assert (await one.next())["progress"] == (await two.next())["progress"] == 0.5
        # All that it reads of the job is still read for its other channels.
        assert (await ask(one, type="unsubscribe", channel={"type": "job_progress"}))["success"]
        assert (await ask(one, type="subscribe", channel={"type": "ai_stream", "id": entity}))["success"]
        await edge.publish(
            {"subject": f"job.{entity}.job_progress", "data": {"progress": 0.6}},
            {"subject": f"job.{entity}.video_render_progress", "data": {"progress": 0.7}},
        )

        assert [(await two.next())["progress"] for _ in range(2)] == [0.6, 0.7]
        assert (await one.next())["progress"] == 0.7


async def test_a_job_named_by_the_address_is_followed_from_its_newest_state(
    either: RunningEdge, store: Broker, entity: str
) -> None:
    await store.publish(Event.new(f"job.{entity}.workflow_start", {}))
    for progress in (0.1, 0.2):
        await store.publish(Event.new(f"job.{entity}.state", {"status": "running", "progress": progress}))

    async with channels(either, f"?jobId={entity}") as socket:
        said = [await socket.next(), await socket.next()]
        await either.publish({"subject": f"job.{entity}.job_progress", "data": {"progress": 0.5}})
        last = await socket.next()
    async with channels(either, f"?jobId={entity}&cursor={said[1]['cursor']}") as socket:
        again = await socket.next()

    assert {(each["type"], each["progress"]) for each in said} == {
        ("job_progress", 0.2),
        ("video_render_progress", 0.2),
    }
    assert last["progress"] == again["progress"] == 0.5


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"type": "subscribe", "channel": {"type": "weather"}}, "channel.type must be one of"),
        ({"type": "subscribe", "channel": {"type": "job_progress"}}, "which one of job_progress"),
        ({"type": "subscribe"}, "channel.type must be one of"),
        ({"type": "subscribe", "channel": {"type": "job_progress", "id": 7}}, "must be short texts"),
        ({"type": "dance"}, "known types"),
        ([1], "must be a JSON object"),
    ],
)
async def test_what_cannot_be_done_is_answered_and_the_connection_goes_on(
    edge: RunningEdge, said: Any, words: str
) -> None:
    async with channels(edge) as socket:
        await socket.raw.send(json.dumps(said))
        answer = await socket.next()
        assert words in answer.get("error", answer.get("message", ""))
        assert answer.get("success") is not True
        assert (await ask(socket, type="ping"))["type"] == "pong"


async def test_more_channels_than_a_view_has_patterns_are_refused(edge: RunningEdge) -> None:
    async with channels(edge) as socket:
        answers = [
            await ask(socket, type="subscribe", channel={"type": "job_progress", "id": str(n)}) for n in range(33)
        ]

    assert [answer["success"] for answer in answers] == [True] * 32 + [False]
    assert answers[-1]["code"] == "too_many"


async def test_an_idle_client_hears_that_the_server_is_there_and_that_it_goes(
    edge_factory: EdgeFactory,
) -> None:
    async with edge_factory(session=SessionSettings(heartbeat=0.2)) as edge, channels(edge) as socket:
        assert set(await socket.next()) == {"type", "serverTime"}
        assert edge.edge is not None
        await edge.edge.takeover.finish()
        while (said := await socket.next())["type"] == "heartbeat":
            pass

    assert (said["type"], said["message"], said["reconnect"]) == ("disconnected", "Server shutting down", True)


async def test_a_client_reads_what_is_granted_and_the_alerts_of_its_own_user(
    secured: SecuredFactory, store: Broker, name: str, entity: str
) -> None:
    async def fire(user: str, title: str) -> None:
        for subject in subjects(f"rule-{entity}", [user], "firing"):
            await store.publish(Event.new(subject, {"alert": "a", "title": title}))

    async with secured() as edge:
        mine = edge.as_(name, read=[f"job.{entity}.>"])
        ticket = (await mine.http.post("/tickets", json={"path": "/ws"})).json()["ticket"]
        async with channels(edge, f"?ticket={ticket}&userId=other") as socket:
            others = await ask(socket, type="subscribe", channel={"type": "alerts", "userId": "other"})
            own = await ask(socket, type="subscribe", channel={"type": "alerts", "userId": name})
            job = await ask(socket, type="subscribe", channel={"type": "job_progress", "id": entity})
            foreign = await ask(socket, type="subscribe", channel={"type": "job_progress", "id": "x"})
            await fire("other", "theirs")
            await fire(name, "mine")
            alert = await socket.next()
        with pytest.raises(websockets.InvalidStatus) as refused:
            async with channels(edge, additional_headers=bearer("nonsense")):
                pass

    assert [answer["success"] for answer in (others, own, job, foreign)] == [False, True, True, False]
    assert {others["code"], foreign["code"]} == {"not_granted"}
    assert (alert["type"], alert["title"]) == ("alert", "mine")
    assert refused.value.response.status_code == 401


async def test_channels_that_are_subscribed_to_at_once_are_all_read(either: RunningEdge, entity: str) -> None:
    jobs = [f"{entity}-{n}" for n in range(8)]

    async with channels(either) as socket:
        for job in jobs:
            await socket.raw.send(json.dumps({"type": "subscribe", "channel": {"type": "job_progress", "id": job}}))
        assert [(await socket.next())["success"] for _ in jobs] == [True] * len(jobs)
        for job in jobs:
            await either.publish({"subject": f"job.{job}.job_progress", "data": {"progress": 0.5}})
        said = [(await socket.next())["jobId"] for _ in jobs]

    assert said == jobs


async def test_who_subscribes_late_is_shown_the_newest_there_is(
    either: RunningEdge, store: Broker, entity: str
) -> None:
    for progress in (0.1, 0.2):
        await store.publish(Event.new(f"job.{entity}.state", {"status": "running", "progress": progress}))
    await either.publish(
        {"subject": f"job.{entity}.job_progress", "data": {"progress": 0.3, "status": "processing"}},
        {"subject": f"metric.{entity}.campaign_metrics", "data": {"metrics": {"clicks": 5}, "change": {}}},
    )

    async with channels(either) as socket:
        said = {}
        for kind in ("job_progress", "campaign_metrics", "video_render"):
            assert (await ask(socket, type="subscribe", channel={"type": kind, "id": entity}))["success"]
            said[kind] = await socket.next()
        # A job that publishes in the guide's shape is not shown by the state that is kept of it, also not later.
        await store.publish(Event.new(f"job.{entity}.state", {"status": "running", "progress": 0.4}))
        render = await socket.next()
        await either.publish({"subject": f"job.{entity}.job_progress", "data": {"progress": 0.5}})
        live = await socket.next()

    assert (said["job_progress"]["type"], said["job_progress"]["progress"]) == ("job_progress", 0.3)
    assert said["campaign_metrics"]["metrics"] == {"clicks": 5}
    assert (said["video_render"]["type"], said["video_render"]["progress"]) == ("video_render_progress", 0.2)
    assert (render["type"], render["progress"]) == ("video_render_progress", 0.4)
    assert (live["type"], live["progress"]) == ("job_progress", 0.5) and live["cursor"] > said["job_progress"]["cursor"]


async def test_who_subscribes_to_alerts_is_shown_those_that_fire_for_the_user_and_for_all(
    either: RunningEdge, store: Broker, entity: str
) -> None:
    user = f"user-{entity}"
    await raised(store, f"rule-{entity}", "mine", title="mine", audience=(user,))
    await raised(store, f"rule-{entity}", "all", title="all")
    await raised(store, f"rule-{entity}", "other", title="other", audience=("other",))

    async with channels(either, f"?userId={user}") as socket:
        assert (await ask(socket, type="subscribe", channel={"type": "alerts"}))["success"]

        async def told() -> set[str]:
            said: set[str] = set()
            # Others in this server may fire for all, too.
            while not {"mine", "all"} <= said:
                alert = await socket.next()
                assert alert["type"] == "alert" and alert["alertId"] and alert["timestamp"]
                said.add(alert["title"])
            return said

        assert "other" not in await told()


async def test_a_refused_opening_is_told_as_the_guide_has_errors(edge: RunningEdge) -> None:
    async with websockets.connect(f"ws://127.0.0.1:{edge.port}/ws?jobId=x&cursor=nonsense", **UNHURRIED) as raw:
        said = json.loads(await raw.recv())
        with pytest.raises(websockets.ConnectionClosed):
            await raw.recv()

    assert (said["type"], said["code"]) == ("error", "bad_cursor") and said["message"] and said["timestamp"]


async def test_what_is_said_before_the_connection_has_begun_is_answered_behind_connected(
    either: RunningEdge, entity: str
) -> None:
    await either.publish({"subject": f"job.{entity}.job_progress", "data": {"progress": 0.5}})
    async with websockets.connect(f"ws://127.0.0.1:{either.port}/ws", **UNHURRIED) as raw:
        await raw.send(json.dumps({"type": "subscribe", "channel": {"type": "job_progress", "id": entity}}))
        said = [json.loads(await raw.recv())["type"] for _ in range(3)]

    assert said == ["connected", "subscribed", "job_progress"]


@pytest.mark.slow
async def test_the_newest_of_a_channel_whose_events_lie_in_several_streams_leads_on_behind_itself(
    edge_factory: EdgeFactory, own_nats: str
) -> None:
    async with broker_of(own_nats) as broker, edge_factory(nats=own_nats, topology=SHORT) as edge:
        await edge.publish({"subject": "job.j.job_progress", "data": {"progress": 0.1}})
        await reshard(broker, 3)
        await edge.publish(
            {"subject": "agent.j.job_progress", "data": {"progress": 0.2}},
            {"subject": "job.other.output", "data": {}},
        )
        async with channels(edge) as socket:
            await ask(socket, type="subscribe", channel={"type": "job_progress", "id": "j"})
            newest = await socket.next()
        await edge.publish({"subject": "job.j.job_progress", "data": {"progress": 0.3}})
        async with channels(edge, f"?jobId=j&cursor={newest['cursor']}") as socket:
            following = await socket.next()

    assert (newest["progress"], following["progress"]) == (0.2, 0.3)
    assert newest["cursor"].startswith("2-")
