"""What a session answers to an offer: the profile that the encoder makes, and nothing of the client's candidates."""

from __future__ import annotations

import asyncio
import socket

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection

from edge.transports.video.viewer import PacketViewer
from edge.transports.video.webrtc_peer import BadOffer, TooManyPeers
from edge.transports.video.webrtc_session import PeerSession, RungTrack
from router.nats.embedded import free_port
from tests.edge.transports.video.h264 import h264_frames
from tests.waiting import PATIENCE


@pytest.fixture
async def offer() -> str:
    """An offer of H.264 in all profiles, with candidates."""
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    connection.addTransceiver("video", "recvonly")
    await connection.setLocalDescription(await connection.createOffer())
    text: str = connection.localDescription.sdp
    await connection.close()
    return text


async def answer(offer: str, codec: str, public: str | None = None) -> str:
    session = PeerSession(PacketViewer(), codec)
    try:
        return await session.answer(offer, ["127.0.0.1"], None, public)
    finally:
        await session.close()


def profiles(sdp: str) -> list[str]:
    return [part.split("=")[1] for part in sdp.replace("\r\n", ";").split(";") if part.startswith("profile-level-id=")]


@pytest.mark.parametrize(
    ("codec", "profile"),
    [("avc1.42c01f", "42e01f"), ("avc1.42001f", "42001f"), ("avc1.4d0028", "4d001f"), ("avc1.640028", "64001f"), ("avc1.f4001e", "64001f")],
)  # fmt: skip
async def test_the_profile_is_that_of_the_encoder_where_the_client_offers_it(
    offer: str, codec: str, profile: str
) -> None:
    assert profiles(await answer(offer, codec)) == [profile]


async def test_another_profile_is_agreed_on_where_the_client_does_not_offer_that_of_the_encoder(offer: str) -> None:
    lines = offer.replace("64001f", "f4001f").replace("640c1f", "f4001f").replace("4d001f", "f4001f")

    assert profiles(await answer(lines, "avc1.640028")) == ["42e01f"]


async def test_candidates_of_the_client_are_not_used(offer: str) -> None:
    hostile = "a=candidate:1 1 udp 2130706431 192.0.2.1 9 typ host\r\na=candidate:2 1 udp 1 secret.local 9 typ host\r\n"
    session = PeerSession(PacketViewer(), "avc1.42e01f")
    try:
        await session.answer(offer + hostile, ["127.0.0.1"], None, None)
        (transceiver,) = session._connection.getTransceivers()
        ice = transceiver.receiver.transport.transport
        assert ice.getRemoteCandidates() == []
        assert [each.ip for each in ice.iceGatherer.getLocalCandidates()] == ["127.0.0.1"]
        assert session.remote_ufrag
    finally:
        await session.close()


async def test_only_ports_of_the_range_are_bound_and_none_is_shared(offer: str) -> None:
    first = free_port()
    taken = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    taken.bind(("127.0.0.1", first))
    one, other = PeerSession(PacketViewer(), "avc1.42e01f"), PeerSession(PacketViewer(), "avc1.42e01f")
    try:
        with pytest.raises(TooManyPeers, match=f"no UDP port from {first} to {first} is free"):
            await one.answer(offer, ["127.0.0.1"], range(first, first + 1), None)
        taken.close()
        said = await other.answer(offer, ["127.0.0.1"], range(first, first + 1), "203.0.113.7")
    finally:
        taken.close()
        await one.close()
        await other.close()

    candidates = [line.split()[4:6] for line in said.splitlines() if line.startswith("a=candidate:")]
    assert candidates == [["203.0.113.7", str(first)]]


async def test_a_second_video_is_refused(offer: str) -> None:
    media = offer[offer.index("m=video") :]

    with pytest.raises(BadOffer, match="exactly one video"):
        await answer(offer + media, "avc1.42e01f")


async def test_a_track_begins_with_a_key_that_is_asked_for_until_it_comes() -> None:
    asked: list[int] = []
    before, after = h264_frames(3), h264_frames(2, began=1_700_000_001_000)
    viewer = PacketViewer(before)

    def ask() -> None:
        asked.append(len(asked))
        if len(asked) == 3:
            for frame in after:
                viewer.offer(frame, asyncio.get_running_loop().time())

    viewer.ask_key = ask
    track = RungTrack(viewer)

    async with asyncio.timeout(PATIENCE):
        packets = [await track.recv(), await track.recv()]

    assert len(asked) == 3
    assert [packet.pts for packet in packets] == [1_700_000_001_000 * 90, 1_700_000_001_033 * 90]
    assert bytes(packets[0]) == bytes(after[0].body)
