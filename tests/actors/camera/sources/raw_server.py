"""A server that answers each connection as a test tells it: HTTP, RTSP, rubbish or nothing, also over TLS."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator

Answer = Callable[[socket.socket, str], None]


@contextlib.contextmanager
def raw_server(answer: Answer, tls: ssl.SSLContext | None = None, port: int = 0) -> Iterator[int]:
    """Gives `answer` each connection with the head of its first request, in a thread, and closes it afterwards."""
    open_now: set[socket.socket] = set()
    with socket.create_server(("127.0.0.1", port)) as listening:

        def serve(connection: socket.socket) -> None:
            open_now.add(connection)
            with contextlib.suppress(OSError):
                talking = tls.wrap_socket(connection, server_side=True) if tls else connection
                open_now.add(talking)
                with talking:
                    answer(talking, _head(talking))

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=serve, args=(listening.accept()[0],), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            for connection in list(open_now):
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
                connection.close()


@contextlib.contextmanager
def tls_relay(port: int, tls: ssl.SSLContext) -> Iterator[int]:
    """Speaks TLS for a server that does not."""

    def relay(client: socket.socket, head: str) -> None:
        with socket.create_connection(("127.0.0.1", port)) as server:
            server.sendall(head.encode())
            threading.Thread(target=_carry, args=(server, client), daemon=True).start()
            _carry(client, server)

    with raw_server(relay, tls) as own:
        yield own


def _carry(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)


def _head(connection: socket.socket) -> str:
    head = b""
    while b"\r\n\r\n" not in head and (data := connection.recv(4096)):
        head += data
    return head.decode("latin-1")
