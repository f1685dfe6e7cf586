"""WHEP: a peer posts an offer, is sent what the camera's encoder makes, and is forgotten when it has gone."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import aioice.ice
import httpx
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from edge.http import whep
from edge.settings import WebRtcSettings
from edge.transports.video import webrtc
from router.broker import Broker
from router.nats.bucket import Bucket
from router.nats.embedded import free_port
from tests.edge.conftest import EdgeFactory, RunningEdge
from tests.edge.transports.video.h264 import LiveFilm
from tests.ops.command import running
from tests.waiting import PATIENCE, eventually

SDP = {"content-type": "application/sdp"}


@contextlib.asynccontextmanager
async def peer() -> AsyncIterator[RTCPeerConnection]:
    """A client that wants video, of another maker than the server's parts but ICE."""
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    connection.addTransceiver("video", "recvonly")
    try:
        yield connection
    finally:
        await connection.close()


async def offer_of(connection: RTCPeerConnection) -> str:
    await connection.setLocalDescription(await connection.createOffer())
    return connection.localDescription.sdp


async def join(edge: RunningEdge, entity: str, connection: RTCPeerConnection) -> httpx.Response:
    answer = await edge.http.post(f"/cameras/{entity}/whep", content=await offer_of(connection), headers=SDP)
    assert answer.status_code == 201, answer.text
    await connection.setRemoteDescription(RTCSessionDescription(answer.text, "answer"))
    return answer


async def pictures(connection: RTCPeerConnection, count: int) -> list[Any]:
    track = connection.getReceivers()[0].track
    async with asyncio.timeout(PATIENCE):
        return [await track.recv() for _ in range(count)]


async def test_a_client_is_sent_pictures_and_a_loss_asks_the_camera_for_a_key(
    edge: RunningEdge, store: Broker, entity: str
) -> None:
    async with LiveFilm(store, entity).running() as film, peer() as connection:
        answer = await join(edge, entity, connection)
        shown = await pictures(connection, 10)
        before = film.asked
        receiver: Any = connection.getReceivers()[0]
        (source,) = receiver._RTCRtpReceiver__active_ssrc
        # At most one a second is asked for.
        await eventually(lambda: _asks_again(receiver, source, film, before))

    assert answer.headers["content-type"] == "application/sdp"
    assert answer.headers["etag"].startswith('"') and answer.headers["accept-patch"] == whep.FRAGMENT
    assert answer.headers["location"].startswith(f"/cameras/{entity}/whep/")
    assert "profile-level-id=42e01f" in answer.text
    assert {(picture.width, picture.height) for picture in shown} == {(160, 120)}
    times = [picture.pts for picture in shown]
    assert times == sorted(set(times))


async def _asks_again(receiver: Any, source: int, film: LiveFilm, before: int) -> bool:
    await receiver._send_rtcp_pli(source)
    return film.asked > before


async def test_the_server_tells_only_the_address_that_it_listens_on(
    edge: RunningEdge, store: Broker, entity: str
) -> None:
    async with LiveFilm(store, entity).running(), peer() as connection:
        answer = await join(edge, entity, connection)

    candidates = [line.split()[4] for line in answer.text.splitlines() if line.startswith("a=candidate:")]
    assert candidates == ["127.0.0.1"]


async def test_a_public_address_is_told_instead(edge_factory: EdgeFactory, store: Broker, entity: str) -> None:
    settings = WebRtcSettings(public_host="203.0.113.7")
    async with edge_factory(webrtc=settings) as edge, LiveFilm(store, entity).running(), peer() as connection:
        answer = await edge.http.post(f"/cameras/{entity}/whep", content=await offer_of(connection), headers=SDP)

    candidates = [line.split()[4] for line in answer.text.splitlines() if line.startswith("a=candidate:")]
    assert candidates == ["203.0.113.7"]


async def test_delete_ends_a_peer_and_gives_its_lease_back(edge: RunningEdge, store: Broker, entity: str) -> None:
    bucket = Bucket(store.connection, "LEASES")

    async def is_watched(watched: bool) -> bool:
        return bool([entry.key for entry in await bucket.entries(f"view.camera.{entity}.>")]) is watched

    async with LiveFilm(store, entity).running(), peer() as connection:
        location = (await join(edge, entity, connection)).headers["location"]
        await pictures(connection, 2)
        await eventually(lambda: is_watched(True))
        ended = await edge.http.delete(location)
        await eventually(lambda: is_watched(False))
        await eventually(lambda: connection.connectionState == "closed")
        again = await edge.http.delete(location)

    assert (ended.status_code, again.json()["code"]) == (200, "peer_not_found")


