"""One connection of aiortc that sends pictures which are encoded already. Imported only where aiortc is installed.

aiortc has no public way to choose the address that ICE binds to, or to hear of a Picture Loss Indication; what is used of its
inner parts for that stands in `PeerSession` alone, and its tests notice when they change.
"""

from __future__ import annotations

import asyncio
import random
import re
import socket
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, Final

import aioice.ice
import av
from aioice.candidate import candidate_foundation, candidate_priority
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.codecs import CODECS
from aiortc.exceptions import InternalError, InvalidAccessError, InvalidStateError, OperationError
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from aiortc.sdp import SessionDescription, parse_h264_profile_level_id

from edge import metrics
from edge.transports.video.frame import Frame
from edge.transports.video.viewer import RungViewer
from edge.transports.video.webrtc_peer import BadOffer, TooManyPeers

# What aiortc raises for an offer that it cannot read or answer.
_PARSING: Final = (
    ValueError, LookupError, TypeError, AttributeError, AssertionError,
    InternalError, InvalidAccessError, InvalidStateError, OperationError,
)  # fmt: skip
ASK_SECONDS: Final = 0.2
# As much as aioice asks of the kernel for what a socket has received.
RECEIVED_BYTES: Final = 256 << 10
_CLOCK: Final = Fraction(1, 90_000)
_CANDIDATE = re.compile(r"^a=(?:candidate:|end-of-candidates|ice-options:).*(?:\r?\n|\Z)", re.MULTILINE)
_HOST = re.compile(r"^(a=candidate:\S+ \d+ \S+ \d+ )\S+( \d+ typ host.*)$", re.MULTILINE)


# 4 instead of 6: consent is asked for every 4 to 6 s and unanswered after half a second more, so that a peer which vanished is
# known to have within 26 s, and its camera rests within 30.
aioice.ice.CONSENT_FAILURES = 4


def _offer_profiles() -> None:
    """Lets aiortc agree to the profiles that our encoder and encoded sources make, besides the two baseline ones."""
    known = {str(codec.parameters.get("profile-level-id")) for codec in CODECS["video"]}
    for number, profile in enumerate(("4d001f", "640c1f", "64001f")):
        if profile not in known:
            kind = 110 + 2 * number
            like = next(codec for codec in CODECS["video"] if codec.mimeType == "video/H264")
            parameters = {**like.parameters, "profile-level-id": profile}
            CODECS["video"] += [
                RTCRtpCodecParameters("video/H264", 90_000, None, kind, list(like.rtcpFeedback), parameters),
                RTCRtpCodecParameters("video/rtx", 90_000, None, kind + 1, [], {"apt": kind}),
            ]


_offer_profiles()


