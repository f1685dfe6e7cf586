"""Checks ports, and opens the edge's before anything else is started."""

from __future__ import annotations

import errno
import socket

from edge.server import accept_queues
from edge.settings import LOOPBACK
from ops.process.datadir import CannotStart
from router.nats.embedded import free_port


def open_port(host: str, port: int, secured: bool = False) -> list[socket.socket]:
    """Opens the edge's listening sockets, all of one port; `secured` says that keys are configured.

    Raises CannotStart with what to do.
    """
    _require_keys(host, secured)
    return accept_queues.listen(_bind(host, port))


def _require_keys(host: str, secured: bool) -> None:
    if host not in LOOPBACK and not secured:
        raise CannotStart(
            f"will not listen on {host} without authentication; set CALLBOARD_JWT_SECRET, CALLBOARD_JWT_KEYS or "
            "CALLBOARD_JWKS_URL, or listen on 127.0.0.1"
        )


def open_ports(host: str, port: int, count: int, secured: bool = False) -> list[socket.socket]:
    """Opens so many sockets that share a port, over which the kernel spreads connections (SO_REUSEPORT). Raises CannotStart."""
    # Without that option first: with it, a second server of the same user would share the port unnoticed.
    _require_keys(host, secured)
    first = _bind(host, port)
    port = first.getsockname()[1]
    first.close()
    sockets: list[socket.socket] = []
    try:
        for _ in range(count):
            sockets.append(_bind(host, port, shared=True))
            sockets[-1].listen(accept_queues.BACKLOG)
            sockets[-1].setblocking(False)
    except CannotStart:
        for each in sockets:
            each.close()
        raise
    return sockets


def _bind(host: str, port: int, shared: bool = False) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named because asyncio turns Nagle's algorithm off only on sockets that say they are TCP.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listener.bind((host, port))
    except OSError as fault:
        listener.close()
        if fault.errno == errno.EADDRINUSE:
            raise CannotStart(
                f"port {port} on {host} is in use; stop what uses it, or choose another: --port {another(host, port)}"
            ) from None
        raise CannotStart(f"cannot listen on {host}:{port}: {fault.strerror}; choose another with --port") from None
    return listener


def is_free(host: str, port: int) -> bool:
    """Says whether nobody listens on a port."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def another(host: str, port: int) -> int:
    """Finds a free port near one that is taken; any free one where there is none."""
    return next((near for near in range(port + 1, min(port + 20, 65536)) if is_free(host, near)), None) or free_port()


def reachable(host: str) -> str:
    """The host to connect to where a server listens on `host`."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)


def url_of(host: str, port: int) -> str:
    """The address of a server as a browser takes it."""
    host = reachable(host)
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