async def test_any_edge_ends_a_peer_of_another_and_takes_its_candidates(
    edge: RunningEdge, edge_factory: EdgeFactory, store: Broker, entity: str
) -> None:
    async with LiveFilm(store, entity).running(), edge_factory() as other, peer() as one, peer() as two:
        answer = await join(edge, entity, one)
        await join(other, entity, two)
        await asyncio.gather(pictures(one, 5), pictures(two, 5))
        location, tag = answer.headers["location"], answer.headers["etag"]
        body = f"a=ice-ufrag:{ufrag_of(one)}\r\n"

        async def patch(at: str, tag: str) -> httpx.Response:
            return await other.http.patch(at, content=body, headers={"content-type": whep.FRAGMENT, "if-match": tag})

        trickled, wrong = await patch(location, tag), await patch(location, '"another"')
        nowhere = await patch(f"/cameras/{entity}/whep/deadbeef-secret", tag)
        ended = await other.http.delete(location)
        await eventually(lambda: one.connectionState == "closed")
        again = await other.http.delete(location)

    assert [each.status_code for each in (trickled, wrong, nowhere, ended, again)] == [204, 412, 404, 200, 404]
    assert wrong.json()["code"] == "peer_changed"


def ufrag_of(connection: RTCPeerConnection) -> str:
    lines = connection.localDescription.sdp.splitlines()
    return next(line for line in lines if line.startswith("a=ice-ufrag:")).partition(":")[2]


async def test_ice_servers_are_told_with_the_answer_and_before(
    edge_factory: EdgeFactory, store: Broker, entity: str
) -> None:
    settings = WebRtcSettings(
        ice_servers=("stun:stun.test:3478", "turn:turn.test:3478?transport=udp"),
        turn_username="me",
        turn_password='pass"word',
    )
    async with edge_factory(webrtc=settings) as edge, LiveFilm(store, entity).running(), peer() as connection:
        answer = await join(edge, entity, connection)
        before = await edge.http.options(f"/cameras/{entity}/whep")

    links = [
        '<stun:stun.test:3478>; rel="ice-server"',
        '<turn:turn.test:3478?transport=udp>; rel="ice-server"; username="me"; credential="pass\\"word"; credential-type="password"',
    ]
    assert answer.headers.get_list("link") == before.headers.get_list("link") == links


async def test_a_page_of_another_origin_may_do_all_that_whep_needs(edge: RunningEdge, entity: str) -> None:
    origin = {"origin": "http://localhost:1234"}
    asked = {"access-control-request-method": "PATCH", "access-control-request-headers": "if-match,content-type"}

    allowed = (await edge.http.options(f"/cameras/{entity}/whep/x", headers={**origin, **asked})).headers
    told = (await edge.http.options(f"/cameras/{entity}/whep", headers=origin)).headers

    assert {"PATCH", "DELETE"} <= set(allowed["access-control-allow-methods"].split(", "))
    assert {"If-Match", "Content-Type", "Authorization"} <= set(allowed["access-control-allow-headers"].split(", "))
    assert {"Location", "ETag", "Link"} <= set(told["access-control-expose-headers"].split(", "))


async def test_a_peer_that_closes_is_forgotten(edge: RunningEdge, store: Broker, entity: str) -> None:
    assert edge.edge is not None
    async with LiveFilm(store, entity).running():
        async with peer() as connection:
            id = (await join(edge, entity, connection)).headers["location"].rpartition("/")[2]
            await pictures(connection, 2)
            assert edge.edge.webrtc.find(entity, id) is not None
        await eventually(lambda: edge.edge is not None and edge.edge.webrtc.find(entity, id) is None)


@pytest.mark.slow
async def test_a_peer_that_vanishes_without_a_word_is_forgotten(
    edge: RunningEdge, store: Broker, entity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aioice.ice, "CONSENT_INTERVAL", 0.05)
    async with LiveFilm(store, entity).running(), peer() as connection:
        id = (await join(edge, entity, connection)).headers["location"].rpartition("/")[2]
        await pictures(connection, 2)
        ice: Any = connection.getTransceivers()[0].receiver.transport.transport
        for protocol in ice._connection._protocols:
            protocol.transport.abort()
        await eventually(lambda: edge.edge is not None and edge.edge.webrtc.find(entity, id) is None)


async def test_a_peer_that_never_connects_is_forgotten(
    edge: RunningEdge, store: Broker, entity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webrtc, "CONNECT_SECONDS", 0.2)
    async with LiveFilm(store, entity).running(), peer() as connection:
        answer = await edge.http.post(f"/cameras/{entity}/whep", content=await offer_of(connection), headers=SDP)
        id = answer.headers["location"].rpartition("/")[2]
        await eventually(lambda: edge.edge is not None and edge.edge.webrtc.find(entity, id) is None)


async def test_a_draining_edge_closes_its_peers(edge: RunningEdge, store: Broker, entity: str) -> None:
    assert edge.edge is not None
    async with LiveFilm(store, entity).running(), peer() as connection:
        await join(edge, entity, connection)
        await pictures(connection, 2)
        await edge.edge.drain()
        await eventually(lambda: connection.connectionState == "closed")
        refused = await edge.http.post(f"/cameras/{entity}/whep", content="v=0", headers=SDP)

    assert (refused.status_code, refused.json()["code"]) == (503, "draining")


