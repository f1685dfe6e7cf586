"""Sends the pictures of an H.264 rung to peers of WebRTC. A picture is encoded once for all peers; aiortc, which the extra
`webrtc` brings, only divides it into RTP packets and encrypts them.

The server binds to the address that the edge listens on, and tells it to the peer. Candidates of the peer are not used: the
peer begins the checks, and is answered where they come from. So nobody can make the server send to an address of his choice.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from edge import metrics
from edge.settings import WebRtcSettings
from edge.transports.video.viewer import RungViewer
from edge.transports.video.webrtc_peer import BadOffer, NoPicture, Peer, TooManyPeers, Watch
from router.errors import BrokerError

if TYPE_CHECKING:
    from edge.transports.video.webrtc_session import PeerSession

log = logging.getLogger(__name__)

# An idle camera starts within a second or two.
PICTURE_SECONDS = 10.0
# From the answer to the first packet. A browser needs less than a second.
CONNECT_SECONDS = 20.0


def is_installed() -> bool:
    """Whether aiortc is installed."""
    return find_spec("aiortc") is not None


class WebRtc:
    """The peers of this process."""

    def __init__(self, settings: WebRtcSettings, host: str, edge_id: str) -> None:
        """`edge_id` names this process in the ids of its peers."""
        self.edge_id = edge_id
        self._settings = settings
        self._host = settings.host or host
        self._peers: dict[str, Peer] = {}
        self._group: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        """Holds the peers' tasks until cancelled."""
        async with asyncio.TaskGroup() as self._group:
            await asyncio.Event().wait()

    def find(self, entity: str, id: str) -> Peer | None:
        """A peer of a camera by its id."""
        peer = self._peers.get(id)
        return peer if peer is not None and peer.entity == entity else None

    async def connect(
        self, entity: str, watch: Watch, offer: str, seconds: float | None, left: Callable[[], None]
    ) -> Peer:
        """Answers an offer; the peer stays for at most so many seconds, and `left` is called when it has gone.

        Raises BadOffer, NoPicture, TooManyPeers or BrokerError.
        """
        if self._group is None or len(self._peers) >= self._settings.peers:
            left()
            raise TooManyPeers("as many peers are connected as CALLBOARD_EDGE_WEBRTC_PEERS allows")
        peer = Peer(f"{self.edge_id}-{secrets.token_urlsafe(16)}", entity, watch, offer, seconds)
        self._peers[peer.id] = peer
        task = self._group.create_task(self._serve(peer))

        def ended(_task: object) -> None:
            self._peers.pop(peer.id, None)
            left()

        task.add_done_callback(ended)
        try:
            await asyncio.shield(peer.answer)
        except asyncio.CancelledError:
            peer.ended.set()
            raise
        return peer

    def close(self) -> None:
        """Ends all peers: the edge shuts down."""
        for peer in self._peers.values():
            peer.ended.set()

    async def _serve(self, peer: Peer) -> None:
        """Serves one peer until either side ends it. What goes wrong before the answer is raised to who waits for it."""
        gauge = metrics.viewers.labels("whep")
        session: PeerSession | None = None
        gauge.inc()
        try:
            async with asyncio.timeout(peer.seconds), peer.watch() as viewer:
                codec = await _codec(viewer)
                # aiortc takes half a second to import.
                module = await asyncio.to_thread(import_module, "edge.transports.video.webrtc_session")
                session = module.PeerSession(viewer, codec)
                assert session is not None
                await self._open(session, peer)
                try:
                    async with asyncio.timeout(CONNECT_SECONDS):
                        await _first(peer.connected, peer.ended)
                except TimeoutError:
                    log.info("a peer did not connect in time, and is closed", extra={"camera": peer.entity})
                    return
                await peer.ended.wait()
        except (BadOffer, NoPicture, TooManyPeers, BrokerError) as fault:
            _fail(peer, fault)
        except TimeoutError:
            log.debug("a peer's token has expired, and it is closed", extra={"camera": peer.entity})
        except Exception as fault:
            # What a stranger's offer does to aiortc must not end the other peers.
            log.exception("serving a peer failed, and it is closed", extra={"camera": peer.entity})
            _fail(peer, fault)
        finally:
            gauge.dec()
            if session is not None:
                await self._close(session)
            _fail(peer, NoPicture("the connection was closed"))

    @staticmethod
    async def _close(session: PeerSession) -> None:
        metrics.frames_dropped.labels("whep").inc(session.dropped)
        try:
            await session.close()
        except Exception:
            log.exception("a peer's connection could not be closed cleanly")

    async def _open(self, session: PeerSession, peer: Peer) -> None:
        session.on_state(peer.connected.set, peer.ended.set)
        public = self._settings.public_host
        # A public address is translated to one of this machine's, but not to that of its loopback.
        addresses = await _addresses(self._host, loopback=public is None)
        peer.answer.set_result(await session.answer(peer.offer, addresses, self._settings.ports, public))
        peer.ufrag = session.remote_ufrag


async def _codec(viewer: RungViewer) -> str:
    """What the camera's encoder makes, as the header of a picture says. Raises NoPicture."""
    try:
        async with asyncio.timeout(PICTURE_SECONDS):
            while True:
                codec = (await viewer.next()).header.get("codec")
                if isinstance(codec, str):
                    return codec
    except TimeoutError:
        raise NoPicture("the camera has sent no picture of H.264") from None


async def _first(*events: asyncio.Event) -> None:
    waiting: Sequence[asyncio.Task[Any]] = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()


def _fail(peer: Peer, fault: Exception) -> None:
    if not peer.answer.done():
        peer.answer.set_exception(fault)
        # Who waited may have gone.
        peer.answer.exception()


async def _addresses(host: str, *, loopback: bool = True) -> list[str]:
    """The addresses that a host name stands for; of one that stands for all, those of this machine, with its loopback or
    without.
    """
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=2)
    addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
    if not any(ip_address(each).is_unspecified for each in addresses):
        return addresses
    from aioice.ice import get_host_addresses

    return [
        *(["127.0.0.1"] if loopback else []),
        *get_host_addresses(use_ipv4=True, use_ipv6=any(":" in each for each in addresses)),
    ]
