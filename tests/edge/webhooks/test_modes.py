"""Keys, batches, rates, places, halts and what waits for an endpoint's consent."""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from edge.sessions.endpoint.settings import Batch
from edge.sessions.registry import Session
from edge.webhooks.queue.backlog import Backlog
from edge.webhooks.queue.job import Job
from router.event import Event
from router.rates import EvenPace
from router.topology import HOOKS
from tests.edge.webhooks.stage import QUICK, Process, Receiver, Stage, mortal
from tests.edge.webhooks.test_order import NARROW, Ledger, firsts, nothing_left, reasons
from tests.waiting import eventually


async def keyed(stage: Stage, keys: Sequence[str], count: int, first: int = 0) -> None:
    """Publishes events with these keys in turn, numbered from `first`."""
    for n in range(count):
        await stage.broker.publish(Event.new("agent.run-1.progress", {"n": first + n}, key=keys[n % len(keys)]))


async def change(process: Process, session: Session, **changes: Any) -> None:
    """Changes a session's webhook as a PATCH does."""
    known = process.registry.sessions[session.id]
    hook = msgspec.structs.replace(known.spec.webhook, **changes)
    await process.registry.update(known, msgspec.structs.replace(known.spec, webhook=hook))


async def test_a_key_that_is_blocked_blocks_no_other_and_keeps_its_own_order(stage: Stage, receiver: Receiver):
    process = await stage.process(NARROW)
    session = await stage.session(receiver.url, mode="keyed", retry_attempts=20)
    ledger = Ledger(receiver)
    blocked = True
    ledger.refuses = lambda n: blocked and n % 4 == 2

    await keyed(stage, "abcd", 40)

    free = [n for n in range(40) if n % 4 != 2]
    await eventually(lambda: sorted(ledger.taken) == free)
    blocked = False
    await eventually(lambda: process.webhooks.stats(session.id).delivered == 40)
    for key in range(4):
        assert [n for n in ledger.taken if n % 4 == key] == list(range(key, 40, 4))
    await eventually(lambda: nothing_left(stage.broker))


async def test_keys_go_side_by_side(stage: Stage, receiver: Receiver):
    process = await stage.process()
    session = await stage.session(receiver.url, mode="keyed", concurrency=3)
    ledger = Ledger(receiver)
    ledger.gathers, ledger.slow = 3, 0.02

    await keyed(stage, "abcdef", 30)

    await eventually(lambda: process.webhooks.stats(session.id).delivered == 30)
    assert receiver.most_under_way == 3
    for key in range(6):
        assert [n for n in ledger.taken if n % 6 == key] == list(range(key, 30, 6))


async def test_keys_keep_their_order_through_a_change_of_owner(stage: Stage, receiver: Receiver):
    await stage.widen(1000)
    process = await stage.process(mortal(NARROW))
    await stage.session(receiver.url, mode="keyed", retry_attempts=20)
    ledger = Ledger(receiver)
    ledger.slow = 0.01
    ledger.refuses = lambda n: len(ledger.asked) % 11 == 5
    publishing = asyncio.ensure_future(keyed(stage, "abcde", 150))

    await eventually(lambda: len(ledger.taken) > 40)
    await process.die()
    stage.processes.remove(process)
    await stage.process(mortal(NARROW))
    await publishing

    await eventually(lambda: len(firsts(ledger.taken)) == 150)
    for key in range(5):
        assert [n for n in firsts(ledger.taken) if n % 5 == key] == list(range(key, 150, 5))
    await eventually(lambda: nothing_left(stage.broker))


async def test_no_more_posts_are_under_way_than_the_session_allows(stage: Stage, receiver: Receiver):
    process = await stage.process()
    session = await stage.session(receiver.url, concurrency=2)
    ledger = Ledger(receiver)
    ledger.gathers, ledger.slow = 2, 0.02

    await stage.publish("agent.run-1.progress", 30)

    await eventually(lambda: process.webhooks.stats(session.id).delivered == 30)
    assert receiver.most_under_way == 2


async def test_posts_keep_the_pace_that_is_set(stage: Stage, receiver: Receiver):
    process = await stage.process(NARROW)
    session = await stage.session(receiver.url, rate=20.0)
    came: list[float] = []

    async def answer(_: web.Request) -> web.Response:
        came.append(time.monotonic())
        return web.Response()

    receiver.answer = answer
    await stage.publish("agent.run-1.progress", 50)

    await eventually(lambda: process.webhooks.stats(session.id).delivered == 50)
    # One by one from the first on: 49 pauses of a twentieth of a second.
    assert came[-1] - came[0] >= 2.3