async def test_one_peer_too_many_is_refused(edge_factory: EdgeFactory, store: Broker, entity: str) -> None:
    async with (
        edge_factory(webrtc=WebRtcSettings(peers=1)) as edge,
        LiveFilm(store, entity).running(),
        peer() as one,
        peer() as other,
    ):
        await join(edge, entity, one)
        answer = await edge.http.post(f"/cameras/{entity}/whep", content=await offer_of(other), headers=SDP)

    assert (answer.status_code, answer.json()["code"]) == (429, "too_many")


async def test_candidates_are_accepted_and_a_restart_of_ice_is_not(
    edge: RunningEdge, store: Broker, entity: str
) -> None:
    async with LiveFilm(store, entity).running(), peer() as connection:
        location = (await join(edge, entity, connection)).headers["location"]
        ufrag = next(line for line in connection.localDescription.sdp.splitlines() if line.startswith("a=ice-ufrag:"))

        async def patch(body: str, kind: str = whep.FRAGMENT) -> httpx.Response:
            return await edge.http.patch(location, content=body, headers={"content-type": kind})

        trickled = await patch(f"{ufrag}\r\na=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n")
        restarted = await patch("a=ice-ufrag:another\r\na=ice-pwd:secret\r\n")
        wrong = await patch("{}", "application/json")

    assert [each.status_code for each in (trickled, restarted, wrong)] == [204, 501, 415]


async def test_bad_offers_are_refused_with_what_is_wrong(edge: RunningEdge, store: Broker, entity: str) -> None:
    async with LiveFilm(store, entity).running(), peer() as connection:
        good = await offer_of(connection)
        said = [
            (await edge.http.post(f"/cameras/{entity}/whep", content=body, headers=headers)).json()["code"]
            for body, headers in (
                (good, {"content-type": "application/json"}),
                (good, {**SDP, "accept": "text/html"}),
                ("not SDP", SDP),
                (b"\xff\xfe", SDP),
                (good.replace("H264", "H263"), SDP),
                (good.replace("a=recvonly", "a=sendonly"), SDP),
                (good.replace("a=ice-ufrag", "a=nothing"), SDP),
                ("v=0\r\n" + "a=x\r\n" * 20_000, SDP),
            )
        ]
        unknown = await edge.http.post("/cameras/nowhere/whep", content=good, headers=SDP)

    assert said == [
        "unsupported_media_type", "not_acceptable", "bad_offer", "bad_offer", "bad_offer", "bad_offer", "bad_offer",
        "body_too_large",
    ]  # fmt: skip
    assert (unknown.status_code, unknown.json()["code"]) == (404, "camera_not_found")


async def test_without_the_extra_the_answer_names_it(
    edge: RunningEdge, entity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whep, "is_installed", lambda: False)

    answer = await edge.http.post(f"/cameras/{entity}/whep", content="v=0", headers=SDP)

    assert (answer.status_code, answer.json()["code"]) == (501, "webrtc_unavailable")
    assert "callboard[webrtc]" in answer.json()["detail"]


async def test_options_names_the_type_of_an_offer(edge: RunningEdge, entity: str) -> None:
    answer = await edge.http.options(f"/cameras/{entity}/whep")

    assert (answer.status_code, answer.headers["accept-post"]) == (204, "application/sdp")


@pytest.mark.slow
async def test_each_worker_of_a_port_ends_the_peers_of_the_others(nats_server: str, store: Broker, entity: str) -> None:
    port = free_port()
    at = f"http://127.0.0.1:{port}"
    async with (
        running("edge", "--port", str(port), "--workers", "2", NATS_URL=nats_server),
        LiveFilm(store, entity).running(),
        httpx.AsyncClient(base_url=at, timeout=PATIENCE, limits=httpx.Limits(max_keepalive_connections=0)) as http,
    ):

        async def knows_the_camera() -> bool:
            with contextlib.suppress(httpx.TransportError):
                return (await http.get(f"/cameras/{entity}/stream.mp4?height=333")).status_code == 400
            return False

        await eventually(knows_the_camera)
        edges, ended = set(), []
        # Each request is a new connection, for which the kernel chooses a worker.
        while len(ended) < 8 or (len(edges) < 2 and len(ended) < 40):
            async with peer() as connection:
                answer = await http.post(f"/cameras/{entity}/whep", content=await offer_of(connection), headers=SDP)
                assert answer.status_code == 201, answer.text
                location = answer.headers["location"]
                edges.add(location.rpartition("/")[2].partition("-")[0])
                ended.append((await http.delete(location)).status_code)

    assert set(ended) == {200}
    assert len(edges) == 2
