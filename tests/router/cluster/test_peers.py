"""Asking all other edge processes at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from router.broker import Broker
from router.cluster import peers
from router.cluster.peers import answer_peer, ask_peers
from tests.waiting import PATIENCE


def read(payload: bytes) -> int | None:
    return int(payload) if payload.isdigit() else None


@asynccontextmanager
async def answering(broker: Broker, subject: str, *answers: bytes) -> AsyncIterator[None]:
    """So many peers, each with an answer of its own; an empty list of answers is a peer that says nothing."""

    def peer(answer: bytes):
        return lambda _subject, reply, _payload, _headers: answer_peer(broker.connection, reply, answer)

    listening = [await broker.connection.listen(subject, peer(answer)) for answer in answers]
    try:
        yield
    finally:
        for each in listening:
            await each.stop()


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "TIMEOUT", PATIENCE)


async def test_as_many_answers_as_expected_end_the_question(broker: Broker, entity: str) -> None:
    async with answering(broker, entity, b"1", b"2", b"3"):
        answers = await ask_peers(broker.connection, entity, b"how many?", 3, read)

    assert sorted(answers) == [1, 2, 3]


async def test_an_answer_that_cannot_be_read_does_not_count(broker: Broker, entity: str) -> None:
    async with answering(broker, entity, b"1", b"what?", b"2"):
        answers = await ask_peers(broker.connection, entity, b"how many?", 2, read)

    assert sorted(answers) == [1, 2]


async def test_where_nobody_listens_nobody_is_waited_for(broker: Broker, entity: str) -> None:
    async with asyncio.timeout(PATIENCE):
        assert await ask_peers(broker.connection, entity, b"how many?", 2, read) == []
