"""Chooses the way to the server by its address: NATS, or HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from router.broker import Broker
from router.errors import BadInput
from router.nats.dial import without_secrets
from router.nats.settings import BrokerSettings
from router.sdk.over_nats import NatsSender, open_when_there
from router.sdk.queued import Life
from router.sdk.sender import EventSender

if TYPE_CHECKING:
    from router.sdk.over_http import HttpDoor

DEFAULT_URL = "nats://127.0.0.1:4222"


SCHEMES = frozenset({"nats", "tls", "ws", "wss", "http", "https"})


def address(given: str | None) -> str:
    """The address to use where none is given: CALLBOARD_URL, or NATS on this machine."""
    return given or os.environ.get("CALLBOARD_URL") or DEFAULT_URL


def is_http(url: str) -> bool:
    """Whether an address is that of an edge, and not of NATS."""
    return url.lower().startswith(("http://", "https://"))


def sender_to(
    target: Broker | HttpDoor | BrokerSettings | str | None, life: Life, ttl: float, token: str | None
) -> EventSender:
    """Makes the sender of one run. `target` is a connection to share, or an address for one of its own."""
    if isinstance(target, Broker):
        return NatsSender(target, life, ttl, opens=False)
    if isinstance(target, BrokerSettings):
        return NatsSender(Broker(target, "callboard sdk"), life, ttl, opens=True)
    if isinstance(target, str | None):
        url = address(target)
        if (scheme := urlsplit(url).scheme.lower()) and "://" in url and scheme not in SCHEMES:
            raise BadInput(
                f"{without_secrets(url)[:80]!r}: {scheme}:// is no way to Callboard; use {', '.join(sorted(SCHEMES))}"
            )
        if not is_http(url):
            return NatsSender(Broker(BrokerSettings(url=url), "callboard sdk"), life, ttl, opens=True)
    # aiohttp takes a fifth of a second to import, which programs that speak NATS need not wait for.
    from router.sdk.over_http import HttpDoor, HttpSender

    if isinstance(target, HttpDoor):
        return HttpSender(target, life, ttl, opens=False)
    return HttpSender(HttpDoor(url, token or os.environ.get("CALLBOARD_TOKEN")), life, ttl, opens=True)


@contextlib.asynccontextmanager
async def shared(url: str | BrokerSettings | None, token: str | None = None) -> AsyncIterator[Broker | HttpDoor]:
    """Opens one connection that many runs may share, as soon as the server is there."""
    if isinstance(url, str | None) and is_http(address(url)):
        from router.sdk.over_http import HttpDoor

        door = HttpDoor(address(url), token or os.environ.get("CALLBOARD_TOKEN"))
        try:
            yield door
        finally:
            await door.close()
        return
    broker = Broker(url if isinstance(url, BrokerSettings) else BrokerSettings(url=address(url)), "callboard sdk")
    opening = asyncio.create_task(open_when_there(broker), name="callboard sdk connects")
    try:
        yield broker
    finally:
        opening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await opening
        await broker.close()
