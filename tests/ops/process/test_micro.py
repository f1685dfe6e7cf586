"""Which micro services answer."""

from __future__ import annotations

import asyncio
import json
import time

from ops.process.micro import answering
from router.broker import Broker
from tests.waiting import PATIENCE


async def test_it_returns_once_all_that_are_named_have_answered(broker: Broker, entity: str) -> None:
    answers = [b"no json", b"[]", json.dumps({"name": entity, "id": "1"}).encode()]

    sending: list[asyncio.Future[None]] = []

    def answer(_subject: str, reply: str, _payload: bytes, _headers: bytes) -> None:
        sending.extend(asyncio.ensure_future(broker.connection.send(reply, each)) for each in answers)

    listening = await broker.connection.listen("$SRV.PING", answer)
    try:
        began = time.monotonic()
        heard = await answering(broker.connection, {entity}, within=PATIENCE)
        assert time.monotonic() - began < PATIENCE
    finally:
        await listening.stop()

    assert [each["id"] for each in heard[entity]] == ["1"]


async def test_those_that_do_not_answer_are_missing_when_the_time_is_over(broker: Broker, entity: str) -> None:
    assert entity not in await answering(broker.connection, {entity}, within=0.05)
