"""Dead letters are sent again: to where each came from, once, through crashes, at a pace, and not into a wall."""

from __future__ import annotations

import contextlib
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from edge.deadletters.query import DeadLetterFilter, Span
from edge.deadletters.redrive_job import new_job
from edge.errors import Problem
from router.broker import Broker
from router.deadletter import webhook_subject
from router.deadletters import DeadLetters
from router.nats.embedded import EmbeddedServer, EmbeddedSettings, free_port
from router.nats.headers import header
from router.nats.settings import BrokerSettings
from tests.edge.deadletters.redriving import QUICK, Process, Start, bury, jobs, letters, quick, webhook_session
from tests.edge.webhooks.stage import Receiver
from tests.ops.command import Running, running
from tests.waiting import PATIENCE, eventually, unhurried

# Where a letter goes


# What is meant, how fast, and when it ends


async def test_jobs_that_are_not_over_are_bounded(process: Process) -> None:
    await bury(process.dead, webhook_subject("sess_" + "0" * 24), 3)
    for _ in range(16):
        await process.start(rate=0.1)

    with pytest.raises(Problem, match="16 are not over yet"):
        await process.start()


async def test_a_process_that_has_just_begun_lists_the_jobs_of_those_before_it(start: Start) -> None:
    async with start() as first:
        job = await first.ended((await first.start()).id)

    async with start() as second:
        assert await second.redrives.all() == [job]


# Through crashes


async def test_a_letter_that_a_crash_left_behind_its_sending_is_not_sent_twice(process: Process) -> None:
    session = await webhook_session(process.broker)
    await bury(process.dead, webhook_subject(session), 2)
    first, _ = await letters(process)
    job = new_job(DeadLetterFilter(), Span(0, first.sequence + 1))
    # As a process that died between the acknowledgement and the removal leaves it.
    await process.broker.store("hook.q.0." + session, b"x", {"Nats-Msg-Id": f"rd.{job.id}.{first.sequence}"})

    await process.redrives.start(job)
    ended = await process.ended(job.id)

    assert (ended.sent, ended.reasons) == (2, {"sent_before": 1})
    assert len(await jobs(process.broker, session)) == 2
    assert await letters(process) == []


async def test_the_next_process_goes_on_where_a_dead_one_was(start: Start) -> None:
    async with contextlib.AsyncExitStack() as stack:
        first = await stack.enter_async_context(start())
        session = await webhook_session(first.broker)
        await bury(first.dead, webhook_subject(session), 60)
        job = await first.start(rate=40.0)
        await eventually(lambda: first.redrives.jobs[job.id].sent >= 15)
        second = await stack.enter_async_context(start())

        await first.die()
        ended = await second.ended(job.id)

        assert (ended.state, ended.sent, ended.total) == ("done", 60, 60)
        sent = [headers["X-Event"] for headers in await jobs(second.broker, session)]
        assert len(sent) == len(set(sent)) == 60
        assert await letters(second) == []


async def test_a_process_that_goes_in_good_order_leaves_nothing_half_done(start: Start) -> None:
    async with contextlib.AsyncExitStack() as stack:
        first = await stack.enter_async_context(start(quick(chunk=1000, note_every=60.0)))
        session = await webhook_session(first.broker)
        await bury(first.dead, webhook_subject(session), 60)
        job = await first.start(rate=40.0)
        second = await stack.enter_async_context(start())
        await eventually(lambda: jobs(second.broker, session))

        await first.stop()
        ended = await second.ended(job.id)

        # What was sent is removed; only the one that was in flight may be found to have been sent before.
        assert (ended.state, ended.sent) == ("done", 60)
        assert ended.reasons in ({}, {"sent_before": 1})
        assert len(await jobs(second.broker, session)) == 60


async def test_nats_being_away_is_waited_out(tmp_path: Path) -> None:
    server = EmbeddedServer(EmbeddedSettings(data_dir=tmp_path / "own", port=free_port()))
    await server.start()
    broker = Broker(BrokerSettings(url=server.url), "edge")
    await broker.open()
    process = Process(broker, QUICK)
    try:
        session = await webhook_session(broker)
        await bury(process.dead, webhook_subject(session), 40)
        job = await process.start(rate=40.0)
        await eventually(lambda: process.redrives.jobs[job.id].sent >= 5)

        assert server.process is not None
        server.process.kill()
        await server.process.wait()
        await server.start()
        ended = await process.ended(job.id)

        assert (ended.state, ended.sent) == ("done", 40)
        sent = [headers["X-Event"] for headers in await jobs(broker, session)]
        assert len(sent) == len(set(sent)) == 40
    finally:
        await process.stop()
        await server.stop()


