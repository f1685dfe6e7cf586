"""Carries a command's calls to the Octane that an actor watches, and says why where it cannot."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from actors.octane.client import OctaneClient
from actors.octane.errors import CallUnanswered, Declined, Disconnected
from actors.octane.pass_switch import PinnedPasses
from actors.system.actor import Reject
from protos import octane_types_pb2 as wire

_LIVE_LINK = "/livelinkapi.LiveLinkService/"
_CHANGES = "/octaneapi.ApiChangeManagerService/"
_NODES = "/octaneapi.ApiNodeService/"

# gRPC's status of a call that a server does not have, as Declined words it.
_UNKNOWN_CALL = "unimplemented"

# 4 s: less than the 5 s that a caller at the edge waits by default, so that the reason arrives instead of a timeout.
COMMAND_SECONDS = 4.0


class Unavailable(Reject):
    """this Octane does not have it"""


class OctaneLink:
    """The Octane of one actor, as its commands see it: there or not, and its calls.

    `client` is None while there is no connection, and `obstacle` then says why. An obstacle beside a client (a busy
    Octane) refuses commands as well.
    """

    def __init__(self, address: str) -> None:
        self.client: OctaneClient | None = None
        self.obstacle = ""
        self.pinned = PinnedPasses()
        # Asks for statistics and a picture now; the watch of a connection sets it.
        self.look: Callable[[], None] = _nothing
        self._address = address

    def connected(self, client: OctaneClient, look: Callable[[], None]) -> None:
        """Lets commands through to this Octane."""
        self.client, self.look, self.obstacle = client, look, ""

    def gone(self, reason: str = "") -> None:
        """Refuses commands until there is a connection again, with this reason, or that of before."""
        self.client, self.look, self.obstacle = None, _nothing, reason or self.obstacle

    def reach(self) -> OctaneClient:
        """The connected Octane. Raises Reject where commands cannot reach it now."""
        if self.client is None:
            raise Reject(f"no octane answers at {self._address}{f': {self.obstacle}' if self.obstacle else ''}")
        if self.obstacle:
            raise Reject(f"the octane at {self._address} takes no commands now: {self.obstacle}")
        return self.client

    @asynccontextmanager
    async def patiently(self, seconds: float = COMMAND_SECONDS) -> AsyncIterator[None]:
        """Turns what can go wrong with calls into Reject, also that they take longer than this."""
        try:
            async with asyncio.timeout(seconds):
                yield
        except (TimeoutError, CallUnanswered):
            raise Reject(
                f"the octane at {self._address} is busy: it did not answer within {seconds:g} s; it may be compiling or "
                "show a dialog"
            ) from None
        except Declined as fault:
            if is_unknown_call(fault):
                raise Unavailable(f"not available on this Octane: {fault}") from fault
            raise Reject(f"octane refused: {fault}") from fault
        except Disconnected as fault:
            raise Reject(f"octane did not answer: {fault}") from fault

    async def engine(self, rpc: str, **fields: Any) -> Any:
        """Calls the render engine. Raises Declined or Disconnected; Reject where there is no Octane."""
        return await self.reach().engine(rpc, **fields)

    async def engine_knows(self, rpc: str, **fields: Any) -> Any | None:
        """Calls a getter of the render engine; None where this Octane declines it."""
        try:
            return await self.engine(rpc, **fields)
        except Declined:
            return None

    async def statistics(self) -> wire.RenderResultStatistics:
        """How far the render is, by the render engine."""
        return await self.reach().statistics()

    async def live_link(self, rpc: str, request: Any, response: Any) -> Any:
        """Calls the LiveLink service, which has the camera."""
        return await self.reach().call(_LIVE_LINK + rpc, request, response)

    async def changes(self, rpc: str, request: Any, response: Any) -> Any:
        """Calls the change manager, which applies what was changed."""
        return await self.reach().call(_CHANGES + rpc, request, response)

    async def nodes(self, rpc: str, request: Any, response: Any) -> Any:
        """Calls the node service, which has the values of pins."""
        return await self.reach().call(_NODES + rpc, request, response)


def is_unknown_call(fault: Declined) -> bool:
    """Whether a call was declined because this Octane does not have it."""
    return str(fault).startswith(_UNKNOWN_CALL)


def _nothing() -> None:
    """Takes the place of a watch that does not exist."""
