"""Tests of edge/webhooks/worker/endpoints.py: dispatchers follow their sessions."""

from __future__ import annotations

import asyncio

import msgspec

from edge.sessions.endpoint.settings import BatchSettings
from tests.edge.webhooks.observing import NARROW, SHUT, Ledger, firsts, keyed, nothing_left, state
from tests.edge.webhooks.stage import Receiver, Stage
from tests.edge.webhooks.test_modes import change
from tests.waiting import eventually


async def test_changes_of_a_living_session_take_effect_and_lose_nothing(stage: Stage, receiver: Receiver):
    await stage.widen(1000)
    process = await stage.process(NARROW)
    session = await stage.session(receiver.url, retry_attempts=20)
    ledger = Ledger(receiver)
    ledger.slow = 0.002
    ledger.refuses = lambda n: len(ledger.asked) % 17 == 5
    publishing = asyncio.ensure_future(keyed(stage, "abcd", 300))

    for changes in (
        {"mode": "keyed"},
        {"mode": "fifo"},
        {"batch": BatchSettings(max_n=5, linger=0.05)},
        {"concurrency": 1},
    ):
        await eventually(lambda: receiver.posts)
        await asyncio.sleep(0.2)
        await change(process, session, **changes)
    await change(process, session, mode="unordered", batch=None, concurrency=8)
    await publishing

    await eventually(lambda: len(firsts(ledger.taken)) == 300)
    assert len(ledger.taken) == 300
    await eventually(lambda: nothing_left(stage.broker))


async def test_a_changed_address_takes_effect_and_nothing_is_lost(stage: Stage, receiver: Receiver):
    process = await stage.process(SHUT)
    async with Receiver().serving() as gone:
        gone.answer = 410
        session = await stage.session(gone.url)
        await stage.publish("agent.run-1.progress")
        await eventually(lambda: state(process, session) == "disabled")
        await stage.publish("agent.run-1.progress", 9)

        assert session.spec.webhook is not None
        known = process.registry.sessions[session.id]

        hook = msgspec.structs.replace(session.spec.webhook, url=receiver.url)
        await process.registry.update(known, msgspec.structs.replace(known.spec, webhook=hook))
        await process.webhooks.enable(session.id)

        await eventually(lambda: process.webhooks.stats(session.id).delivered == 9)
        assert len(gone.posts) == 1 and len(receiver.posts) == 9
