"""A request that is settled by a callback is settled once, whatever comes first, and nothing of it is kept."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from router.broker import Broker
from router.errors import BrokerError, NoResponders, Timeout
from router.nats import client
from router.nats.connection import Connection
from router.nats.headers import Reply
from router.nats.request import CallbackRequest
from tests.waiting import eventually

Settled = list[Reply | BrokerError]


@pytest.fixture(autouse=True, params=[0.0, 3600.0], ids=["at once", "by the flusher"])
def written(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """How messages are written."""
    monkeypatch.setattr(client, "MIN_PAUSE", request.param)


def ask(connection: Connection, subject: str, settled: Settled, timeout: float = 60.0) -> CallbackRequest:
    request = connection.ask_now(subject, b"q", None, settled.append, timeout)
    assert request is not None
    return request


def is_forgotten(connection: Connection) -> bool:
    return not (connection._open_asks or connection._waiting or len(connection._deadlines))


async def test_it_is_settled_with_the_answer(broker: Broker, entity: str) -> None:
    connection, settled = broker.connection, Settled()
    answering = await connection.listen(f"test.{entity}", lambda _s, reply, payload, _h: asked.append((reply, payload)))
    asked: list[tuple[str, bytes]] = []

    request = ask(connection, f"test.{entity}", settled)
    await eventually(lambda: asked)
    await connection.send(asked[0][0], b"a")
    await connection.send(asked[0][0], b"late")
    await eventually(lambda: settled)
    await connection.flush()

    assert asked[0][1] == b"q" and settled == [Reply(b"a", b"")]
    assert request.done() and is_forgotten(connection)
    await answering.stop()


async def test_it_fails_where_no_answer_comes_in_time(broker: Broker, entity: str) -> None:
    settled = Settled()
    listening = await broker.connection.listen(f"test.{entity}", lambda *_message: None)

    ask(broker.connection, f"test.{entity}", settled, timeout=0.05)
    await eventually(lambda: settled)

    assert isinstance(settled[0], Timeout) and is_forgotten(broker.connection)
    await listening.stop()


async def test_nobody_who_answers_is_an_empty_reply(broker: Broker, entity: str) -> None:
    settled = Settled()

    ask(broker.connection, f"test.{entity}", settled)
    await eventually(lambda: settled)

    assert isinstance(settled[0], Reply) and not settled[0].payload
    with pytest.raises(NoResponders):
        await broker.connection.ask(f"test.{entity}", b"")


FAILURES: list[Callable[[CallbackRequest], None]] = [
    CallbackRequest.drop,
    lambda request: request.set_exception(Timeout("lost")),
    CallbackRequest.expire,
    lambda request: request.answered("s", "", b"a", b""),
]


@pytest.mark.parametrize("first", range(len(FAILURES)))
@pytest.mark.parametrize("then", range(len(FAILURES)))
async def test_what_comes_second_changes_nothing(broker: Broker, entity: str, first: int, then: int) -> None:
    settled = Settled()
    listening = await broker.connection.listen(f"test.{entity}", lambda *_message: None)
    request = ask(broker.connection, f"test.{entity}", settled)

    FAILURES[first](request)
    FAILURES[then](request)

    assert len(settled) == (first != 0) and is_forgotten(broker.connection)
    await listening.stop()


async def test_a_lost_connection_fails_what_is_under_way_also_where_that_asks_again(
    broker: Broker, entity: str
) -> None:
    connection, settled = broker.connection, Settled()
    again: list[bool] = []

    def settle(outcome: Reply | BrokerError) -> None:
        settled.append(outcome)
        again.append(connection.ask_now(f"test.{entity}", b"q", None, settle, 60.0) is not None)

    listening = await connection.listen(f"test.{entity}", lambda *_message: None)
    for _ in range(3):
        assert connection.ask_now(f"test.{entity}", b"q", None, settle, 60.0) is not None
    connection._wire._transport._io_writer.transport.abort()
    await eventually(lambda: len(settled) == 3)

    assert all(isinstance(outcome, Timeout) for outcome in settled)
    assert again == [False] * 3, "nothing can be sent while there is no connection"
    await eventually(lambda: connection.connected)
    await listening.stop()


async def test_what_must_be_waited_for_is_not_sent(
    broker: Broker, entity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[bytes] = []
    connection = broker.connection
    listening = await connection.listen(f"test.{entity}", lambda _s, _r, payload, _h: heard.append(payload))
    # It is not written at once, and there is no room for what waits.
    monkeypatch.setattr(client, "MIN_PAUSE", 3600.0)
    monkeypatch.setattr(connection._wire, "_max_pending_size", 0)

    assert connection.ask_now(f"test.{entity}", b"q", None, lambda _outcome: None, 60.0) is None
    await connection.flush()

    assert not heard and is_forgotten(connection)
    await listening.stop()
