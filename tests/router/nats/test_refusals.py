"""What an error of JetStream in answer to a publish means, and what a publisher does about it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence

import pytest

from edge.errors import from_fault
from router.broker import Broker
from router.errors import Refused, Timeout
from router.event import Event
from router.nats.publisher import Publish, Publisher
from router.nats.refusals import Fate, fate, is_full
from router.nats.settings import BrokerSettings
from router.unsent import Unsent
from tests.waiting import eventually

IN_PROCESS = (409, 10158, "duplicate message id is in process")
ELECTING = (503, 10008, "JetStream system temporarily unavailable")
NOT_LEADER = (503, 10077, "raft: not leader")
BUSY = (429, 10167, "too many requests")
FULL = (503, 10077, "maximum bytes exceeded")
NO_STORAGE = (500, 10047, "insufficient storage resources available")
TOO_LARGE = (400, 10054, "message size exceeds maximum allowed")


class ScriptedStream:
    """Answers publishes as JetStream does, with what it was told to answer, and then with an acknowledgement."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.answers: list[tuple[int, int, str]] = []
        self.for_ever = False

    def answer(self) -> bytes:
        if not self.answers:
            return json.dumps({"stream": "EVENTS", "seq": len(self.ids)}).encode()
        code, err_code, text = self.answers[0] if self.for_ever else self.answers.pop(0)
        return json.dumps({"error": {"code": code, "err_code": err_code, "description": text}}).encode()


@pytest.fixture
async def broker(own_nats: str) -> AsyncIterator[Broker]:
    """A broker on a server without streams: a subscriber answers in their place."""
    broker = Broker(BrokerSettings(own_nats), "publisher")
    await broker.open(apply=False)
    yield broker
    await broker.close()


@pytest.fixture
async def stream(own_nats: str, broker: Broker) -> AsyncIterator[ScriptedStream]:
    scripted = ScriptedStream()
    other = Broker(BrokerSettings(own_nats), "stream")
    await other.open(apply=False)
    replies: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()

    def published(_subject: str, reply: str, _payload: bytes, raw: bytes) -> None:
        scripted.ids.append(raw.decode().partition("Nats-Msg-Id: ")[2].partition("\r\n")[0])
        replies.put_nowait((reply, scripted.answer()))

    async def answer() -> None:
        while True:
            reply, text = await replies.get()
            await other.connection.send(reply, text)

    await other.connection.listen("ev.>", published)
    task = asyncio.create_task(answer())
    yield scripted
    task.cancel()
    await other.close()


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        (IN_PROCESS, Fate.UNKNOWN),
        (ELECTING, Fate.AGAIN),
        (NOT_LEADER, Fate.AGAIN),
        (BUSY, Fate.AGAIN),
        ((500, 10118, "stream is offline"), Fate.AGAIN),
        ((503, 10077, "write /data/1.blk: input/output error"), Fate.AGAIN),
        (FULL, Fate.FULL),
        ((503, 10077, "maximum messages per subject exceeded"), Fate.FULL),
        ((503, 10077, "write /data/1.blk: no space left on device"), Fate.FULL),
        (NO_STORAGE, Fate.FULL),
        (TOO_LARGE, Fate.REFUSED),
        ((400, 10071, "wrong last sequence: 5"), Fate.REFUSED),
        ((400, 10109, "invalid operation on sealed stream"), Fate.REFUSED),
    ],
)
def test_every_answer_has_one_fate(answer: tuple[int, int, str], wanted: Fate) -> None:
    assert fate(Refused(*answer)) is wanted


def test_a_limit_of_one_subject_is_not_a_full_store() -> None:
    assert is_full(Refused(*FULL))
    assert not is_full(Refused(503, 10077, "maximum messages per subject exceeded"))


@pytest.mark.parametrize("passing", [IN_PROCESS, ELECTING, NOT_LEADER, BUSY])
async def test_what_may_pass_is_tried_again_with_the_same_id(
    broker: Broker, stream: ScriptedStream, passing: tuple[int, int, str]
) -> None:
    stream.answers = [passing] * 3
    event = Event.new("job.one.output", {"n": 1})

    ack = await broker.publish(event, timeout=30)

    assert ack.sequence == 4
    assert len(stream.ids) == 4 and len(set(stream.ids)) == 1


@pytest.mark.parametrize("passing", [IN_PROCESS, ELECTING, NOT_LEADER, BUSY])
async def test_what_does_not_pass_in_time_is_unknown_and_503(
    broker: Broker, stream: ScriptedStream, passing: tuple[int, int, str]
) -> None:
    stream.answers, stream.for_ever = [passing], True

    with pytest.raises(Timeout) as caught:
        await broker.publish(Event.new("job.one.output", {"n": 1}), timeout=1.0)

    problem = from_fault(caught.value)
    assert (problem.status, problem.code) == (503, "broker_unavailable")
    assert "Retry-After" in problem.headers


@pytest.mark.parametrize(("verdict", "status"), [(TOO_LARGE, 507), (FULL, 503), (NO_STORAGE, 503)])
async def test_a_verdict_is_told_at_once(
    broker: Broker, stream: ScriptedStream, verdict: tuple[int, int, str], status: int
) -> None:
    stream.answers = [verdict]

    with pytest.raises(Refused) as caught:
        await broker.publish(Event.new("job.one.output", {"n": 1}), timeout=30)

    assert len(stream.ids) == 1
    assert from_fault(caught.value).status == status


async def test_of_those_published_side_by_side_what_is_in_process_is_unknown(
    broker: Broker, stream: ScriptedStream
) -> None:
    stream.answers = [IN_PROCESS, TOO_LARGE]

    answers: Sequence[object] = await Publisher(broker.connection).send(
        [Publish("ev.job.one.output", b"{}", {"Nats-Msg-Id": str(n)}) for n in range(3)]
    )

    assert [type(answer).__name__ for answer in answers] == ["Timeout", "Refused", "Ack"]


async def test_a_run_s_event_that_finds_the_store_full_or_electing_is_not_lost(
    broker: Broker, stream: ScriptedStream
) -> None:
    stream.answers = [FULL, NO_STORAGE, IN_PROCESS, ELECTING]
    unsent = Unsent(8)
    event = Event.new("job.one.output", {"n": 1})
    unsent.add(event, b"{}")

    await asyncio.wait_for(unsent.publish_one(broker), 30)

    assert (unsent.sent, unsent.refused) == (1, 0)
    await eventually(lambda: len(stream.ids) == 5 and len(set(stream.ids)) == 1)
