"""One peer of WebRTC as the edge knows it, and why it may be refused."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

from edge.transports.video.viewer import RungViewer

Watch = Callable[[], AbstractAsyncContextManager[RungViewer]]


class BadOffer(Exception):
    """an offer that cannot be answered; the text may be shown"""


class NoPicture(Exception):
    """the camera sends no picture that a peer could be shown"""


class TooManyPeers(Exception):
    """as many peers are connected as the settings allow, or no UDP port is free; the text may be shown"""


@dataclass
class Peer:
    """One peer, from its offer until it has gone."""

    # Who finds it again names the process that holds it, and the part that only who made the offer knows.
    id: str
    entity: str
    watch: Watch
    offer: str
    seconds: float | None
    # Names its ICE session, as an entity tag of HTTP.
    etag: str = field(default_factory=lambda: f'"{secrets.token_hex(8)}"')
    answer: asyncio.Future[str] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    connected: asyncio.Event = field(default_factory=asyncio.Event)
    ufrag: str = ""
