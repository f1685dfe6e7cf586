"""Gives one port several listening sockets: each has a queue of its own for connections that nobody has accepted yet.

The kernel cuts a queue at `net.core.somaxconn`, 4,096 as a rule, and drops what comes beyond it; such a client tries again
after one second, then after three. Where thousands come back at once some would wait for seconds, though all are served within one.
"""

from __future__ import annotations

import contextlib
import logging
import socket

log = logging.getLogger(__name__)

# Connections that each queue is to hold.
BACKLOG = 4096
# 16,384 connections in all.
QUEUES = 4


def listen(bound: socket.socket) -> list[socket.socket]:
    """Lets a bound socket listen, with others at its address; returns all of them, this one first.

    Nobody else may have the address: the socket was bound without SO_REUSEPORT, which it gets here for its companions. Where the
    system has no such option, or refuses it, the socket listens alone.
    """
    sockets = [bound]
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sockets.extend(_companion(bound) for _ in range(QUEUES - 1))
    except (AttributeError, OSError) as fault:
        log.debug("the edge listens with fewer queues", extra={"queues": len(sockets), "fault": str(fault)})
    for each in sockets:
        each.listen(BACKLOG)
        each.setblocking(False)
    return sockets


def _companion(bound: socket.socket) -> socket.socket:
    with contextlib.ExitStack() as stack:
        # The protocol is named because asyncio turns Nagle's algorithm off only on sockets that say they are TCP.
        companion = stack.enter_context(socket.socket(bound.family, socket.SOCK_STREAM, socket.IPPROTO_TCP))
        companion.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        companion.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        companion.bind(bound.getsockname())
        stack.pop_all()
        return companion
