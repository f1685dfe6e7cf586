"""Tests that a session's figures are counted once and add up: over restarts, deaths, replicas and whoever reads along."""

from __future__ import annotations

import contextlib
import random
from functools import partial

import pytest
from aiohttp import web

from edge.webhooks.history.delivery_stats import PREFIX, DeliveryStats, _Unanswered, shard_of
from router.errors import Conflict, Timeout
from router.nats.bucket import Bucket, Entry
from router.topology import ENDPOINTS, HOOKS, RETRIES
from tests.edge.conftest import EdgeFactory, RunningEdge
from tests.edge.webhooks.observing import PATIENT
from tests.edge.webhooks.stage import Process, Receiver, Stage, mortal
from tests.waiting import eventually


@pytest.fixture
def own_edges(edge_factory: EdgeFactory, own_nats: str) -> EdgeFactory:
    """Starts edges on a nats-server that no other test uses."""
    return partial(edge_factory, own_nats)


async def figures(edge: RunningEdge, session: str) -> tuple[int, int, int, int, int]:
    """Sent, delivered, failed, queued and dropped; they add up."""
    stats = await edge.stats(session)
    found = tuple(int(stats[name]) for name in ("events_sent", "events_delivered", "events_failed", "queued_events"))
    dropped = int(stats["events_dropped"])
    assert found[0] == found[1] + found[2] + found[3] + dropped
    assert min(*found, dropped) >= 0
    return (*found, dropped)


async def hook(edge: RunningEdge, receiver: Receiver, entity: str) -> str:
    return await edge.session(delivery_method="webhook", webhook_url=receiver.url, subjects=[f"job.{entity}.>"])


async def are(edge: RunningEdge, session: str, *wanted: int) -> bool:
    return await figures(edge, session) == wanted


async def test_who_reads_a_webhook_session_along_changes_nothing_of_its_figures(
    edge: RunningEdge, receiver: Receiver, entity: str
):
    session = await hook(edge, receiver, entity)
    await edge.numbers(entity, 10)
    await eventually(lambda: are(edge, session, 10, 10, 0, 0, 0))

    for _ in range(2):
        assert len((await edge.poll(session, "?cursor=earliest"))["events"]) == 10
    async with edge.socket(session, "?cursor=earliest") as socket, edge.sse(session) as _:
        await socket.events(10)
        await edge.numbers(entity, 5, start=10)
        await socket.events(5)
        await eventually(lambda: are(edge, session, 15, 15, 0, 0, 0))
        stats = await edge.stats(session)
        assert stats["has_websocket"] and stats["has_sse"]

    await eventually(lambda: are(edge, session, 15, 15, 0, 0, 0))
    overall = (await edge.http.get("/callbacks/stats")).json()
    assert overall["events_sent"] == sum(
        overall[name] for name in ("events_delivered", "events_failed", "queued_events", "events_dropped")
    )


async def test_the_figures_outlive_every_process(own_edges: EdgeFactory, receiver: Receiver, entity: str):
    receiver.answer = 500
    async with own_edges() as first:
        session = await hook(first, receiver, entity)
        await first.numbers(entity, 50)

        async def queued() -> bool:
            return (await figures(first, session))[3] > 0

        await eventually(queued)
    receiver.answer = 200

    async with own_edges() as second, own_edges() as third:
        await second.http.post(f"/callbacks/sessions/{session}/enable")
        await eventually(lambda: are(second, session, 50, 50, 0, 0, 0))
        await eventually(lambda: are(third, session, 50, 50, 0, 0, 0))

    async with own_edges() as last:
        await eventually(lambda: are(last, session, 50, 50, 0, 0, 0))


async def test_a_poll_that_comes_back_to_another_replica_is_a_receipt(own_edges: EdgeFactory, entity: str):
    async with own_edges() as first, own_edges() as second:
        session = await first.session(delivery_method="polling", subjects=[f"job.{entity}.>"])
        await first.numbers(entity, 10)
        polled = await first.poll(session)
        await eventually(lambda: are(second, session, 10, 0, 0, 10, 0))

        await second.poll(session, f"?cursor={polled['next']}")

        await eventually(lambda: are(first, session, 10, 10, 0, 0, 0))


async def left(stage: Stage, session: str) -> list[object]:
    """What lies in the streams for a session, and the processes."""
    infos = [
        (await stage.broker.connection.api(f"STREAM.INFO.{stream}", {"subjects_filter": ">"}))["state"].get("subjects")
        for stream in (HOOKS, RETRIES)
    ]
    return [infos, stage.processes]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
