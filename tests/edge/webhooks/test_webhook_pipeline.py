from __future__ import annotations

import asyncio

import pytest

from edge.webhooks.job import Publish
from edge.webhooks.pipeline import Endings, Pipeline
from router.errors import Refused, Timeout
from router.nats.consumer import Consumer, Message
from router.nats.error_codes import ErrorCode
from router.nats.stream import Ack
from router.topology import HOOKS
from tests.edge.webhooks.stage import Stage
from tests.waiting import PATIENCE, eventually


def job(number: int, session: str = "sess_1") -> Publish:
    return Publish(f"hook.q.0.{session}", b"%d" % number, {"Nats-Msg-Id": f"{session}.{number}"})


async def left(stage: Stage) -> int:
    count: int = (await stage.broker.connection.api(f"STREAM.INFO.{HOOKS}"))["state"]["messages"]
    return count


async def test_each_message_is_answered_for_in_its_place(stage: Stage):
    pipeline = Pipeline(stage.broker.connection)
    nowhere = Publish("nobody.listens", b"", {})

    # The stage has room for fifty of a session.
    answers = await pipeline.send([job(1), job(2), job(1), nowhere, *(job(n, "full") for n in range(51))])

    assert [answers[0], answers[1], answers[2]] == [Ack(1, False), Ack(2, False), Ack(1, True)]
    assert isinstance(answers[3], Timeout)
    assert all(isinstance(answer, Ack) for answer in answers[4:54])
    assert isinstance(answers[54], Refused) and answers[54].err_code == ErrorCode.STREAM_STORE_FAILED
    await pipeline.close()


async def test_many_callers_get_their_own_answers(stage: Stage):
    pipeline = Pipeline(stage.broker.connection)

    rounds = await asyncio.gather(*(pipeline.send([job(0, f"sess_{n}"), job(1, f"sess_{n}")]) for n in range(20)))

    assert len({answer for answers in rounds for answer in answers}) == 40
    await pipeline.close()


async def test_who_waits_when_the_connection_is_lost_is_told_at_once(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("edge.webhooks.pipeline.PATIENCE", 3600.0)
    pipeline = Pipeline(stage.broker.connection)
    # It is taken, and never answered.
    listening = await stage.broker.connection.listen("silent", lambda *_: None)
    sending = asyncio.ensure_future(pipeline.send([Publish("silent", b"", {})]))
    await eventually(lambda: pipeline._flights)

    await stage.broker.connection._wire.force_reconnect()

    (answer,) = await asyncio.wait_for(sending, PATIENCE)
    assert isinstance(answer, Timeout)
    await listening.stop()
    await pipeline.close()


async def test_what_is_settled_is_taken_out_of_the_stream(stage: Stage):
    connection = stage.broker.connection
    pipeline = Pipeline(connection)
    endings = Endings(pipeline)
    heard: list[Message] = []
    consumer = Consumer(connection, HOOKS, {"name": "test", "filter_subject": "hook.q.0.*"}, heard.append)
    working = [asyncio.ensure_future(each.run()) for each in (endings, consumer)]
    parked = Publish("hook.park.0.sess_1.all", b"", {"Nats-Msg-Id": "parked"})
    answers = await pipeline.send([*(job(n) for n in range(5)), parked])
    await eventually(lambda: len(heard) == 5)

    for message in heard[:4]:
        endings.acknowledge(message)
    assert isinstance(answers[5], Ack)
    endings.remove(answers[5].sequence)
    endings.remove(answers[5].sequence + 1)  # there is none: harmless
    await endings.flushed()

    async def one_left() -> bool:
        return await left(stage) == 1

    await eventually(one_left)
    for task in working:
        task.cancel()
    await asyncio.gather(*working, return_exceptions=True)
    await pipeline.close()
