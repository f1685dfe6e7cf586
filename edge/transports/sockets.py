"""Keeps what the kernel holds of a connection's pictures small: what waits there grows old."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Iterator

# tcp(7): what was not sent yet and lies in the kernel. With more, `writable` would be said long before it can be sent.
NOTSENT_BYTES = 16 * 1024
# 25 on every Linux; other systems have none, or another number.
_NOTSENT_LOWAT = getattr(socket, "TCP_NOTSENT_LOWAT", None)
_LEAST = 16 * 1024
# Where Linux has the client's receive window in its answer to TCP_INFO, since 5.4.
_WINDOW = struct.Struct("<I")
_WINDOW_AT = 228


@contextlib.contextmanager
def _socket_of(transport: asyncio.BaseTransport) -> Iterator[socket.socket | None]:
    """A second object for the socket of a transport, which the transport goes on to own."""
    pipe = transport.get_extra_info("socket")
    if pipe is None or transport.is_closing():
        yield None
        return
    own = socket.socket(fileno=pipe.fileno())
    try:
        with contextlib.suppress(OSError):
            yield own
    finally:
        own.detach()


def hold_little(transport: asyncio.WriteTransport) -> None:
    """Makes a transport say at once that it holds something back, and the kernel take no more than it can send."""
    transport.set_write_buffer_limits(high=0)
    with _socket_of(transport) as own:
        if own is not None and _NOTSENT_LOWAT is not None:
            own.setsockopt(socket.IPPROTO_TCP, _NOTSENT_LOWAT, NOTSENT_BYTES)


def limit_send_buffer(transport: asyncio.BaseTransport, size: int) -> None:
    """Makes the kernel keep about so many bytes that the client has not acknowledged."""
    with _socket_of(transport) as own:
        if own is not None:
            own.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, max(_LEAST, size))


class UnreadGauge:
    """Estimates what lies in the client's kernel: by how much its receive window is smaller than it was at its largest.

    A client that reads in bursts has a buffer of megabytes, which no setting of the sender limits.
    """

    def __init__(self) -> None:
        self._largest = 0

    def read(self, transport: asyncio.BaseTransport) -> int:
        """How many bytes its client has received and not read; 0 where that is not known."""
        if not hasattr(socket, "TCP_INFO"):
            return 0
        with _socket_of(transport) as own:
            if own is None:
                return 0
            info = own.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
            if len(info) < _WINDOW_AT + _WINDOW.size:
                return 0
            window: int = _WINDOW.unpack_from(info, _WINDOW_AT)[0]
            self._largest = max(self._largest, window)
            return self._largest - window
        return 0
