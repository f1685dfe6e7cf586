"""Dead letters are sent again: to where each came from, once, through crashes, at a pace, and not into a wall."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import secrets
import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from edge.deadletters.notifier import DeadLetterNotifier
from edge.deadletters.query import DeadLetterFilter, Span
from edge.deadletters.redrive import Redrives
from edge.deadletters.redrive_job import RedriveJob, RedriveSettings, new_job
from edge.errors import Problem
from edge.sessions.endpoint.settings import EndpointSettings
from edge.sessions.registry import Registry
from edge.sessions.spec import SessionSpec
from edge.webhooks.endpoint.state import EndpointState
from edge.webhooks.endpoint.store import EndpointStore
from router.broker import Broker
from router.cluster.role import RoleSettings
from router.codec import encode
from router.cursor import Cursor
from router.deadletter import DeadLetter, Origin, actor_subject, ingest_subject, webhook_subject
from router.deadletters import DeadLetters
from router.errors import BrokerError
from router.event import Event
from router.nats.embedded import EmbeddedServer, EmbeddedSettings, free_port
from router.nats.headers import all_headers, header
from router.nats.service import Endpoint, Request, Service
from router.nats.settings import BrokerSettings
from router.subject import STORED
from router.topology import TopologySettings
from tests.edge.webhooks.stage import Receiver
from tests.ops.command import Running, running
from tests.waiting import PATIENCE, eventually

QUICK = RedriveSettings(
    role=RoleSettings(ttl=4.0, poll=0.1),
    note_every=0.02,
    answer_timeout=2.0,
    after_crash=0.05,
    pause=0.05,
    window=10,
    max_returned=2,
)


@pytest.fixture
async def nats_url(tmp_path: Path) -> AsyncIterator[str]:
    """A nats-server of the test's own, so that no other holds the role."""
    server = EmbeddedServer(EmbeddedSettings(data_dir=tmp_path / "nats", port=free_port()))
    await server.start()
    try:
        yield server.url
    finally:
        await server.stop()


class Process:
    """One edge process as far as redrives go."""

    def __init__(self, broker: Broker, settings: RedriveSettings) -> None:
        self.broker = broker
        self.registry = Registry.over(broker.connection)
        self.redrives = Redrives(broker, self.registry, 2, settings)
        self.dead = self.redrives.dead
        self._tasks = [asyncio.ensure_future(self.registry.run()), asyncio.ensure_future(self.redrives.run())]

    async def die(self) -> None:
        """Goes without a word: nothing is released."""
        await self.broker.connection._wire.close()
        try:
            await self.stop()
        except* BrokerError:
            pass  # what was just beginning cannot listen any more

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        ends = await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.broker.close()
        for end in ends:
            if isinstance(end, Exception):
                raise end

    async def start(self, chosen: DeadLetterFilter | None = None, **more: Any) -> RedriveJob:
        chosen = chosen or DeadLetterFilter()
        return await self.redrives.start(new_job(chosen, await self.redrives.search.span(chosen), **more))

    async def ended(self, id: str, within: float = PATIENCE) -> RedriveJob:
        async def over() -> RedriveJob | None:
            job = await self.redrives.find(id)
            return job if job.state != "running" else None

        return await eventually(over, within)


Start = Callable[..., contextlib.AbstractAsyncContextManager[Process]]


@pytest.fixture
async def start(nats_url: str) -> AsyncIterator[Start]:
    """Starts processes; all that are still there end with the test."""

    @contextlib.asynccontextmanager
    async def one(settings: RedriveSettings = QUICK) -> AsyncIterator[Process]:
        broker = Broker(BrokerSettings(url=nats_url), f"edge-{secrets.token_hex(2)}")
        await broker.open()
        process = Process(broker, settings)
        try:
            await asyncio.wait_for(process.registry.ready.wait(), PATIENCE)
            yield process
        finally:
            await process.stop()

    return one


@pytest.fixture
async def process(start: Start) -> AsyncIterator[Process]:
    async with start() as made:
        yield made


async def webhook_session(broker: Broker, url: str = "https://example.com/hook") -> str:
    state = await broker.state()
    spec = SessionSpec(
        id=f"sess_{secrets.token_hex(12)}",
        delivery_method="webhook",
        created=time.time_ns(),
        start=str(Cursor(state.epoch, state.last)),
        webhook=EndpointSettings(url=url),
    )
    await Registry.over(broker.connection).create(spec)
    return spec.id


async def bury(dead: DeadLetters, subject: str, count: int = 1, reason: str = "exhausted", **more: Any) -> list[Event]:
    """Buries events of their own under a subject, and gives them."""
    events = []
    for number in range(count):
        event = Event.new(f"job.{secrets.token_hex(3)}.output", {"n": number})
        await dead.add(
            subject,
            encode(event),
            origin=Origin("EVENTS", 100 + number, STORED + event.subject),
            reason=reason,
            attempts=4,
            id=f"dead.{secrets.token_hex(16)}.{more.get('redrives', 0)}",
            **more,
        )
        events.append(event)
    return events