@given(
    st.floats(0.5, 200.0),
    st.lists(st.floats(0.0, 0.3), max_size=30),
    st.floats(0.001, 0.05),
)
def test_in_no_second_are_there_more_posts_than_the_rate_and_never_more_than_the_rate_since_the_first(
    rate: float, late: list[float], step: float
):
    """However late and irregularly it is asked: what is late is caught up on for a tenth of a second at most."""
    now, taken = 100.0, []
    tokens = EvenPace(rate, now)
    while now < 102.0 or late:
        while not tokens.wait(now) and len(taken) < 20_000:
            tokens.take(now)
            taken.append(now)
        now += late.pop() if late else max(step, min(tokens.wait(now), 0.5))

    for first, begun in enumerate(taken):
        within = sum(begun <= at < begun + 1.0 for at in taken[first:])
        assert within <= 1.1 * rate + 1 + 1e-6
    assert all(n <= (at - 100.0) * rate + 1e-3 for n, at in enumerate(taken))


def test_a_rate_below_one_a_second_waits_as_long_as_it_says():
    slow = EvenPace(0.5, 0.0)

    slow.take(0.0)

    assert slow.wait(0.0) == pytest.approx(2.0)
    assert not slow.full(1.9) and slow.full(2.0)


def test_idle_time_is_not_saved_up():
    tokens = EvenPace(10.0, 0.0)
    tokens.take(0.0)

    taken = 0
    while not tokens.wait(60.0):
        tokens.take(60.0)
        taken += 1

    assert taken == 1


async def test_a_changed_rate_gives_no_second_first_post(stage: Stage, receiver: Receiver):
    process = await stage.process(NARROW)
    session = await stage.session(receiver.url, rate=0.01)
    await stage.publish("agent.run-1.progress", 10)
    await eventually(lambda: process.webhooks.stats(session.id).delivered == 1)

    for rate in (0.011, 0.012, 0.013):
        await change(process, session, rate=rate, wanted_rate=rate)
        await eventually(lambda rate=rate: process.registry.sessions[session.id].spec.webhook.rate == rate)
        assert len(receiver.posts) == 1
    await change(process, session, rate=None, wanted_rate=None)

    await eventually(lambda: process.webhooks.stats(session.id).delivered == 10)


class Batches:
    """A receiver of batches."""

    def __init__(self, receiver: Receiver) -> None:
        self.posts: list[tuple[str, list[int]]] = []
        self.status: list[int] = []
        receiver.answer = self._answer

    async def _answer(self, request: web.Request) -> web.Response:
        said = json.loads(await request.read())
        assert isinstance(said, list)
        self.posts.append((request.headers["webhook-id"], [event["data"]["n"] for event in said]))
        return web.Response(status=self.status.pop(0) if self.status else 200)


# No batch goes out because time is up, however long publishing takes: only full ones do.
LONG = 600.0


async def test_events_go_out_in_batches_as_full_as_they_may_be(stage: Stage, receiver: Receiver):
    process = await stage.process()
    session = await stage.session(receiver.url, batch=Batch(max_n=10, linger=LONG))
    batches = Batches(receiver)

    await stage.publish("agent.run-1.progress", 40)

    await eventually(lambda: process.webhooks.stats(session.id).delivered == 40)
    assert sorted(n for _, numbers in batches.posts for n in numbers) == list(range(40))
    assert [len(numbers) for _, numbers in batches.posts] == [10] * 4
    await eventually(lambda: nothing_left(stage.broker))


async def test_a_batch_is_no_larger_than_it_may_be(stage: Stage, receiver: Receiver):
    process = await stage.process()
    session = await stage.session(receiver.url, batch=Batch(max_n=100, max_bytes=2000, linger=0.1))
    Batches(receiver)
    await process.webhooks.disable(session.id)
    await eventually(lambda: process.webhooks.health(session.id)["state"] == "disabled")

    await stage.publish("agent.run-1.progress", 20, text="x" * 400)
    await process.webhooks.enable(session.id)

    await eventually(lambda: process.webhooks.stats(session.id).delivered == 20)
    assert all(len(post.body) <= 2000 for post in receiver.posts)
    assert len(receiver.posts) < 20


@pytest.mark.parametrize("mode", ["unordered", "fifo"])
async def test_a_batch_that_fails_is_tried_again_as_the_same(stage: Stage, receiver: Receiver, mode: str):
    process = await stage.process(NARROW)
    session = await stage.session(receiver.url, batch=Batch(max_n=5, linger=LONG), mode=mode)
    batches = Batches(receiver)
    batches.status = [500, 500]

    await stage.publish("agent.run-1.progress", 5)

    await eventually(lambda: process.webhooks.stats(session.id).delivered == 5)
    assert len(batches.posts) == 3
    assert len({id for id, _ in batches.posts}) == 1 == len({tuple(numbers) for _, numbers in batches.posts})
    await eventually(lambda: nothing_left(stage.broker))


