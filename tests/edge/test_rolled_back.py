"""After an older backup of the store is restored, sequences are given to other events: every reader is told, and misses none."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from router.nats.embedded import free_port
from tests.edge.conftest import EdgeFactory, RunningEdge
from tests.edge.webhooks.stage import Receiver
from tests.servers import Server, running_server
from tests.waiting import eventually

# Before the backup, between it and the restore, and after that: past the end of the former life.
KEPT, LOST, NEW = 4, 5, 9


class Store:
    """A nats-server whose data can be backed up and restored while the edge runs."""

    def __init__(self, server: Server, data: Path) -> None:
        self.url = server.url
        self._server = server
        self._data = data
        self._backup = data.with_name("backup")

    async def back_up(self) -> None:
        await asyncio.to_thread(self._server.shut_down)
        await asyncio.to_thread(shutil.copytree, self._data, self._backup)
        await asyncio.to_thread(self._server.start)

    async def restore(self, part: str = ".") -> None:
        """Restores everything, or only what lies in one folder of the data."""
        await asyncio.to_thread(self._server.shut_down)
        await asyncio.to_thread(shutil.rmtree, self._data / part)
        await asyncio.to_thread(shutil.copytree, self._backup / part, self._data / part)
        await asyncio.to_thread(self._server.start)


@pytest.fixture
def restorable(tmp_path: Path) -> Iterator[Store]:
    port, data = free_port(), tmp_path / "data"
    with running_server(tmp_path, f'host: 127.0.0.1\nport: {port}\njetstream {{ store_dir: "{data}" }}\n') as server:
        server.url = f"nats://127.0.0.1:{port}"
        yield Store(server, data)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver().serving() as serving:
        yield serving


async def ready(edge: RunningEdge) -> None:
    async def is_ready() -> bool:
        return (await edge.http.get("/readyz")).status_code == 200

    await eventually(is_ready)


async def publish(edge: RunningEdge, entity: str, life: str, count: int) -> None:
    """Publishes events that say of which life of the stream they are; the store may just have come back."""
    await ready(edge)
    for n in range(count):
        event = {"subject": f"job.{entity}.output", "data": {"tag": f"{life}-{n}"}, "id": f"{entity}-{life}-{n}"}

        async def is_stored(event: dict[str, Any] = event) -> bool:
            return (await edge.http.post("/events", json=event)).status_code == 201

        await eventually(is_stored)


def tags(events: list[dict[str, Any]]) -> list[str]:
    return [event["data"]["tag"] for event in events]


def life(name: str, count: int) -> list[str]:
    return [f"{name}-{n}" for n in range(count)]


ALL = life("kept", KEPT) + life("new", NEW)


async def poll_all(edge: RunningEdge, session: str, cursor: str) -> tuple[list[str], list[dict[str, Any]], str]:
    """Polls on from a cursor until there is no more: what came, the gaps, and the last cursor."""
    found: list[str] = []
    gaps: list[dict[str, Any]] = []
    more = True
    while more:
        page = await edge.poll(session, f"?cursor={cursor}")
        found += tags(page["events"])
        gaps += [page["gap"]] if "gap" in page else []
        cursor, more = page["next"], page["has_more"]
    return found, gaps, cursor


async def test_who_returns_by_any_transport_is_told_and_gets_all_events(
    edge_factory: EdgeFactory, restorable: Store, entity: str
) -> None:
    async with edge_factory(restorable.url) as edge:
        session = await edge.session(subjects=[f"job.{entity}.>"], cursor="now")
        idle = await edge.session(subjects=["job.nobody.>"], cursor="now")
        await publish(edge, entity, "kept", KEPT)
        await restorable.back_up()
        await publish(edge, entity, "lost", LOST)
        # The place of each kind of reader: the last event's, and one where the session had no event.
        async with edge.sse(session, "?cursor=earliest") as sse:
            by_sse = (await sse.events(KEPT + LOST))[-1]["cursor"]
        async with edge.socket(session, "?cursor=earliest") as socket:
            by_socket = (await socket.events(KEPT + LOST))[-1]["cursor"]
        _, _, by_poll = await poll_all(edge, session, "earliest")
        _, _, passed = await poll_all(edge, idle, "earliest")
        async with edge.socket(idle, "?cursor=now") as socket:
            at_ready = (await socket.control("ready"))["cursor"]
        _, _, before = await poll_all(edge, session, "earliest")
        by_time = (await edge.poll(session, "?last=1"))["last_timestamp"]
        assert by_sse == by_socket == by_poll == passed == at_ready == before
    await restorable.restore()
    async with edge_factory(restorable.url) as edge:
        await publish(edge, entity, "new", NEW)

        async with edge.sse(session, headers={"Last-Event-ID": by_sse}) as sse:
            found = await sse.events(len(ALL))
            gaps = [body for name, _, body in sse.controls if name == "gap"]
            assert gaps and gaps[0]["reset"]
            assert tags(found) == ALL
        async with edge.socket(session, f"?cursor={by_socket}") as socket:
            found = await socket.events(len(ALL))
            gaps = [said for said in socket.controls if said["control"] == "gap"]
            assert gaps and gaps[0]["reset"]
            assert tags(found) == ALL
        found, gaps, _ = await poll_all(edge, session, by_poll)
        assert gaps and gaps[0]["reset"]
        assert found == ALL
        _, gaps, _ = await poll_all(edge, idle, passed)
        assert gaps and gaps[0]["reset"], "a session without events is told, too"
        page = await edge.poll(session, f"?since={by_time}")
        assert page["gap"]["reset"]
        assert tags(page["events"]) == ALL


async def test_a_place_before_the_backup_is_gone_on_from_without_a_gap(
    edge_factory: EdgeFactory, restorable: Store, entity: str
) -> None:
    async with edge_factory(restorable.url) as edge:
        session = await edge.session(subjects=[f"job.{entity}.>"], cursor="now")
        await publish(edge, entity, "kept", KEPT)
        _, _, place = await poll_all(edge, session, "earliest")
        await restorable.back_up()
        await publish(edge, entity, "lost", LOST)
    await restorable.restore()
    async with edge_factory(restorable.url) as edge:
        await publish(edge, entity, "new", NEW)

        found, gaps, _ = await poll_all(edge, session, place)

        assert not gaps, (place, gaps, found)
        assert found == life("new", NEW)


async def test_a_place_past_the_end_is_told_before_anything_new_is_stored(
    edge_factory: EdgeFactory, restorable: Store, entity: str
) -> None:
    async with edge_factory(restorable.url) as edge:
        session = await edge.session(subjects=[f"job.{entity}.>"], cursor="now")
        await publish(edge, entity, "kept", KEPT)
        await restorable.back_up()
        await publish(edge, entity, "lost", LOST)
        _, _, place = await poll_all(edge, session, "earliest")
    await restorable.restore()
    async with edge_factory(restorable.url) as edge, edge.socket(session, f"?cursor={place}") as socket:
        assert (await socket.control("gap"))["reset"]
        await publish(edge, entity, "new", NEW)
        assert tags(await socket.events(len(ALL))) == ALL


async def test_what_was_stored_since_the_restore_is_not_passed_over_by_a_place_past_the_end(
    edge_factory: EdgeFactory, restorable: Store, entity: str
) -> None:
    async with edge_factory(restorable.url) as edge:
        session = await edge.session(subjects=[f"job.{entity}.>"], cursor="now")
        await publish(edge, entity, "kept", KEPT)
        await restorable.back_up()
        await publish(edge, entity, "lost", LOST)
        _, _, place = await poll_all(edge, session, "earliest")
    await restorable.restore()
    async with edge_factory(restorable.url) as edge:
        await publish(edge, entity, "new", LOST - 1)

        found, gaps, _ = await poll_all(edge, session, place)

        assert gaps and gaps[0]["reset"]
        assert found == life("kept", KEPT) + life("new", LOST - 1)


@pytest.mark.parametrize("transport", ["websocket", "sse"])
async def test_who_stays_connected_is_told_and_gets_all_events(
    edge_factory: EdgeFactory, restorable: Store, entity: str, transport: str
) -> None:
    # Other publishers are quicker than the edge: when it is back, the stream has grown past where it was.
    async with edge_factory(restorable.url) as edge, edge_factory(restorable.url) as other:
        session = await edge.session(subjects=[f"job.{entity}.>"], cursor="now")
        await publish(edge, entity, "kept", KEPT)
        await restorable.back_up()
        await publish(edge, entity, "lost", LOST)
        opened = edge.socket if transport == "websocket" else edge.sse
        async with opened(session, "?cursor=earliest") as reader:
            await reader.events(KEPT + LOST)
            await restorable.restore()
            await publish(other, entity, "new", NEW)

            # Of what is kept all comes again, some of it maybe before the gap is known.
            found: list[str] = []
            while not found or found[-1] != f"new-{NEW - 1}":
                found += tags(await reader.events(1))

            said = [each.get("control") if isinstance(each, dict) else each[0] for each in reader.controls]
            assert "gap" in said
            assert set(ALL) <= set(found)


@pytest.mark.parametrize("restored", [".", "jetstream/$G/streams/EVENTS"], ids=["everything", "events-alone"])
@pytest.mark.parametrize("returning", [False, True], ids=["connected", "returning"])
async def test_webhooks_post_each_event_of_the_restored_stream(
    edge_factory: EdgeFactory, restorable: Store, receiver: Receiver, entity: str, returning: bool, restored: str
) -> None:
    def posted() -> set[str]:
        return {json.loads(post.body)["data"]["tag"] for post in receiver.posts}

    async with edge_factory(restorable.url) as edge:
        await edge.session(
            delivery_method="webhook", webhook_url=receiver.url, subjects=[f"job.{entity}.>"], cursor="now"
        )
        await publish(edge, entity, "kept", KEPT)
        await eventually(lambda: set(life("kept", KEPT)) <= posted())
        await restorable.back_up()
        await publish(edge, entity, "lost", LOST)
        await eventually(lambda: set(life("lost", LOST)) <= posted())
        if not returning:
            await restorable.restore(restored)
            await publish(edge, entity, "new", NEW)
            await eventually(lambda: set(life("new", NEW)) <= posted())
    if returning:
        await restorable.restore(restored)
        async with edge_factory(restorable.url) as edge:
            await publish(edge, entity, "new", NEW)
            await eventually(lambda: set(life("new", NEW)) <= posted())
