"""A request about a peer reaches the process that holds it; where that is gone, the peer is not found."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from edge.settings import WebRtcSettings
from edge.transports.video import webrtc_requests
from edge.transports.video.webrtc import WebRtc
from edge.transports.video.webrtc_peer import Peer
from edge.transports.video.webrtc_requests import SUBJECT, PeerRequest, PeerRequests
from router.broker import Broker
from tests.edge.transports.video.test_webrtc import filmed
from tests.waiting import PATIENCE, eventually, unhurried


class Process:
    """The peers of one process, and its connection to NATS; no part of HTTP."""

    def __init__(self, id: str, broker: Broker) -> None:
        self.webrtc = WebRtc(WebRtcSettings(), "127.0.0.1", id)
        self.requests = PeerRequests(self.webrtc, broker.connection)

    def hold(self) -> Peer:
        peer = Peer(f"{self.webrtc.edge_id}-secret", "main", filmed, "v=0", None, ufrag="abcd")
        self.webrtc._peers[peer.id] = peer
        return peer


@contextlib.asynccontextmanager
async def process(id: str, url: str) -> AsyncIterator[Process]:
    async with Broker(unhurried(url), id) as broker:
        made = Process(id, broker)
        listening = asyncio.ensure_future(made.requests.run())
        await asyncio.sleep(0)
        await broker.connection.flush()
        try:
            yield made
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)


async def test_the_process_that_holds_a_peer_does_what_another_is_asked(nats_server: str) -> None:
    async with process("aaaaaaaa", nats_server) as holder, process("bbbbbbbb", nats_server) as other:
        peer = holder.hold()

        async def ask(**said: str) -> str:
            return await other.requests.make(PeerRequest("main", peer.id, **{"action": "trickle", **said}))  # type: ignore[arg-type]

        outcomes = [
            await ask(ufrag="abcd"),
            await ask(ufrag="abcd", etag=peer.etag),
            await ask(ufrag="abcd", etag='"of-another"'),
            await ask(ufrag="other", etag="*"),
        ]
        of_another_camera = await other.requests.make(PeerRequest("side", peer.id, "end"))
        assert not peer.ended.is_set()
        ended = await ask(action="end")

        assert outcomes == ["done", "done", "changed", "restart"]
        assert (of_another_camera, ended) == ("not_found", "done")
        assert peer.ended.is_set()


@pytest.mark.parametrize("id", ["dddddddd-secret", "a.b.>-secret", "*", "secret", "", "dddddddd-" + "x" * 500])
async def test_a_peer_of_no_process_is_not_found_at_once(
    nats_server: str, id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with process("aaaaaaaa", nats_server) as asked:
        # NATS says at once that nobody listens: the time that an answer may take is not waited for.
        monkeypatch.setattr(webrtc_requests, "ANSWER_SECONDS", 10 * PATIENCE)
        async with asyncio.timeout(PATIENCE):
            assert await asked.requests.make(PeerRequest("main", id, "end")) == "not_found"


async def test_a_process_that_hangs_or_answers_nonsense_holds_no_peer(
    nats_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webrtc_requests, "ANSWER_SECONDS", 0.1)
    async with process("aaaaaaaa", nats_server) as asked, Broker(unhurried(nats_server), "t") as broker:
        heard: list[str] = []
        hung = await broker.connection.listen(f"{SUBJECT}.eeeeeeee", lambda *_: heard.append("hung"))

        def answer(_subject: str, reply: str, _payload: bytes, _headers: bytes) -> None:
            heard.append(reply)

        odd = await broker.connection.listen(f"{SUBJECT}.ffffffff", answer)
        await broker.connection.flush()
        assert await asked.requests.make(PeerRequest("main", "eeeeeeee-secret", "end")) == "not_found"
        monkeypatch.setattr(webrtc_requests, "ANSWER_SECONDS", PATIENCE)
        asking = asyncio.ensure_future(asked.requests.make(PeerRequest("main", "ffffffff-secret", "end")))
        await eventually(lambda: len(heard) == 2)
        await broker.connection.send(heard[1], b"{")

        assert await asking == "not_found"
        await hung.stop()
        await odd.stop()


async def test_a_request_that_cannot_be_decoded_is_not_answered_and_ends_nothing(nats_server: str) -> None:
    async with process("aaaaaaaa", nats_server) as holder, process("bbbbbbbb", nats_server) as other:
        peer = holder.hold()
        for body in (b"{", b'{"entity":"main","peer":"x","action":"other"}'):
            await other.requests._connection.send(f"{SUBJECT}.aaaaaaaa", body)

        assert await other.requests.make(PeerRequest("main", peer.id, "trickle", "abcd")) == "done"
        assert not peer.ended.is_set()
