"""The publisher of the comparison stamps its requests, and waits for their answers and for the readers."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.bench.publisher import AT, AnswerReader, HttpPublisher, PublicationRefused, payload, request


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, AnswerReader]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield theirs, AnswerReader(ours)


def test_answers_are_told_apart_wherever_they_are_split(pair: tuple[socket.socket, AnswerReader]) -> None:
    server, reader = pair
    answer = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}"
    server.sendall(answer + b"HTTP/1.1 204 No Content\r\n\r\n" + answer[:30])
    reader.take(2)

    server.sendall(answer[30:])
    reader.take(1)

    server.sendall(answer)
    reader.take(1)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
def test_a_refusal_ends_it(pair: tuple[socket.socket, AnswerReader], answer: bytes) -> None:
    server, reader = pair
    server.sendall(answer)

    with pytest.raises(PublicationRefused, match="was answered with"):
        reader.take(1)


def test_a_closed_connection_ends_it(pair: tuple[socket.socket, AnswerReader]) -> None:
    server, reader = pair
    server.close()

    with pytest.raises(PublicationRefused, match="closed"):
        reader.take(1)


def test_each_request_has_the_time_it_was_sent_and_follows_the_readers(tmp_path: Path) -> None:
    progress = tmp_path / "progress"
    progress.write_bytes(struct.pack("<Q", 5))
    publisher, heard = HttpPublisher(progress), []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        text = request(port, "/events", payload()) * 2

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                for _ in range(3):
                    heard.append(connection.recv(len(text), socket.MSG_WAITALL).decode())
                    connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n" * 2)
                    # The readers of this test get both events once they are answered.
                    with progress.open("r+b") as file:
                        file.write(struct.pack("<Q", 5 + 2 * len(heard)))

        thread = threading.Thread(target=serve)
        thread.start()
        before = time.time_ns()
        answer = publisher.pace(port, text, answers=2, rate=1000, count=3)
        thread.join()

    bodies = [json.loads(part.rpartition("\r\n\r\n")[2].partition("POST")[0]) for part in heard]
    assert answer["rate"] > 0 and publisher.received() == 11
    assert before <= bodies[0]["at"] < bodies[1]["at"] < bodies[2]["at"] <= time.time_ns()
    assert all(AT not in part for part in heard)


def test_events_that_do_not_arrive_are_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ops.bench.publisher.TIMEOUT", 0.05)
    progress = tmp_path / "progress"
    progress.write_bytes(bytes(8))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
                connection.recv(4096)

        thread = threading.Thread(target=serve)
        thread.start()
        answer = HttpPublisher(progress).pace(port, request(port, "/events", payload()), answers=1, rate=1000, count=2)
        thread.join()

    assert "did not arrive" in answer["fault"]


def test_an_event_is_of_the_size_that_is_wanted() -> None:
    assert len(payload(100)) == 100 and json.loads(payload(100))["at"] == int(AT)
    assert "Content-Length: 100\r\n\r\n{" in request(1, "/events", payload(100))