async def letters(process: Process, pattern: str = "dead.>") -> list[DeadLetter]:
    return (await process.dead.read(limit=1000, pattern=pattern)).deadletters


async def jobs(broker: Broker, session: str) -> list[dict[str, str]]:
    """The headers of all jobs that lie on HOOKS for a session."""
    count = (await broker.connection.api("STREAM.INFO.HOOKS"))["state"]
    found = []
    for sequence in range(count["first_seq"], count["last_seq"] + 1):
        reply = await broker.connection.ask("$JS.API.DIRECT.GET.HOOKS", b'{"seq": %d}' % sequence)
        headers = all_headers(reply.headers)
        if headers.get("Nats-Subject", "").endswith(session):
            found.append(headers)
    return found


# Where a letter goes


async def test_a_webhooks_letter_becomes_a_job_of_its_session_with_the_next_run(process: Process) -> None:
    session = await webhook_session(process.broker)
    (event,) = await bury(process.dead, webhook_subject(session), redrives=2)
    (letter,) = await letters(process)

    job = await process.ended((await process.start()).id)

    assert (job.state, job.total, job.sent, job.failed, job.skipped) == ("done", 1, 1, 0, 0)
    (headers,) = await jobs(process.broker, session)
    assert headers["Nats-Msg-Id"] == f"rd.{job.id}.{letter.sequence}"
    assert (headers["X-Event"], headers["X-Subject"], headers["X-Sequence"]) == (event.id, event.subject, "100")
    assert (headers["X-Run"], headers["X-Attempt"]) == ("3", "1")
    assert await letters(process) == []


async def test_a_letter_of_a_session_that_is_gone_is_skipped_and_stays(process: Process) -> None:
    await bury(process.dead, webhook_subject("sess_" + "0" * 24))

    job = await process.ended((await process.start()).id)

    assert (job.state, job.sent, job.skipped, job.reasons) == ("done", 0, 1, {"session_gone": 1})
    assert len(await letters(process)) == 1


@pytest.mark.parametrize(("state", "reason"), [("open", "breaker_open"), ("disabled", "endpoint_disabled")])
async def test_a_letter_of_a_blocked_endpoint_is_skipped_unless_forced(
    process: Process, state: Any, reason: str
) -> None:
    session = await webhook_session(process.broker)
    await EndpointStore(process.broker.connection).keep(session, EndpointState(state=state))
    await bury(process.dead, webhook_subject(session))

    skipped = await process.ended((await process.start()).id)
    forced = await process.ended((await process.start(force=True)).id)

    assert (skipped.reasons, skipped.sent) == ({reason: 1}, 0)
    assert (forced.reasons, forced.sent) == ({}, 1)


async def test_a_letter_that_came_back_five_times_needs_force(process: Process) -> None:
    session = await webhook_session(process.broker)
    await bury(process.dead, webhook_subject(session), redrives=5)

    skipped = await process.ended((await process.start()).id)
    forced = await process.ended((await process.start(force=True)).id)

    assert (skipped.reasons, skipped.sent) == ({"needs_force": 1}, 0)
    assert forced.sent == 1


async def test_what_could_not_be_read_goes_into_the_events_once_it_can(process: Process, entity: str) -> None:
    event = Event.new(f"job.{entity}.output", {"n": 1})
    for number, payload in enumerate((encode(event), b"\xc1 garbage")):
        await process.dead.add(
            ingest_subject("EVENTS"), payload, origin=Origin("EVENTS", number, "ev.x"), reason="decode_error"
        )

    job = await process.ended((await process.start()).id)

    assert (job.sent, job.skipped, job.reasons) == (1, 1, {"undecodable": 1})
    assert [record.event for record in (await process.broker.read(f"job.{entity}.>", 0)).records] == [event]
    (left,) = await letters(process)
    assert left.payload == b"\xc1 garbage"


async def test_a_job_that_could_not_be_read_is_not_said_to_everybody_again(process: Process, entity: str) -> None:
    event = Event.new(f"job.{entity}.output", {"n": 1})
    await process.dead.add_undecodable(
        "HOOKS", 1, "hook.q.0.x", encode(event), fault="not a job", source="edge", reason="not_a_job"
    )

    job = await process.ended((await process.start()).id)

    assert (job.sent, job.reasons) == (0, {"no_way_back": 1})
    assert (await process.broker.read(f"job.{entity}.>", 0)).records == []


