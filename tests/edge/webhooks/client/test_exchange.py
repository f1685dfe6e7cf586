"""An exchange knows where its time went, and how long it may wait for the rest of an answer."""

from __future__ import annotations

import pytest

from edge.webhooks.client.answer import ResponseReader
from edge.webhooks.client.exchange import BODY_SECONDS, Exchange


def test_an_idle_connection_takes_no_time_to_connect():
    exchange = Exchange(10.0, 20.0)
    exchange.sent, exchange.heard = 10.0, 10.25

    timing = exchange.timing(10.5)

    assert (timing.dns, timing.connect, timing.tls) == (0.0, 0.0, 0.0)
    assert (timing.first_byte, timing.total) == (250.0, 500.0)


def test_the_phases_of_a_new_connection_add_up():
    exchange = Exchange(10.0, 20.0)
    exchange.connecting, exchange.dns, exchange.shaking, exchange.connected = 10.0, 0.125, 10.25, 10.5
    exchange.sent, exchange.heard = 10.5, 11.0

    timing = exchange.timing(11.0)

    assert (timing.dns, timing.connect, timing.tls) == (125.0, 125.0, 250.0)
    assert (timing.first_byte, timing.total) == (500.0, 1000.0)


@pytest.mark.parametrize(
    ("received", "deadline"), [(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", 11.0 + BODY_SECONDS), (b"HTTP", 90.0)]
)
def test_behind_the_head_of_an_answer_its_body_is_awaited_for_a_short_time_only(received: bytes, deadline: float):
    exchange = Exchange(10.0, 90.0)
    exchange.answer = ResponseReader()
    exchange.answer.feed(received)

    exchange.check(11.0)

    assert exchange.deadline == deadline
