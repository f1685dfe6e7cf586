"""What messages that are pictures need of a connection: that it does not compress them, holds little of them back, and says
when the last one has gone.
"""

from __future__ import annotations

from typing import Any

from starlette.types import Scope

# What a connection's scope has where these can be asked for.
PLAINLY, DRAINED, HOLD, LIMIT = "callboard.plainly", "callboard.drained", "callboard.hold", "callboard.limit"
UNREAD = "callboard.unread"
# What takes the body of a request where it has come whole with its head.
BODY = "callboard.body"


def send_plainly(scope: Scope) -> None:
    """Agrees to no compression; called before the socket is accepted.

    Deflating a picture blocks the event loop for longer than sending it takes, for each viewer again.
    """
    if (plainly := _offered(scope, PLAINLY)) is not None:
        plainly()


async def drained(scope: Scope) -> None:
    """Waits until the client has taken nearly all that was sent to it, so that what is sent next is the newest then."""
    if (wait := _offered(scope, DRAINED)) is not None:
        await wait()


def hold_little(scope: Scope) -> None:
    """Makes the connection hold nothing back but what the kernel does not take."""
    if (hold := _offered(scope, HOLD)) is not None:
        hold()


def limit(scope: Scope, size: int) -> None:
    """Makes the kernel hold about so many bytes that the client has not taken."""
    if (narrow := _offered(scope, LIMIT)) is not None:
        narrow(size)


def unread(scope: Scope) -> int:
    """How many bytes the client's kernel has received and the client not read; 0 where that is not known."""
    read = _offered(scope, UNREAD)
    return 0 if read is None else int(read())


def whole_body(scope: Scope) -> bytes | None:
    """Takes the body of a request that has come whole already; None where it must be received."""
    take = _offered(scope, BODY)
    body: bytes | None = None if take is None else take()
    return body


def _offered(scope: Scope, name: str) -> Any:
    return (scope.get("extensions") or {}).get(name)
