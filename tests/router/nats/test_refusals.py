"""What an error of JetStream in answer to a publish means, and what a publisher does about it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import pytest

from edge.errors import from_fault
from router.broker import Broker
from router.errors import Refused, Timeout
from router.event import Event
from router.nats.publisher import Publish, Publisher
from router.nats.refusals import Fate, fate, is_full
from tests.router.scripted_stream import (
    BUSY,
    ELECTING,
    FULL,
    IN_PROCESS,
    NO_STORAGE,
    NOT_LEADER,
    TOO_LARGE,
    ScriptedStream,
    connected,
    scripted_stream,
)


@pytest.fixture
async def broker(own_nats: str) -> AsyncIterator[Broker]:
    async with connected(own_nats) as broker:
        yield broker


@pytest.fixture
async def stream(own_nats: str, broker: Broker) -> AsyncIterator[ScriptedStream]:
    async with scripted_stream(own_nats) as stream:
        yield stream


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
