"""Tests of edge/webhooks/endpoint/state_sync.py: every process knows how an endpoint is."""

from __future__ import annotations

from aiohttp import web

from tests.edge.webhooks.observing import PATIENT, SHUT, nothing_under_way, state
from tests.edge.webhooks.stage import Receiver, Stage, mortal
from tests.waiting import eventually


async def test_what_is_shut_stays_shut_at_the_next_owner_and_is_seen_everywhere(stage: Stage, receiver: Receiver):
    first, other = [await stage.process(mortal(SHUT)) for _ in range(2)]
    await stage.settled()
    session = await stage.session(receiver.url, retry_attempts=20)
    receiver.answer = 500
    await stage.publish("agent.run-1.progress", 20)
    await eventually(lambda: {state(first, session), state(other, session)} == {"open"})
    # The breaker opens at the first failures, and others may be under way by then.
    await eventually(lambda: nothing_under_way(first, other, session))
    posts = len(receiver.posts)

    owner = first if any(session.id in worker.dispatchers for worker in first.webhooks._workers()) else other
    await owner.die()
    stage.processes.remove(owner)
    last = other if owner is first else first
    await eventually(lambda: len(last.webhooks.partitions.terms) == 2)

    async def all_parked() -> bool:
        return last.webhooks.health(session.id)["parked"] > 0

    receiver.answer = 200
    await eventually(all_parked)
    await eventually(lambda: last.webhooks.health(session.id)["oldest_parked_seconds"])
    assert len(receiver.posts) == posts
    assert last.webhooks.health(session.id)["until"] is not None


async def test_an_operator_disables_from_any_process(stage: Stage, receiver: Receiver):
    both = [await stage.process(PATIENT), await stage.process(PATIENT)]
    await stage.settled()
    session = await stage.session(receiver.url)
    await stage.publish("agent.run-1.progress")
    await eventually(lambda: len(receiver.posts) == 1)

    for process in both:
        await process.webhooks.disable(session.id, "maintenance")
        await eventually(lambda: [state(each, session) for each in both] == ["disabled"] * 2)
        before = len(receiver.posts)
        await stage.publish("agent.run-1.progress", 5)
        last = (await stage.broker.state()).last
        await eventually(lambda last=last: max(each.webhooks.fanout.position for each in both) >= last)
        assert len(receiver.posts) == before
        assert both[0].webhooks.health(session.id)["reason"] == "maintenance"
        await process.webhooks.enable(session.id)
        await eventually(lambda before=before: len(receiver.posts) == before + 5)


async def test_a_pause_is_seen_from_every_process(stage: Stage, receiver: Receiver):
    processes = [await stage.process(PATIENT), await stage.process(PATIENT)]
    session = await stage.session(receiver.url)

    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=429, headers={"Retry-After": "3000"})

    receiver.answer = answer
    await stage.publish("agent.run-1.progress")

    for process in processes:
        await eventually(lambda process=process: process.webhooks.health(session.id)["state"] == "paused")
        shown = process.webhooks.health(session.id)
        assert (shown["reason"], shown["until"] is not None) == ("throttled (HTTP 429)", True)
