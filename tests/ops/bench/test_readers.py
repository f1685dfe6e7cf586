"""Readers that count bytes without looking at them."""

from __future__ import annotations

import socket

import pytest

from ops.bench.readers import ReaderGroup, request


@pytest.mark.parametrize(("transport", "header"), [("websocket", b"Upgrade: websocket"), ("sse", b"text/event-stream")])
def test_a_request_opens_a_stream_of_its_transport(transport: str, header: bytes) -> None:
    asked = request("127.0.0.1:8000", "/x", transport)

    assert asked.startswith(b"GET /x HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n")
    assert header in asked and asked.endswith(b"\r\n\r\n")


def test_bytes_are_counted_over_all_sockets_and_not_waited_for() -> None:
    group = ReaderGroup("g")
    with socket.create_server(("127.0.0.1", 0)) as server:
        pairs = []
        for _ in range(2):
            client = socket.create_connection(server.getsockname())
            pairs.append((client, server.accept()[0]))
            client.setblocking(False)
            group.sockets.append(client)
        pairs[0][1].sendall(b"x" * 1000)
        while group.bytes < 1000:
            group.read()
        group.read()
        for pair in pairs:
            for each in pair:
                each.close()

    assert group.bytes == 1000
