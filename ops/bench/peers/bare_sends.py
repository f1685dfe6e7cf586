"""A bound to measure against: one `send` call a client and nothing else, which is as little as a program can do.

What that takes is the kernel's work on a loopback connection, and nobody who writes to each client by itself is faster. It
speaks the lines of `starlette_loop.py`.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import time

TEXT = b"x" * 100
EVENTS = {"websocket": b"\x81\x64" + TEXT, "sse": b"data: " + TEXT + b"\n\n"}
# Enough for clients that count bytes and do not look at them.
HEAD = b"HTTP/1.1 200 OK\r\n\r\n"

clients: dict[str, list[socket.socket]] = {transport: [] for transport in EVENTS}


def listen(listener: socket.socket) -> None:
    while True:
        client, _ = listener.accept()
        transport = "sse" if b" /sse " in client.recv(4096) else "websocket"
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.sendall(HEAD)
        clients[transport].append(client)


def say(transport: str, times: int, burst: int) -> None:
    said = EVENTS[transport] * burst
    for _ in range(times):
        for client in tuple(clients[transport]):
            try:
                client.send(said)
            except OSError:
                clients[transport].remove(client)


def main() -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    threading.Thread(target=listen, args=(listener,), daemon=True).start()
    print("port", listener.getsockname()[1], flush=True)
    for line in sys.stdin:
        word, *arguments = line.split()
        if word == "say":
            transport, times, burst = arguments
            say(transport, int(times), int(burst))
        print(time.process_time(), flush=True)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