async def test_of_a_batch_that_is_given_up_each_event_has_a_dead_letter(stage: Stage, receiver: Receiver):
    process = await stage.process()
    session = await stage.session(receiver.url, batch=Batch(max_n=4, linger=LONG), retry_attempts=0)
    batches = Batches(receiver)
    # Of an endpoint that is away: no event of the batch is the cause.
    batches.status = [503]

    await stage.publish("agent.run-1.progress", 8)

    await eventually(lambda: process.webhooks.stats(session.id).failed == 4)
    await eventually(lambda: process.webhooks.stats(session.id).delivered == 4)
    assert await reasons(stage.broker, session) == ["exhausted"] * 4


async def test_ordered_batches_keep_the_order_through_failures_and_a_change_of_owner(stage: Stage, receiver: Receiver):
    await stage.widen(1000)
    process = await stage.process(mortal(NARROW))
    await stage.session(receiver.url, batch=Batch(max_n=7, linger=0.05), mode="fifo", retry_attempts=20)
    ledger = Ledger(receiver)
    ledger.slow = 0.02
    asked: defaultdict[int, int] = defaultdict(int)

    def refuses(n: int) -> bool:
        asked[n] += 1
        return n % 20 == 11 and asked[n] < 3

    ledger.refuses = refuses
    publishing = asyncio.ensure_future(stage.publish("agent.run-1.progress", 150))

    await eventually(lambda: len(firsts(ledger.taken)) > 50)
    await process.die()
    stage.processes.remove(process)
    await stage.process(mortal(NARROW))
    await publishing

    await eventually(lambda: len(firsts(ledger.taken)) == 150)
    assert firsts(ledger.taken) == list(range(150))
    await eventually(lambda: nothing_left(stage.broker))


async def test_an_ordered_session_that_halts_waits_for_somebody_to_look(stage: Stage, receiver: Receiver):
    process = await stage.process(NARROW)
    session = await stage.session(receiver.url, mode="fifo", on_exhausted="halt", retry_attempts=1)
    ledger = Ledger(receiver)
    halted = True
    ledger.refuses = lambda n: halted and n == 3

    await stage.publish("agent.run-1.progress", 20)

    await eventually(lambda: process.webhooks.health(session.id)["state"] == "disabled")
    assert process.webhooks.health(session.id)["reason"] == "halted"
    assert (ledger.taken, ledger.asked.count(3)) == ([0, 1, 2], 2)
    halted = False
    await process.webhooks.enable(session.id)
    await eventually(lambda: ledger.taken == list(range(20)))
    assert await reasons(stage.broker, session) == []
    await eventually(lambda: nothing_left(stage.broker))


async def test_a_key_that_halts_leaves_the_others_alone_and_halts_at_the_next_owner(stage: Stage, receiver: Receiver):
    process = await stage.process(mortal(NARROW))
    session = await stage.session(receiver.url, mode="keyed", on_exhausted="halt", retry_attempts=0)
    ledger = Ledger(receiver)
    halted = True
    ledger.refuses = lambda n: halted and n == 1

    await keyed(stage, "ab", 20)

    await eventually(lambda: sorted(ledger.taken) == list(range(0, 20, 2)))
    await process.stop()
    stage.processes.remove(process)
    second = await stage.process(mortal(NARROW))
    halted = False
    await keyed(stage, "a", 5, first=100)
    await eventually(lambda: len(firsts(ledger.taken)) == 15)
    assert ledger.asked.count(1) == 1
    await second.webhooks.enable(session.id)
    await eventually(lambda: len(firsts(ledger.taken)) == 25)
    assert [n for n in firsts(ledger.taken) if n < 100 and n % 2] == list(range(1, 20, 2))
    await eventually(lambda: nothing_left(stage.broker))


async def test_an_endpoint_that_has_not_agreed_gets_nothing_until_it_has(stage: Stage, receiver: Receiver):
    process = await stage.process(NARROW)
    session = await stage.session(receiver.url, active=False)
    well = await stage.session(receiver.url, subjects=["agent.run-2.>"])
    await stage.publish("agent.run-1.progress", 20)
    await stage.publish("agent.run-2.progress")

    await eventually(lambda: process.webhooks.stats(well.id).delivered == 1)
    assert len(receiver.posts) == 1
    await change(process, session, active=True)
    await eventually(lambda: process.webhooks.stats(session.id).delivered == 21)


