"""Events whose live copy never came are noticed, and delivered in order: by the next of their subject, or by counting.

The copies travel at most once. They are lost here by a real server that stores events and, for a while, copies none.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edge.session import SessionSettings
from router.broker import Broker
from router.connection import BrokerSettings
from router.embedded import EmbeddedServer, EmbeddedSettings, free_port
from router.topology import TopologySettings, apply, streams
from tests.edge.conftest import EdgeFactory, RunningEdge
from tests.waiting import eventually


class Deaf:
    """A nats-server that can be told to copy no event to those who listen."""

    def __init__(self, edge: RunningEdge, broker: Broker) -> None:
        self.edge = edge
        self._broker = broker

    async def keep_to_itself(self, *subjects: str) -> list[str]:
        """Stores events without a live copy; returns their cursors."""
        settings = TopologySettings()
        config = {name: value for name, value in streams(settings)[0].desired.items() if name != "republish"}
        await self._broker.connection.api("STREAM.UPDATE.EVENTS", config)
        cursors = await self.edge.publish(*({"subject": subject, "data": {"n": subject}} for subject in subjects))
        await apply(self._broker.connection, settings)
        return cursors

    async def suspicions(self) -> float:
        """How often the edge had reason to read again, so far."""
        lines = (await self.edge.http.get("/metrics")).text.splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith("edge_suspicions_total "))

    async def polling(self, path: str) -> bool:
        """Whether a poll is being waited for."""
        readers: dict[str, int] = (await self.edge.http.get(f"{path}/stats")).json()["readers"]
        return readers["polling"] == 1

    async def left(self, session: str) -> bool:
        """Whether nobody reads a session."""
        readers: dict[str, int] = (await self.edge.stats(session))["readers"]
        return not any(readers.values())

    async def say(self, *subjects: str) -> list[str]:
        return await self.edge.publish(*({"subject": subject, "data": {"n": subject}} for subject in subjects))


@pytest.fixture(params=[True, False], ids=["lane", "plain"])
async def deaf(edge_factory: EdgeFactory, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Deaf]:
    server = EmbeddedServer(EmbeddedSettings(tmp_path, free_port()))
    await server.start()
    try:
        session = SessionSettings(heartbeat=0.4)
        async with (
            edge_factory(nats=server.url, session=session, lane=request.param) as edge,
            Broker(BrokerSettings(server.url), "test") as broker,
        ):
            yield Deaf(edge, broker)
    finally:
        await server.stop()


def n(events: list[dict]) -> list[str]:
    return [event["data"]["n"] for event in events]


async def test_the_next_event_of_a_subject_tells_that_one_was_missed(deaf: Deaf) -> None:
    session = await deaf.edge.session(subjects=["job.>"])
    async with deaf.edge.socket(session) as socket:
        await deaf.say("job.a.said")
        assert n(await socket.events(1)) == ["job.a.said"]
        await deaf.keep_to_itself("job.a.kept", "job.a.said")
        await deaf.say("job.a.said")

        assert n(await socket.events(3)) == ["job.a.kept", "job.a.said", "job.a.said"]


async def test_what_is_followed_by_nothing_is_found_by_counting(deaf: Deaf) -> None:
    session = await deaf.edge.session(subjects=["job.>"])
    async with deaf.edge.sse(session) as stream:
        await deaf.say("job.a.said")
        assert n(await stream.events(1)) == ["job.a.said"]
        await deaf.keep_to_itself("job.b.said")

        assert n(await stream.events(1)) == ["job.b.said"]


async def test_who_was_led_past_a_missed_event_is_sent_back_before_it(deaf: Deaf) -> None:
    session = await deaf.edge.session(subjects=["job.>"])
    async with deaf.edge.socket(session) as socket:
        (before,) = await deaf.say("job.a.said")
        await socket.events(1)
        await deaf.keep_to_itself("job.b.kept")
        await deaf.say("job.c.said")
        assert n(await socket.events(1)) == ["job.c.said"]
        while (bye := await socket.next()).get("control") != "bye":
            assert "control" in bye, bye

        assert (bye["reason"], bye["reconnect"]) == ("events_missed", True)
        assert bye["cursor"] == before
    async with deaf.edge.socket(session, f"?cursor={before}") as socket:
        assert n(await socket.events(2)) == ["job.b.kept", "job.c.said"]


async def test_an_eventsource_is_sent_back_by_the_id_of_its_bye(deaf: Deaf) -> None:
    session = await deaf.edge.session(subjects=["job.>"])
    async with deaf.edge.sse(session) as stream:
        (before,) = await deaf.say("job.a.said")
        await stream.events(1)
        await deaf.keep_to_itself("job.b.kept")
        await deaf.say("job.c.said")
        await stream.events(1)
        while (await stream.next())[0] != "bye":
            pass
    assert stream.last_id == before
    async with deaf.edge.sse(session, headers={"Last-Event-ID": stream.last_id}) as stream:
        assert n(await stream.events(2)) == ["job.b.kept", "job.c.said"]


async def test_a_long_poll_leads_past_nothing_that_was_missed(deaf: Deaf) -> None:
    session = await deaf.edge.session(subjects=["job.>"], delivery_method="polling")
    path = f"/callbacks/sessions/{session}"
    async with asyncio.TaskGroup() as tasks:
        poll = tasks.create_task(deaf.edge.http.get(f"{path}/events", params={"wait": 20}))
        await eventually(lambda: deaf.polling(path))
        await deaf.keep_to_itself("job.b.kept")
        await deaf.say("job.c.said")
    assert n(poll.result().json()["events"]) == ["job.b.kept", "job.c.said"]


async def test_nobody_is_sent_anywhere_while_nothing_is_missed(deaf: Deaf) -> None:
    session = await deaf.edge.session(subjects=["job.>"])
    suspicions = await deaf.suspicions()
    async with deaf.edge.socket(session) as socket:
        for number in range(6):
            await deaf.say(f"job.a{number}.said", f"job.b{number}.said", "job.c.said")
            await socket.events(3)
        for _ in range(4):
            await socket.control("heartbeat")

    assert {said["control"] for said in socket.controls} <= {"ready", "heartbeat", "position"}
    assert await deaf.suspicions() == suspicions


async def test_what_happened_while_nobody_listened_is_not_missed(deaf: Deaf) -> None:
    session = await deaf.edge.session(subjects=["job.>"])
    suspicions = await deaf.suspicions()
    for number in range(3):
        async with deaf.edge.socket(session) as socket:
            await deaf.say("job.a.said", "job.b.said")
            assert n(await socket.events(4 * number + 2))[-2:] == ["job.a.said", "job.b.said"]
        await eventually(lambda: deaf.left(session))
        await deaf.say("job.a.said", "job.b.said")

    assert await deaf.suspicions() == suspicions
