"""The transport of nats-py's client, which says of each closed socket that it is closed."""

from __future__ import annotations

from nats.aio.transport import TcpTransport


class NatsTransport(TcpTransport):
    """nats-py's transport over TCP and TLS: what cannot be written because the socket is closed raises OSError on each loop.

    uvloop raises RuntimeError for a socket that was closed before anybody has noticed. nats-py knows only OSError: a task of it
    that reconnects would end, and connect never again.
    """

    def __bool__(self) -> bool:
        # nats-py replaces what is false, such as a transport of its own that has no socket yet.
        return True

    def write(self, payload: bytes) -> None:
        """Raises ConnectionResetError where the socket is closed."""
        try:
            super().write(payload)  # type: ignore[no-untyped-call]
        except RuntimeError as fault:
            raise ConnectionResetError(str(fault)) from None

    def writelines(self, payload: list[bytes]) -> None:
        """Raises ConnectionResetError where the socket is closed."""
        try:
            super().writelines(payload)  # type: ignore[no-untyped-call]
        except RuntimeError as fault:
            raise ConnectionResetError(str(fault)) from None