async def test_changes_of_a_living_session_take_effect_and_lose_nothing(stage: Stage, receiver: Receiver):
    await stage.widen(1000)
    process = await stage.process(NARROW)
    session = await stage.session(receiver.url, retry_attempts=20)
    ledger = Ledger(receiver)
    ledger.slow = 0.002
    ledger.refuses = lambda n: len(ledger.asked) % 17 == 5
    publishing = asyncio.ensure_future(keyed(stage, "abcd", 300))

    for changes in ({"mode": "keyed"}, {"mode": "fifo"}, {"batch": Batch(max_n=5, linger=0.05)}, {"concurrency": 1}):
        await eventually(lambda: receiver.posts)
        await asyncio.sleep(0.2)
        await change(process, session, **changes)
    await change(process, session, mode="unordered", batch=None, concurrency=8)
    await publishing

    await eventually(lambda: len(firsts(ledger.taken)) == 300)
    assert len(ledger.taken) == 300
    await eventually(lambda: nothing_left(stage.broker))


async def test_a_delivery_that_is_asked_for_again_is_made_again_under_its_id(stage: Stage, receiver: Receiver):
    process = await stage.process()
    session = await stage.session(receiver.url)
    await stage.publish("agent.run-1.progress")
    await eventually(lambda: process.webhooks.stats(session.id).delivered == 1)
    (record,) = (await stage.broker.read("agent.>", 0)).records

    for _ in range(2):
        again = Job.again(session.id, record.payload, record.subject, record.sequence, unique="one", partitions=2)
        await stage.broker.store(*again)
    again = Job.again(session.id, record.payload, record.subject, record.sequence, unique="two", partitions=2)
    await stage.broker.store(*again)

    await eventually(lambda: process.webhooks.stats(session.id).delivered == 3)
    await eventually(lambda: nothing_left(stage.broker))
    assert len(receiver.posts) == 3
    assert len({post.headers["webhook-id"] for post in receiver.posts}) == 1


async def test_a_job_that_its_workers_die_of_becomes_a_dead_letter(stage: Stage, receiver: Receiver):
    settings = mortal(replace(QUICK, worker=replace(QUICK.worker, kills=2)))
    session = await stage.session(receiver.url)
    never = asyncio.Event()

    async def hang(request: web.Request) -> web.Response:
        await never.wait()
        raise AssertionError

    receiver.answer = hang
    process = await stage.process(settings)
    await stage.publish("agent.run-1.progress")
    for death in range(3):
        await eventually(lambda death=death: len(receiver.posts) == death + 1)
        await process.die()
        stage.processes.remove(process)
        process = await stage.process(settings)

    await eventually(lambda: process.webhooks.stats(session.id).failed == 1)
    assert await reasons(stage.broker, session) == ["poison"]
    assert len(receiver.posts) == 3


async def test_what_comes_while_the_log_of_a_dead_owner_is_looked_up_goes_behind_it(
    stage: Stage, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
):
    await stage.widen(1000)
    first = await stage.process(mortal(NARROW))
    session = await stage.session(receiver.url, mode="keyed", timeout=600.0)
    ledger = Ledger(receiver)
    ledger.gathers = 2  # the first is not answered
    await keyed(stage, "a", 10)

    async def parked() -> int:
        request = {"subjects_filter": f"hook.park.*.{session.id}.*"}
        subjects = (await stage.broker.connection.api(f"STREAM.INFO.{HOOKS}", request))["state"].get("subjects")
        return sum((subjects or {}).values())

    async def all_but_the_first() -> bool:
        return await parked() == 9

    await eventually(all_but_the_first)
    await first.die()
    stage.processes.remove(first)
    # The first of the log is looked up for longer than the other jobs need to come.
    looked_up, page = asyncio.Event(), Backlog.page

    async def slow_page(self: Backlog, *given: Any) -> Any:
        await looked_up.wait()
        return await page(self, *given)

    monkeypatch.setattr(Backlog, "page", slow_page)
    ledger.released.set()
    second = await stage.process(mortal(NARROW))
    await eventually(
        lambda: any(
            dispatcher.queues for worker in second.webhooks._workers() for dispatcher in worker.dispatchers.values()
        )
    )
    (worker,) = [worker for worker in second.webhooks._workers() if session.id in worker.dispatchers]
    await eventually(lambda: worker.catch_up.done)
    last = (await stage.broker.connection.api(f"STREAM.INFO.{HOOKS}"))["state"]["last_seq"]
    await keyed(stage, "a", 5, first=10)
    await eventually(lambda: worker.catch_up.reached >= last + 5)
    looked_up.set()

    await eventually(lambda: len(firsts(ledger.taken)) == 15)
    assert firsts(ledger.taken) == list(range(15))
    await eventually(lambda: nothing_left(stage.broker))
