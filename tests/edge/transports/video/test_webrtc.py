"""Which addresses peers of WebRTC are told, and what becomes of a peer whose camera sends nothing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from edge.settings import WebRtcSettings
from edge.transports.video import webrtc
from edge.transports.video.viewer import PacketViewer, RungViewer
from edge.transports.video.webrtc import WebRtc
from edge.transports.video.webrtc_peer import BadOffer, NoPicture, TooManyPeers
from edge.transports.video.webrtc_session import PeerSession
from router.errors import BrokerError, Timeout
from tests.edge.transports.video.h264 import h264_frames
from tests.waiting import eventually


@contextlib.asynccontextmanager
async def running(settings: WebRtcSettings | None = None) -> AsyncIterator[WebRtc]:
    made = WebRtc(settings or WebRtcSettings(), "127.0.0.1", "0123abcd")
    task = asyncio.ensure_future(made.run())
    await asyncio.sleep(0)
    try:
        yield made
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@contextlib.asynccontextmanager
async def silent() -> AsyncIterator[RungViewer]:
    yield PacketViewer()


@contextlib.asynccontextmanager
async def filmed() -> AsyncIterator[RungViewer]:
    yield PacketViewer(h264_frames(3))


@contextlib.asynccontextmanager
async def broken() -> AsyncIterator[RungViewer]:
    raise Timeout("no store")
    yield PacketViewer()


async def test_addresses_are_those_of_the_host_and_of_all_only_where_it_stands_for_all() -> None:
    assert await webrtc._addresses("127.0.0.1") == ["127.0.0.1"]
    assert "127.0.0.1" in await webrtc._addresses("localhost")
    assert (await webrtc._addresses("0.0.0.0"))[0] == "127.0.0.1"
    assert "127.0.0.1" not in await webrtc._addresses("0.0.0.0", loopback=False)


async def test_a_camera_that_sends_nothing_is_said_to_and_the_peer_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(webrtc, "PICTURE_SECONDS", 0.05)
    left: list[str] = []
    async with running() as made:
        with pytest.raises(NoPicture):
            await made.connect("main", silent, "v=0", None, lambda: left.append("left"))
        await eventually(lambda: left == ["left"] and made._peers == {})


async def test_what_goes_wrong_before_the_answer_is_raised_to_who_asks() -> None:
    left: list[str] = []
    async with running() as made:
        with pytest.raises(BadOffer):
            await made.connect("main", filmed, "no SDP", None, lambda: left.append("left"))
        with pytest.raises(BrokerError):
            await made.connect("main", broken, "v=0", None, lambda: left.append("left"))
        await eventually(lambda: left == ["left"] * 2)


async def test_a_fault_of_the_library_ends_its_peer_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> str:
        raise RuntimeError("a fault of the library")

    monkeypatch.setattr(PeerSession, "answer", fail)
    async with running() as made:
        for _ in range(2):
            with pytest.raises(RuntimeError):
                await made.connect("main", filmed, "v=0", None, lambda: None)
        await eventually(lambda: made._peers == {})


async def test_no_more_peers_than_allowed_and_none_once_it_has_ended() -> None:
    left: list[str] = []
    async with running(WebRtcSettings(peers=0)) as made:
        with pytest.raises(TooManyPeers):
            await made.connect("main", filmed, "v=0", None, lambda: left.append("left"))
    stopped = WebRtc(WebRtcSettings(), "127.0.0.1", "0123abcd")
    with pytest.raises(TooManyPeers):
        await stopped.connect("main", filmed, "v=0", None, lambda: left.append("left"))

    assert left == ["left"] * 2


@pytest.mark.parametrize(
    "bad",
    [
        {"peers": -1}, {"public_host": "example.org"}, {"first_port": 40_000}, {"first_port": 2, "last_port": 1},
        {"first_port": 1, "last_port": 70_000}, {"last_port": 9}, {"ice_servers": ("https://stun.test",)},
        {"ice_servers": ("stun:a>; rel=x",)}, {"turn_username": "me"}, {"turn_password": "secret"},
    ],
)  # fmt: skip
def test_settings_that_cannot_be_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        WebRtcSettings(**bad)  # type: ignore[arg-type]
