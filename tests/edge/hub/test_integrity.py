"""Events whose live copy never came are noticed, and delivered in order: by the next of their subject, or by counting.

The copies travel at most once. They are lost here by a real server that stores events and, for a while, copies none.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edge.settings import SessionSettings
from router.broker import Broker
from router.nats.embedded import EmbeddedServer, EmbeddedSettings, free_port
from router.nats.settings import BrokerSettings
from router.provisioning import apply
from router.topology import TopologySettings, streams
from tests.edge.conftest import EdgeFactory, RunningEdge, n
from tests.waiting import eventually


class Deaf:
    """A nats-server that can be told to copy no event to those who listen."""

    def __init__(self, edge: RunningEdge, broker: Broker, server: EmbeddedServer) -> None:
        self.edge = edge
        self.broker = broker
        self._server = server

    async def make_anew(self) -> None:
        """Deletes the stream, and makes another one of that name."""
        await self.broker.connection.api("STREAM.DELETE.EVENTS")
        await apply(self.broker.connection, TopologySettings())

    async def die(self) -> None:
        """Ends without a word, and starts again."""
        assert self._server.process is not None
        self._server.process.kill()
        await self._server.process.wait()
        await self._server.start()

    async def keep_to_itself(self, *subjects: str) -> list[str]:
        """Stores events without a live copy; returns their cursors."""
        settings = TopologySettings()
        config = {name: value for name, value in streams(settings)[0].desired.items() if name != "republish"}
        await self.broker.connection.api("STREAM.UPDATE.EVENTS", config)
        cursors = await self.edge.publish(*({"subject": subject, "data": {"n": subject}} for subject in subjects))
        await apply(self.broker.connection, settings)
        return cursors

    async def possible_losses(self) -> float:
        """How often the edge had reason to read again, so far."""
        lines = (await self.edge.http.get("/metrics")).text.splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith("edge_possible_losses_total "))

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


@contextlib.asynccontextmanager
async def running(edge_factory: EdgeFactory, folder: Path, lane: bool, heartbeat: float) -> AsyncIterator[Deaf]:
    server = EmbeddedServer(EmbeddedSettings(folder, free_port()))
    await server.start()
    try:
        async with (
            edge_factory(nats=server.url, session=SessionSettings(heartbeat=heartbeat), lane=lane) as edge,
            Broker(BrokerSettings(server.url), "test") as broker,
        ):
            yield Deaf(edge, broker, server)
    finally:
        await server.stop()


@pytest.fixture(params=[True, False], ids=["lane", "plain"])
def lane(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
async def deaf(edge_factory: EdgeFactory, tmp_path: Path, lane: bool) -> AsyncIterator[Deaf]:
    async with running(edge_factory, tmp_path, lane, heartbeat=0.4) as found:
        yield found


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
        # With or without the check of its event: both name the same place.
        assert before.startswith(bye["cursor"])
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
        poll = tasks.create_task(deaf.edge.http.get(f"{path}/events", params={"wait": 50}))
        await eventually(lambda: deaf.polling(path))
        await deaf.keep_to_itself("job.b.kept")
        await deaf.say("job.c.said")
    assert n(poll.result().json()["events"]) == ["job.b.kept", "job.c.said"]


async def test_nobody_is_sent_anywhere_while_nothing_is_missed(deaf: Deaf, monkeypatch: pytest.MonkeyPatch) -> None:
    # A copy that is only late, as on a busy machine, is waited for.
    monkeypatch.setattr("router.live.COUNT_PAUSES", (0.1, 0.5, 5.0, 20.0))
    session = await deaf.edge.session(subjects=["job.>"])
    before = await deaf.possible_losses()
    async with deaf.edge.socket(session, "?controls=all") as socket:
        for number in range(6):
            await deaf.say(f"job.a{number}.said", f"job.b{number}.said", "job.c.said")
            await socket.events(3)
        for _ in range(4):
            await socket.control("heartbeat")

    assert {said["control"] for said in socket.controls} <= {"ready", "heartbeat", "position"}
    assert await deaf.possible_losses() == before


async def test_what_happened_while_nobody_listened_is_not_missed(deaf: Deaf, monkeypatch: pytest.MonkeyPatch) -> None:
    # A copy that is only late, as on a busy machine, is waited for.
    monkeypatch.setattr("router.live.COUNT_PAUSES", (0.1, 0.5, 5.0, 20.0))
    session = await deaf.edge.session(subjects=["job.>"])
    before = await deaf.possible_losses()
    for number in range(3):
        async with deaf.edge.socket(session) as socket:
            await deaf.say("job.a.said", "job.b.said")
            assert n(await socket.events(4 * number + 2))[-2:] == ["job.a.said", "job.b.said"]
        await eventually(lambda: deaf.left(session))
        await deaf.say("job.a.said", "job.b.said")

    assert await deaf.possible_losses() == before


async def test_what_was_missed_before_the_server_died_is_found_once_it_is_back(
    edge_factory: EdgeFactory, tmp_path: Path, lane: bool
) -> None:
    # No heartbeat comes in time to find it.
    async with running(edge_factory, tmp_path, lane, heartbeat=60) as deaf:
        session = await deaf.edge.session(subjects=["job.>"])
        async with deaf.edge.socket(session) as socket:
            await deaf.say("job.a.said")
            await socket.events(1)
            await deaf.keep_to_itself("job.b.kept")
            await deaf.say("job.c.said")
            assert n(await socket.events(1)) == ["job.c.said"]
            await deaf.die()
            bye = await socket.control("bye")
        assert bye["reason"] == "events_missed"
        async with deaf.edge.socket(session, f"?cursor={bye['cursor']}") as socket:
            assert n(await socket.events(2)) == ["job.b.kept", "job.c.said"]


async def test_a_live_reader_is_told_that_the_stream_was_made_anew_and_sees_all_of_it(deaf: Deaf) -> None:
    session = await deaf.edge.session(subjects=["job.>"])
    async with deaf.edge.socket(session) as socket, deaf.edge.sse(session) as stream:
        for number in range(5):
            await deaf.say(f"job.a{number}.said")
        await socket.events(5)
        await stream.events(5)
        await deaf.make_anew()
        gap = await socket.control("gap")
        assert gap["reset"] is True
        cursors = await deaf.say("job.b.said", "job.c.said")
        assert [event["cursor"] for event in await socket.events(2)] == cursors
        assert [event["cursor"] for event in await stream.events(2)] == cursors


async def test_a_long_poll_is_told_that_the_stream_was_made_anew_and_brings_all_of_it(deaf: Deaf) -> None:
    session = await deaf.edge.session(subjects=["job.>"], delivery_method="polling")
    path = f"/callbacks/sessions/{session}"
    await deaf.say("job.a.said", "job.b.said", "job.c.said")
    come = (await deaf.edge.poll(session))["next"]
    async with asyncio.TaskGroup() as tasks:
        poll = tasks.create_task(deaf.edge.http.get(f"{path}/events", params={"cursor": come, "wait": 50}))
        await eventually(lambda: deaf.polling(path))
        await deaf.make_anew()
        await deaf.say("job.d.said")
    found, cursor = poll.result().json(), come
    # A poll that ends while the stream is away, or brings nothing, is asked again from where it had come to.
    while "gap" not in found and not found.get("events"):
        cursor = found.get("next", cursor)
        assert cursor == come, "the client was led past what it had not seen"
        found = (await deaf.edge.http.get(f"{path}/events", params={"cursor": cursor, "wait": 5})).json()

    assert found["gap"]["reset"] is True
    assert n(found["events"]) == ["job.d.said"]
    assert found["next"] == found["events"][0]["cursor"] != come