class RungTrack(MediaStreamTrack):
    """The pictures of a rung, as packets of its encoder."""

    kind = "video"

    def __init__(self, viewer: RungViewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._begun = False
        self._sent = metrics.frames.labels("whep")

    async def recv(self) -> Any:
        """The next picture. What came before the peer was connected is left out: it would be shown late."""
        frame = await (self._viewer.next() if self._begun else self._first())
        packet: Any = av.Packet(bytes(frame.body))
        packet.pts = packet.dts = round(float(frame.header.get("time", 0)) * 90)
        packet.time_base = _CLOCK
        self._sent.inc()
        return packet

    async def _first(self) -> Frame:
        """A key that is made from now on. It is asked for until it comes: of those asked for, one a second is made."""
        self._viewer.miss()
        while True:
            self._viewer.ask_key()
            try:
                async with asyncio.timeout(ASK_SECONDS):
                    frame = await self._viewer.next()
            except TimeoutError:
                continue
            self._begun = True
            return frame


class PeerSession:
    """A connection to one peer."""

    def __init__(self, viewer: RungViewer, codec: str) -> None:
        self._viewer = viewer
        self._codec = codec
        # No STUN server: nobody is asked for our address.
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.remote_ufrag = ""

    @property
    def dropped(self) -> int:
        """Pictures that the peer was not sent."""
        return sum(self._viewer.dropped.values())

    def on_state(self, connected: Callable[[], None], ended: Callable[[], None]) -> None:
        """Calls back when the connection is there, and when it has failed or was closed, also by the peer."""

        def changed() -> None:
            state = self._connection.connectionState
            if state == "connected":
                connected()
            elif state in ("failed", "closed"):
                ended()

        self._connection.on("connectionstatechange", changed)

    async def answer(self, offer: str, addresses: Sequence[str], ports: range | None, public_host: str | None) -> str:
        """The answer to an offer in SDP, with our candidates at `addresses`, on `ports` or those that the system chooses.

        Raises BadOffer, or TooManyPeers where none of the ports is free.
        """
        profile = self._choose(offer)
        try:
            transceiver = self._connection.addTransceiver(RungTrack(self._viewer), "sendonly")
            transceiver.setCodecPreferences(
                [
                    codec
                    for codec in RTCRtpSender.getCapabilities("video").codecs
                    if codec.mimeType == "video/rtx" or codec.parameters.get("profile-level-id") == profile
                ]
            )
            # A loss that retransmission did not mend: the peer needs a key.
            sender: Any = transceiver.sender
            sender._send_keyframe = self._viewer.ask_key
            self._bind(transceiver.receiver.transport.transport._connection, addresses, ports)
            await self._connection.setRemoteDescription(RTCSessionDescription(_CANDIDATE.sub("", offer), "offer"))
            await self._connection.setLocalDescription(await self._connection.createAnswer())
        except _PARSING as fault:
            raise BadOffer("the offer cannot be answered: it needs ICE, DTLS, RTCP multiplexing and H.264") from fault
        if transceiver.currentDirection != "sendonly":
            raise BadOffer("the offer does not ask to receive video: its video needs a=recvonly")
        described: str = self._connection.localDescription.sdp
        return described if public_host is None else _HOST.sub(rf"\g<1>{public_host}\2", described)

    async def close(self) -> None:
        """Ends the connection; the peer is told."""
        await asyncio.shield(self._connection.close())

    def _choose(self, offer: str) -> str:
        """The profile of ours that the answer names: that of the camera's encoder, else one that the peer offers.

        Decoders in use decode all profiles, whichever was agreed on. Raises BadOffer.
        """
        try:
            videos = [media for media in SessionDescription.parse(offer).media if media.kind == "video"]
        except _PARSING as fault:
            raise BadOffer("the offer is not a session description (SDP)") from fault
        if len(videos) != 1 or videos[0].port == 0:
            raise BadOffer("the offer needs exactly one video")
        ice = videos[0].ice
        self.remote_ufrag = (ice.usernameFragment or "") if ice is not None else ""
        offered = {
            _profile(str(codec.parameters.get("profile-level-id", "42e01f")))
            for codec in videos[0].rtp.codecs
            if codec.mimeType.lower() == "video/h264" and str(codec.parameters.get("packetization-mode", "0")) == "1"
        }
        ours = self._codec.partition(".")[2]
        for profile in (ours, "64001f", "640c1f", "4d001f", "42e01f", "42001f"):
            if (kind := _profile(profile)) is not None and kind in offered:
                return next(each for each in _PROFILES if _profile(each) == kind)
        raise BadOffer("the offer has no H.264 with packetization-mode=1, the only codec here")

    @staticmethod
    def _bind(ice: Any, addresses: Sequence[str], ports: range | None) -> None:
        """Makes ICE bind to these addresses and ports, and no others."""
        gather = ice.get_component_candidates

        async def gather_there(component: int, addresses: Sequence[str] = addresses, timeout: int = 5) -> Any:
            if ports is None:
                return await gather(component=component, addresses=list(addresses), timeout=timeout)
            return [await _bound(ice, component, address, ports) for address in addresses]

        ice.get_component_candidates = lambda component, addresses, timeout=5: gather_there(component)


async def _bound(ice: Any, component: int, address: str, ports: range) -> aioice.Candidate:
    """The candidate of a UDP socket that is bound to a free one of `ports`. Raises TooManyPeers."""
    loop = asyncio.get_running_loop()
    # At random: the ports of peers that have just gone may still be sent to.
    for port in random.sample(ports, len(ports)):
        bound = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
        bound.setblocking(False)
        try:
            bound.bind((address, port))
        except OSError:
            bound.close()
            continue
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVED_BYTES)
        _, protocol = await loop.create_datagram_endpoint(lambda: aioice.ice.StunProtocol(ice), sock=bound)
        protocol.local_candidate = aioice.Candidate(
            foundation=candidate_foundation("host", "udp", address),
            component=component,
            transport="udp",
            priority=candidate_priority(component, "host"),
            host=address,
            port=port,
            type="host",
        )
        ice._protocols.append(protocol)
        return protocol.local_candidate
    raise TooManyPeers(f"no UDP port from {ports[0]} to {ports[-1]} is free at {address}")


_PROFILES: Final = ("42e01f", "42001f", "4d001f", "640c1f", "64001f")


def _profile(level_id: str) -> Any:
    """The profile of a profile-level-id; None for one that is unknown."""
    try:
        return parse_h264_profile_level_id(f"{level_id[:4]}1f")[0]
    except ValueError:
        return None