@contextlib.asynccontextmanager
async def actor(broker: Broker, name: str, called: Callable[[Request], None]) -> AsyncIterator[str]:
    """Something that answers where an actor takes its letters back; its address."""
    address = f"cmd.{name}.main.redrive"
    service = Service(
        broker.connection, name, "1.0.0", description="a test's", endpoints=[Endpoint("redrive", address, called)]
    )
    task = asyncio.ensure_future(service.run())
    try:
        await asyncio.wait_for(service.serving.wait(), PATIENCE)
        yield address
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_an_actors_letter_goes_to_that_actor_alone_and_leaves_once_it_is_settled(process: Process) -> None:
    given: list[dict[str, Any]] = []

    def called(request: Request) -> None:
        given.append(request.arguments())
        request.answer({"outcome": "acked"})

    async with actor(process.broker, "stock", called) as address:
        (event,) = await bury(process.dead, actor_subject("stock"), back=address)
        (letter,) = await letters(process)

        job = await process.ended((await process.start()).id)

    assert (job.sent, job.failed) == (1, 0)
    assert given == [{"id": f"rd.{job.id}.{letter.sequence}", "event": encode(event)}]
    assert await letters(process) == []
    assert (await process.broker.read("job.>", 0)).records == []


async def test_a_letter_that_its_actor_gives_up_again_stays_with_what_is_known_now(process: Process) -> None:
    def called(request: Request) -> None:
        request.answer({"outcome": "rejected", "reason": "rejected", "detail": "still no sku"})

    async with actor(process.broker, "stock", called) as address:
        await bury(process.dead, actor_subject("stock"), reason="attempts_spent", back=address)

        job = await process.ended((await process.start()).id)

    assert (job.state, job.sent, job.failed, job.reasons) == ("done", 0, 1, {"rejected": 1})
    (letter,) = await letters(process)
    assert (letter.reason, letter.detail, letter.attempts, letter.redrives) == ("rejected", "still no sku", 5, 1)
    assert letter.back == address


async def test_an_actor_that_does_not_answer_is_asked_again_under_the_same_id_or_named_as_absent(start: Start) -> None:
    asked: list[str] = []

    def called(request: Request) -> None:
        asked.append(request.arguments()["id"])
        if len(asked) == 2:
            request.refuse(503, "the mailbox is full")
        elif len(asked) == 3:
            request.answer({"outcome": "acked"})

    async with start(quick(answer_timeout=0.2)) as process, actor(process.broker, "slow", called) as address:
        await bury(process.dead, actor_subject("slow"), back=address)
        await bury(process.dead, actor_subject("gone"), back="cmd.gone.main.redrive")
        await bury(process.dead, actor_subject("old"))

        job = await process.ended((await process.start()).id)

    assert (job.sent, job.reasons) == (1, {"actor_absent": 1, "no_way_back": 1})
    assert len(asked) == 3 and len(set(asked)) == 1


def quick(**changed: Any) -> RedriveSettings:
    return dataclasses.replace(QUICK, **changed)


# What is meant, how fast, and when it ends


async def test_a_dry_run_counts_and_changes_nothing(process: Process) -> None:
    session = await webhook_session(process.broker)
    await bury(process.dead, webhook_subject(session), 3)
    await bury(process.dead, webhook_subject("sess_" + "0" * 24), 2)
    await bury(process.dead, actor_subject("gone"), back="cmd.gone.main.redrive")

    job = await process.ended((await process.start(dry_run=True)).id)

    assert (job.state, job.total, job.sent, job.skipped) == ("done", 6, 3, 3)
    assert job.reasons == {"session_gone": 2, "actor_absent": 1}
    assert len(await letters(process)) == 6 and await jobs(process.broker, session) == []


async def test_a_job_sends_what_its_filter_means_up_to_its_limit_oldest_first(process: Process) -> None:
    session = await webhook_session(process.broker)
    events = await bury(process.dead, webhook_subject(session), 5, reason="gone")
    await bury(process.dead, webhook_subject(session), 5, reason="exhausted")

    job = await process.ended((await process.start(DeadLetterFilter(reason="gone"), limit=3)).id)

    assert (job.sent, job.total) == (3, 3)
    assert [headers["X-Event"] for headers in await jobs(process.broker, session)] == [e.id for e in events[:3]]
    assert len(await letters(process)) == 7


async def test_a_job_leaves_what_was_buried_after_its_beginning(process: Process) -> None:
    session = await webhook_session(process.broker)
    await bury(process.dead, webhook_subject(session), 4)
    job = await process.start(rate=4.0)
    await eventually(lambda: process.redrives.jobs[job.id].sent)
    (late,) = await bury(process.dead, webhook_subject(session))

    ended = await process.ended(job.id)

    assert (ended.sent, ended.total) == (4, 4)
    assert [letter.event_id for letter in await letters(process)] == [late.id]


