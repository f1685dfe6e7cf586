"""The readers of a crowd: each event is waited for by every client, and what is not as it should be ends the measurement."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from ops.bench.crowd_readers import PING, PONG, CrowdReaders

READY = b'HTTP/1.1 200 OK\r\n\r\ndata: {"session_id":"s"}\n\n'
EVENT = b'data: {"data":{"at":1}}\n\n'
HEARTBEAT = b"data: {}\n\n"
DOOR = {"transport": "sse", "path": "/stream", "headers": ["Authorization: Bearer token"]}


class AnsweringServer:
    """Accepts connections and answers each with the same bytes."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.clients: list[socket.socket] = []
        self.sources: set[str] = set()
        self.asked: list[bytes] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, (source, _) = self._listener.accept()
            except OSError:
                return
            self.sources.add(source)
            self.clients.append(client)
            self.asked.append(client.recv(4096))
            client.sendall(self._answer)

    def say(self, *said: bytes) -> None:
        """Sends each client its own bytes."""
        for client, form in zip(self.clients, said, strict=True):
            client.sendall(form)

    def close(self) -> None:
        # Wakes who accepts.
        self._listener.shutdown(socket.SHUT_RDWR)
        for each in (self._listener, *self.clients):
            each.close()


@pytest.fixture
def server() -> Iterator[AnsweringServer]:
    made = AnsweringServer(READY)
    yield made
    made.close()


@pytest.fixture
def readers(server: AnsweringServer) -> Iterator[CrowdReaders]:
    made = CrowdReaders()
    made.open("crowd", server.port, [DOOR, {**DOOR, "transport": "websocket"}], 3, 2, "127.0.0.9")
    yield made
    made.close()


def test_clients_come_from_the_address_that_is_said_through_each_door_with_its_token(
    server: AnsweringServer, readers: CrowdReaders
) -> None:
    assert server.sources == {"127.0.0.9"}
    assert [b"Upgrade: websocket" in asked for asked in server.asked] == [False, True, False]
    assert all(b"Authorization: Bearer token" in asked for asked in server.asked)


def test_an_event_is_collected_once_each_client_has_it_whole(server: AnsweringServer, readers: CrowdReaders) -> None:
    server.say(EVENT, HEARTBEAT + EVENT, HEARTBEAT)

    assert readers.collect("crowd", 0.05) == {"fault": "1 clients had no event after 0.05 s"}
    server.say(EVENT, EVENT, EVENT)
    assert "ended" in readers.collect("crowd", 10)


def test_an_event_in_two_pieces_is_one_event(server: AnsweringServer, readers: CrowdReaders) -> None:
    server.say(EVENT, EVENT, EVENT[:18])
    late = threading.Timer(0.05, server.clients[2].sendall, [EVENT[18:]])
    late.start()

    assert "ended" in readers.collect("crowd", 10)
    late.join()


def test_what_was_drained_is_not_collected(server: AnsweringServer, readers: CrowdReaders) -> None:
    server.say(*[EVENT + HEARTBEAT * 1000] * 3)

    readers.drain("crowd")

    assert "fault" in readers.collect("crowd", 0.01)


def test_pings_are_answered_while_that_is_asked_for(server: AnsweringServer, readers: CrowdReaders) -> None:
    server.say(*[b"\x81\x02{}" + PING] * 3)

    # Of the three, one is a WebSocket.
    assert readers.answer(0.5) == {"pings": 1}
    assert server.clients[1].recv(100) == PONG
    assert readers.answer(0.01) == {"pings": 0}


def test_a_client_that_has_an_event_twice_ends_the_measurement(server: AnsweringServer, readers: CrowdReaders) -> None:
    server.say(EVENT, EVENT, EVENT + EVENT)

    with pytest.raises(SystemExit, match="had 2 events, and one was said"):
        readers.collect("crowd", 10)


def test_a_connection_that_the_server_closes_ends_the_measurement(
    server: AnsweringServer, readers: CrowdReaders
) -> None:
    server.say(EVENT, EVENT, EVENT)
    readers.collect("crowd", 10)
    server.clients[1].close()

    with pytest.raises(SystemExit, match="the server closed a connection"):
        readers.collect("crowd", 10)


def test_a_client_that_is_refused_ends_the_measurement() -> None:
    server = AnsweringServer(b"HTTP/1.1 401 Unauthorized\r\n\r\n")
    try:
        with pytest.raises(SystemExit, match=r"refused.*401"):
            CrowdReaders().open("crowd", server.port, [DOOR], 1, 1, "127.0.0.1")
    finally:
        server.close()
