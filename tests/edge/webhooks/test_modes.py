"""Keys, batches, rates, places, halts and what waits for an endpoint's consent."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any

import msgspec

from edge.sessions.endpoint.settings import BatchSettings
from edge.sessions.registry import Session
from tests.edge.webhooks.observing import NARROW, Ledger, firsts, nothing_left
from tests.edge.webhooks.stage import Process, Receiver, Stage, mortal
from tests.waiting import eventually


async def change(process: Process, session: Session, **changes: Any) -> None:
    """Changes a session's webhook as a PATCH does."""
    known = process.registry.sessions[session.id]
    hook = msgspec.structs.replace(known.spec.webhook, **changes)
    await process.registry.update(known, msgspec.structs.replace(known.spec, webhook=hook))


async def test_ordered_batches_keep_the_order_through_failures_and_a_change_of_owner(stage: Stage, receiver: Receiver):
    await stage.widen(1000)
    process = await stage.process(mortal(NARROW))
    await stage.session(receiver.url, batch=BatchSettings(max_n=7, linger=0.05), mode="fifo", retry_attempts=20)
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