async def test_a_job_keeps_to_its_rate(process: Process) -> None:
    session = await webhook_session(process.broker)
    await bury(process.dead, webhook_subject(session), 20)

    job = await process.ended((await process.start(rate=20.0)).id)

    assert job.sent == 20
    # The first goes at once; a tenth of a second may be made up for.
    assert (job.ended - job.started) / 1e9 >= 0.8


async def test_a_job_that_is_called_off_ends_and_the_rest_stays(process: Process) -> None:
    session = await webhook_session(process.broker)
    await bury(process.dead, webhook_subject(session), 30)
    job = await process.start(rate=1.0)
    await eventually(lambda: process.redrives.jobs[job.id].sent >= 2)

    await process.redrives.cancel(job.id)
    ended = await process.ended(job.id)

    assert ended.state == "cancelled"
    assert 2 <= ended.sent < 30
    assert len(await jobs(process.broker, session)) == ended.sent
    assert len(await letters(process)) == 30 - ended.sent
    with pytest.raises(Problem, match="cancelled since"):
        await process.redrives.cancel(job.id)


async def test_a_job_stops_where_too_many_come_back(process: Process) -> None:
    def called(request: Request) -> None:
        request.answer({"outcome": "rejected", "reason": "rejected", "detail": "no"})

    async with actor(process.broker, "stock", called) as address:
        await bury(process.dead, actor_subject("stock"), 10, back=address)

        job = await process.ended((await process.start()).id)

    assert (job.state, job.failed) == ("failed", 3)
    assert "more than 2 of the last 10" in job.error
    assert len(await letters(process)) == 10


async def test_a_job_stops_where_webhooks_give_up_again_what_it_sent(process: Process) -> None:
    session = await webhook_session(process.broker)
    events = await bury(process.dead, webhook_subject(session), 40)
    job = await process.start(rate=2.0)
    await eventually(lambda: process.redrives.jobs[job.id].sent >= 3)

    for event in events[:3]:
        await process.dead.add(
            webhook_subject(session),
            encode(event),
            origin=Origin("EVENTS", 1, STORED + event.subject),
            reason="gone",
            redrives=1,
            id=f"dead.{secrets.token_hex(16)}.1",
        )
    ended = await process.ended(job.id)

    assert (ended.state, ended.returned) == ("failed", 3)
    assert ended.sent < 40


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

        # None was found to have been sent before.
        assert (ended.state, ended.sent, ended.reasons) == ("done", 60, {})
        assert len(await jobs(second.broker, session)) == 60


async def test_what_was_buried_while_nobody_was_there_is_told_by_the_next(start: Start, nats_url: str) -> None:
    async with start() as first:
        await bury(first.dead, actor_subject("before"))
        await eventually(lambda: told(first.broker, "before"))
    async with Broker(BrokerSettings(url=nats_url), "test") as broker:
        await bury(DeadLetters(broker), actor_subject("between"))

        async with start():
            await eventually(lambda: told(broker, "between"))


async def told(broker: Broker, name: str) -> list[Event]:
    page = await broker.read("system.deadletter.buried", 0)
    return [record.event for record in page.records if record.event and record.event.data["name"] == name]


async def test_letters_that_fill_their_stream_are_told_of_before_the_oldest_are_dropped(tmp_path: Path) -> None:
    server = EmbeddedServer(EmbeddedSettings(data_dir=tmp_path / "own", port=free_port()))
    await server.start()
    try:
        small = TopologySettings(deadletters_max_bytes=100_000)
        async with Broker(BrokerSettings(url=server.url), "edge", small) as broker:
            dead = DeadLetters(broker)
            for number in range(85):
                await dead.add(
                    actor_subject("stock"), bytes(700), origin=Origin("EVENTS", number, "ev.a.b.c"), reason="rejected"
                )
            telling = asyncio.ensure_future(DeadLetterNotifier(broker, lambda _letter: None).run())
            try:
                (record,) = await eventually(lambda: filling(broker))
            finally:
                telling.cancel()
                await asyncio.gather(telling, return_exceptions=True)

        assert record.event is not None and record.event.type == "deadletters_filling"
        assert 0.8 <= record.event.data["fullness"] <= 1
        assert record.event.data["max_bytes"] == 100_000
    finally:
        await server.stop()


async def filling(broker: Broker) -> list[Any]:
    return (await broker.read("system.deadletter.filling", 0)).records


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


async def test_a_thousand_letters_reach_their_endpoint_once_though_the_edge_is_killed_half_way(nats_url: str) -> None:
    receiver = Receiver()
    published: list[str] = []
    async with (
        receiver.serving(),
        Broker(BrokerSettings(url=nats_url), "test") as broker,
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
        assert len(receiver.posts) <= 1040


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
