"""What messages that are pictures need of a WebSocket: that it does not compress them, and that they wait until the last one has gone."""

from __future__ import annotations

from starlette.types import Scope

# What a connection's scope has where these can be asked for.
PLAINLY, DRAINED = "callboard.plainly", "callboard.drained"


def send_plainly(scope: Scope) -> None:
    """Agrees to no compression; called before the socket is accepted.

    Deflating a picture blocks the event loop for longer than sending it takes, for each viewer again.
    """
    if (plainly := (scope.get("extensions") or {}).get(PLAINLY)) is not None:
        plainly()


async def drained(scope: Scope) -> None:
    """Waits until the client has taken nearly all that was sent to it, so that what is sent next is the newest then."""
    if (wait := (scope.get("extensions") or {}).get(DRAINED)) is not None:
        await wait()