@pytest.mark.slow
async def test_a_thousand_letters_reach_their_endpoint_once_though_the_edge_is_killed_half_way(nats_url: str) -> None:
    receiver = Receiver()
    published: list[str] = []
    async with (
        receiver.serving(),
        Broker(unhurried(nats_url), "test") as broker,
        edge(nats_url) as (one, first),
        edge(nats_url) as (two, second),
    ):
        made = await first.post(
            "/callbacks/sessions", json={"delivery_method": "webhook", "webhook_url": receiver.url, "events": ["never"]}
        )
        session = made.json()["session_id"]
        events = await bury(DeadLetters(broker), webhook_subject(session), 1000)
        await broker.connection.listen(
            f"hook.q.*.{session}", lambda _s, _r, _p, raw: published.append(header(raw, b"Nats-Msg-Id") or "")
        )
        parked: list[str] = []
        await broker.connection.listen(f"hook.park.*.{session}.*", lambda subject, _r, _p, _h: parked.append(subject))
        before = (await broker.connection.api("STREAM.INFO.HOOKS"))["state"]["last_seq"]

        answer = await first.post("/deadletters/redrive", json={"filter": {"name": session}, "rate": 400})
        id = answer.json()["id"]
        await eventually(lambda: sent(second, id, 400))
        # Whoever holds the role dies; killing the other would show nothing.
        owner, other = (one, second) if await owns(first) else (two, first)
        owner.signal(signal.SIGKILL)
        job = await eventually(lambda: over(other, id))

        assert (job["state"], job["total"], job["sent"], job["skipped"]) == ("done", 1000, 1000, 0)
        assert (await other.get("/deadletters", params={"name": session})).json() == {"deadletters": [], "next": None}
        # Published again where the crash came between, and then dropped: stored is each once.
        assert len(set(published)) == 1000 <= len(published) <= 1020
        # Jobs that wait for their endpoint while others are posted are stored once more, in its own log.
        await eventually(lambda: _counted(broker, before + 1000, parked))
        wanted = {event.id for event in events}
        await eventually(lambda: wanted <= {event_of(post.body) for post in receiver.posts})
        # What the killed process had posted and not yet acknowledged, its successor posts again.
        assert len(receiver.posts) <= 1100


async def _counted(broker: Broker, last: int, parked: list[str]) -> bool:
    """Whether HOOKS has come so far, and further only by what was parked."""
    state = (await broker.connection.api("STREAM.INFO.HOOKS"))["state"]
    return int(state["last_seq"]) == last + len(parked)


@contextlib.asynccontextmanager
async def edge(nats_url: str) -> AsyncIterator[tuple[Running, httpx.AsyncClient]]:
    port = free_port()
    variables = {
        "NATS_URL": nats_url,
        "EDGE_PORT": str(port),
        "WEBHOOK_ALLOW_LOOPBACK": "true",
        "WEBHOOK_ALLOW_HTTP": "true",
    }
    async with (
        running("edge", **variables) as process,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as http,
    ):
        await eventually(lambda: ready(http))
        yield process, http


async def ready(http: httpx.AsyncClient) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return (await http.get("/readyz")).status_code == 200
    return False


async def sent(http: httpx.AsyncClient, id: str, least: int) -> bool:
    return (await http.get(f"/deadletters/jobs/{id}")).json().get("sent", 0) >= least


async def over(http: httpx.AsyncClient, id: str) -> dict[str, Any] | None:
    job = (await http.get(f"/deadletters/jobs/{id}")).json()
    return job if job["state"] != "running" else None


def event_of(body: bytes) -> str:
    return json.loads(body)["id"]


async def owns(http: httpx.AsyncClient) -> bool:
    return "edge_deadletters_owner 1.0" in (await http.get("/metrics")).text
