"""A question that many put together is sent once, and never answered by what was asked before somebody came."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from edge.hub.shared_question import SharedQuestion
from ops.bench.readers import request
from router.errors import Timeout
from tests.edge.conftest import EdgeFactory
from tests.edge.hub.test_integrity import running
from tests.waiting import PATIENCE, eventually

CLIENTS = 60


class SlowStore:
    """Answers with how many questions it was asked, once it may."""

    def __init__(self) -> None:
        self.asked = 0
        self.fault: Exception | None = None
        self.may_answer = asyncio.Event()

    async def ask(self) -> int:
        self.asked += 1
        asked = self.asked
        await self.may_answer.wait()
        if self.fault is not None:
            raise self.fault
        return asked


async def test_all_who_come_before_a_question_is_sent_share_it() -> None:
    store = SlowStore()
    question = SharedQuestion(store.ask)
    store.may_answer.set()

    assert await asyncio.gather(*(question.answer() for _ in range(5))) == [1] * 5
    assert await question.answer() == 2


async def test_who_comes_after_a_question_was_sent_gets_the_answer_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.hub.shared_question.PAUSE", 60.0)
    store = SlowStore()
    question = SharedQuestion(store.ask)
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(question.answer())
        await eventually(lambda: store.asked == 1)
        others = [tasks.create_task(question.answer()) for _ in range(5)]
        await asyncio.sleep(0)
        assert store.asked == 1
        store.may_answer.set()

    assert first.result() == 1 and [each.result() for each in others] == [2] * 5


async def test_a_question_without_an_answer_does_not_hold_up_the_next() -> None:
    store = SlowStore()
    question = SharedQuestion(store.ask)
    first = asyncio.ensure_future(question.answer())
    await eventually(lambda: store.asked == 1)
    second = asyncio.ensure_future(question.answer())

    await eventually(lambda: store.asked == 2)

    store.may_answer.set()
    assert await asyncio.gather(first, second) == [1, 2]


async def test_a_failure_is_that_of_all_who_share_the_question_and_of_nobody_later() -> None:
    store = SlowStore()
    question = SharedQuestion(store.ask)
    store.may_answer.set()
    store.fault = Timeout("away")

    assert [
        type(each) for each in await asyncio.gather(*(question.answer() for _ in range(3)), return_exceptions=True)
    ] == [Timeout] * 3
    store.fault = None
    assert await question.answer() == 2


@pytest.mark.parametrize("is_sent", [False, True], ids=["before it was sent", "after it was sent"])
async def test_a_question_whose_asker_leaves_is_asked_by_another(is_sent: bool) -> None:
    store = SlowStore()
    question = SharedQuestion(store.ask)
    first = asyncio.ensure_future(question.answer())
    others = [asyncio.ensure_future(question.answer()) for _ in range(3)]
    await asyncio.sleep(0)
    if is_sent:
        await eventually(lambda: store.asked == 1)
    first.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await first
    store.may_answer.set()

    assert await asyncio.gather(*others) == [2 if is_sent else 1] * 3


@pytest.mark.slow
async def test_clients_whose_cursors_are_ahead_of_an_edge_cost_the_store_few_questions(
    edge_factory: EdgeFactory, tmp_path: Path
) -> None:
    # No heartbeat tells the edge meanwhile how far the stream has come.
    async with running(edge_factory, tmp_path, False, heartbeat=3600) as deaf, contextlib.AsyncExitStack() as stack:
        session = await deaf.edge.session(subjects=["job.a.>"])
        await deaf.say("job.a.said")
        *_, cursor = await deaf.keep_to_itself("job.a.first", "job.a.second")
        asked: list[str] = []
        listening = await deaf.broker.connection.listen(
            "$JS.API.STREAM.*.EVENTS", lambda subject, *_: asked.append(subject)
        )

        clients = [await asyncio.open_connection("127.0.0.1", deaf.edge.port) for _ in range(CLIENTS)]
        for number, (_, writer) in enumerate(clients):
            stack.callback(writer.close)
            way, transport = ("ws", "websocket") if number % 2 else ("sse", "sse")
            path = f"/callbacks/sessions/{session}/{way}?cursor={cursor}"
            writer.write(request(f"127.0.0.1:{deaf.edge.port}", path, transport))
        async with asyncio.timeout(PATIENCE):
            for reader, _ in clients:
                ready = await reader.readuntil(b'"recovered":')
                assert b'"session_id":' in ready and await reader.readexactly(4) == b"true"

        assert 1 <= len(asked) <= CLIENTS // 2, asked
        await listening.stop()
