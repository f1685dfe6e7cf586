"""The protocol of a connection gives received bytes to the awaited answer, and closes where there is none."""

from __future__ import annotations

import asyncio

import pytest

from edge.webhooks.client.answer import BadAnswer, ResponseReader
from edge.webhooks.client.wire import Wire

WHOLE = b"HTTP/1.1 204 No Content\r\n\r\n"


class Transport(asyncio.Transport):
    """A transport that only notes that it was aborted."""

    aborted = False

    def abort(self) -> None:
        self.aborted = True

    def is_closing(self) -> bool:
        return self.aborted


@pytest.fixture
def transport() -> Transport:
    return Transport()


@pytest.fixture
def wire(transport: Transport) -> Wire:
    made = Wire()
    made.connection_made(transport)
    return made


async def test_an_answer_in_pieces_ends_the_wait_with_its_last_byte(wire: Wire):
    answer = ResponseReader()
    done = wire.begin(answer)

    wire.data_received(WHOLE[:10])
    assert not done.done() and wire.heard > 0
    wire.data_received(WHOLE[10:])

    await done
    assert answer.status == 204 and wire.is_connected()


async def test_bytes_without_a_request_close_the_connection(wire: Wire, transport: Transport):
    wire.data_received(WHOLE)

    assert wire.unasked and transport.aborted and not wire.is_connected()


async def test_what_is_no_answer_raises(wire: Wire):
    done = wire.begin(ResponseReader())

    wire.data_received(b"SSH-2.0-OpenSSH\r\n")

    with pytest.raises(BadAnswer):
        await done


async def test_at_the_deadline_the_status_decides_where_it_has_come(wire: Wire):
    answer = ResponseReader()
    done = wire.begin(answer)
    wire.data_received(b"HTTP/1.1 200 OK\r\nContent-Le")
    wire.expire()
    await done
    assert answer.status == 200

    done = wire.begin(ResponseReader())
    wire.expire()
    with pytest.raises(TimeoutError):
        await done


async def test_a_connection_that_is_lost_before_the_answer_raises(wire: Wire):
    done = wire.begin(ResponseReader())

    wire.connection_lost(None)

    with pytest.raises(ConnectionResetError):
        await done
