"""Tests of edge/server/accept_queues.py: one port, several queues."""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Iterator

import pytest

from edge.server import accept_queues
from tests.waiting import PATIENCE


@pytest.fixture
def bound() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken


def _connected(address: tuple[str, int], count: int, stack: contextlib.ExitStack) -> int:
    """Connects clients that nobody accepts, and says how many are connected once no more come."""
    poll = select.epoll()
    stack.callback(poll.close)
    for _ in range(count):
        client = stack.enter_context(socket.socket())
        client.setblocking(False)
        client.connect_ex(address)
        poll.register(client, select.EPOLLOUT | select.EPOLLONESHOT)
    connected = 0
    while found := poll.poll(PATIENCE if not connected else 0.5, count):
        connected += len(found)
        if connected == count:
            break
    return connected


@pytest.mark.skipif(not hasattr(socket, "SO_REUSEPORT") or not hasattr(select, "epoll"), reason="of Linux")
def test_a_port_holds_more_connections_that_nobody_has_accepted_than_one_queue(
    bound: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accept_queues, "BACKLOG", 20)
    monkeypatch.setattr(accept_queues, "QUEUES", 8)

    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(each) for each in accept_queues.listen(bound)]

        assert len(listeners) == 8 and {each.getsockname() for each in listeners} == {bound.getsockname()}
        # One queue holds 21. How the kernel spreads them is its own: no queue is full of so few, or one in a thousand times.
        assert _connected(bound.getsockname(), 60, stack) == 60


def test_nobody_else_gets_the_port(bound: socket.socket) -> None:
    with contextlib.ExitStack() as stack:
        for each in accept_queues.listen(bound):
            stack.enter_context(each)
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(bound.getsockname())


def test_a_system_without_shared_ports_listens_with_one_queue(
    bound: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(socket, "SO_REUSEPORT", raising=False)

    (only,) = accept_queues.listen(bound)

    assert only is bound
    with socket.create_connection(bound.getsockname()):
        pass