async def test_the_figures_add_up_whoever_dies(stage: Stage, receiver: Receiver, seed: int):
    """A plan at random: events, an endpoint that fails now and then, processes that die, stop and come."""
    drawn = random.Random(seed)
    settings = mortal(PATIENT)
    processes: list[Process] = [await stage.process(settings)]
    session = await stage.session(receiver.url, subjects=["agent.>"], mode=drawn.choice(["unordered", "fifo"]),
                                  retry_attempts=100)  # fmt: skip
    accepted = published = 0
    well = True

    async def answer(request: web.Request) -> web.Response:
        nonlocal accepted
        accepted += well
        return web.Response(status=204 if well else 503)

    receiver.answer = answer
    for _ in range(8):
        count = drawn.randint(1, 15)
        await stage.publish("agent.run-1.progress", count)
        published += count
        step = drawn.choice(["die", "stop", "start", "fail", "mend"])
        if step in ("die", "stop"):
            gone = processes.pop(drawn.randrange(len(processes)))
            stage.processes.remove(gone)
            await (gone.die() if step == "die" else gone.stop())
        if step == "start" or not processes:
            processes.append(await stage.process(settings))
        well = step != "fail" if step in ("fail", "mend") else well
        found = await DeliveryStats(stage.broker, "test").session(session.id)
        assert found.sent == found.delivered + found.failed + found.queued + found.dropped
        assert min(found.delivered, found.failed, found.queued, found.dropped) >= 0
        assert found.delivered <= accepted
    well = True

    async def over() -> bool:
        found = await DeliveryStats(stage.broker, "test").session(session.id)
        assert found.queued == 0, (found, await left(stage, session.id))
        assert found.delivered >= published
        assert found.sent == found.delivered
        return True

    await eventually(over)
    # Each that was taken is counted once, also where it had to be posted again.
    assert (await DeliveryStats(stage.broker, "test").session(session.id)).delivered <= accepted


async def test_processes_that_add_to_one_shard_lose_nothing_of_each_other(stage: Stage):
    writers = [DeliveryStats(stage.broker, f"writer-{n}") for n in range(3)]
    same = shard_of("sess_0")
    sessions = [id for n in range(1000) if shard_of(id := f"sess_{n}") == same][:3]
    for turn in range(5):
        for writer in writers:
            for session in sessions:
                writer.of(session).delivered += 1
        for writer in writers:
            writer.of(sessions[0]).last_error = f"error {turn}"
            await writer.flush()

    assert [(await writers[0].session(session)).delivered for session in sessions] == [15, 15, 15]
    assert (await writers[0].session(sessions[0])).last_error == "error 4"
    assert (await writers[0].total()).delivered == 45
    await writers[1].forget(sessions[0])
    assert await writers[2].kept() == set(sessions[1:])
    await writers[0].flush()
    assert (await writers[0].session(sessions[1])).delivered == 15


async def test_a_write_whose_answer_was_lost_is_not_added_twice(stage: Stage):
    writer = DeliveryStats(stage.broker, "writer")
    writer.of("sess_a").delivered += 3
    await writer.flush()
    bucket, key = Bucket(stage.broker.connection, ENDPOINTS), f"{PREFIX}.{shard_of('sess_a')}"
    # As after a timeout: the write is there, and its writer does not know that.
    known = writer._known[shard_of("sess_a")]
    done = writer._done.pop("sess_a")
    known.unanswered[writer._number], known.shard = _Unanswered(0, {"sess_a": done}), None

    await writer.flush()
    writer.of("sess_a").delivered += 2
    await writer.flush()

    assert (await writer.session("sess_a")).delivered == 5
    assert await bucket.get(key) is not None


async def test_a_deleted_session_leaves_no_scheduled_retry_and_no_figures(stage: Stage, receiver: Receiver):
    process = await stage.process()
    receiver.answer = 500
    session = await stage.session(receiver.url, retry_profile="standard", retry_attempts=10)
    await stage.publish("agent.run-1.progress", 3)
    await eventually(lambda: process.webhooks.stats(session.id).retries)

    await process.registry.delete(session.id)

    async def gone() -> bool:
        info = await stage.broker.connection.api(f"STREAM.INFO.{RETRIES}", {"subjects_filter": "retry.at.>"})
        return not info["state"].get("subjects") and session.id not in await process.webhooks.delivery_stats.kept()

    await eventually(gone)


class LateBucket(Bucket):
    """A bucket whose next write is still on its way when its writer gives up on it, and while the key is read after that."""

    late: list[tuple[str, bytes, int]]
    on_its_way: int

    async def update(self, key: str, value: bytes, revision: int, ttl: float | None = None) -> int:
        if self.on_its_way:
            self.on_its_way -= 1
            self.late.append((key, value, revision))
            raise Timeout("no answer")
        return await super().update(key, value, revision, ttl)

    async def get(self, key: str) -> Entry | None:
        found = await super().get(key)
        if not self.on_its_way:
            for key, value, revision in self.late:
                with contextlib.suppress(Conflict):
                    await super().update(key, value, revision)
            self.late.clear()
        return found


@pytest.mark.parametrize("lost", [1, 2])
async def test_a_write_that_is_stored_after_its_writer_looked_for_it_is_not_added_twice(stage: Stage, lost: int):
    writer = DeliveryStats(stage.broker, "writer")
    writer.of("sess_a").delivered += 3
    await writer.flush()
    bucket = LateBucket(stage.broker.connection, ENDPOINTS)
    bucket.late, bucket.on_its_way = [], lost
    writer._bucket = bucket

    for _ in range(lost + 1):
        writer.of("sess_a").delivered += 2
        await writer.flush()
    await writer.flush()

    assert (await writer.session("sess_a")).delivered == 3 + 2 * (lost + 1)
