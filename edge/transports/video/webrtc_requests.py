"""Takes requests about one peer of WebRTC to the edge process that holds it: the peer's id names the process.

Behind one address there may be several workers and replicas, and a client's DELETE or PATCH reaches any of them.
"""

from __future__ import annotations

import asyncio
import logging
import re
from typing import Final, Literal

import msgspec

from edge.transports.video.webrtc import WebRtc
from router.cluster.peers import answer_peer
from router.codec import DECODE_FAULTS
from router.errors import Forbidden, NoResponders, Timeout
from router.nats.connection import Connection

log = logging.getLogger(__name__)

# What the edge processes ask one another under; the last token is the id of the one that is asked.
SUBJECT: Final = "edge.whep"
# A process that is alive answers within milliseconds.
ANSWER_SECONDS: Final = 1.0
_ID: Final = re.compile(r"([0-9a-f]{8})-[A-Za-z0-9_-]{1,64}")

# `changed`: the entity tag is not that of the ICE session. `restart`: an ICE restart, which is not supported.
Outcome = Literal["done", "not_found", "changed", "restart"]


class PeerRequest(msgspec.Struct, frozen=True):
    """What is asked of a peer: to end it, or to take candidates of the client for the ICE session that `ufrag` names."""

    entity: str
    peer: str
    action: Literal["end", "trickle"]
    ufrag: str = ""
    etag: str | None = None


class PeerAnswer(msgspec.Struct, frozen=True):
    """What has become of it."""

    outcome: Outcome


_requests = msgspec.json.Decoder(PeerRequest)
_answers = msgspec.json.Decoder(PeerAnswer)


class PeerRequests:
    """Answers what other processes ask of the peers of this one, and asks them."""

    def __init__(self, webrtc: WebRtc, connection: Connection) -> None:
        self._webrtc = webrtc
        self._connection = connection

    async def run(self) -> None:
        """Listens until cancelled."""
        listening = await self._connection.listen(f"{SUBJECT}.{self._webrtc.edge_id}", self._asked)
        try:
            await asyncio.Event().wait()
        finally:
            await listening.stop()

    async def make(self, request: PeerRequest) -> Outcome:
        """Makes a request where its peer is. One of a process that does not answer is not found: it ends with the process.

        Raises BrokerError.
        """
        named = _ID.fullmatch(request.peer)
        if named is None:
            return "not_found"
        if named[1] == self._webrtc.edge_id:
            return self._make_here(request)
        try:
            reply = await self._connection.ask(
                f"{SUBJECT}.{named[1]}", msgspec.json.encode(request), timeout=ANSWER_SECONDS
            )
            return _answers.decode(reply.payload).outcome
        except Forbidden:
            raise
        except (NoResponders, Timeout):
            return "not_found"
        except DECODE_FAULTS:
            log.warning("the answer of another edge about a peer cannot be decoded; the client is told that it is gone")
            return "not_found"

    def _make_here(self, request: PeerRequest) -> Outcome:
        peer = self._webrtc.find(request.entity, request.peer)
        if peer is None:
            return "not_found"
        if request.action == "end":
            peer.ended.set()
        elif request.etag is not None and request.etag not in ("*", peer.etag):
            return "changed"
        elif request.ufrag != peer.ufrag:
            return "restart"
        return "done"

    def _asked(self, _subject: str, reply: str, payload: bytes, _headers: bytes) -> None:
        try:
            request = _requests.decode(payload)
        except DECODE_FAULTS:
            log.warning("a request of another edge about a peer cannot be decoded, and is not answered")
            return
        if reply:
            answer_peer(self._connection, reply, msgspec.json.encode(PeerAnswer(self._make_here(request))))
