"""Chromium as a client of WHEP without any code of ours: it decodes the pictures of the camera's one encoding as they come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise
from statistics import median
from typing import Any

import pytest
import pytest_asyncio

from tests.browser.conftest import Tab
from tests.e2e.tree import RunningCallboard, running_tree

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

# A page of the same origin that does nothing by itself.
BARE = "/client/player.d.ts"
# Connects as the draft says, and reads number and time from the strip at the bottom of each picture.
JOIN = """async (url) => {
  const video = document.body.appendChild(document.createElement("video"));
  video.muted = true;
  const peer = window.peer = new RTCPeerConnection();
  window.seen = [];
  const { receiver } = peer.addTransceiver("video", { direction: "recvonly" });
  receiver.jitterBufferTarget = 0;
  peer.ontrack = ({ track }) => { video.srcObject = new MediaStream([track]); video.play(); };
  await peer.setLocalDescription(await peer.createOffer());
  const answer = await fetch(url, { method: "POST", headers: { "Content-Type": "application/sdp" }, body: peer.localDescription.sdp });
  if (answer.status !== 201) throw new Error(await answer.text());
  window.session = new URL(answer.headers.get("Location"), url).href;
  await peer.setRemoteDescription({ type: "answer", sdp: await answer.text() });
  const canvas = document.createElement("canvas");
  const paint = canvas.getContext("2d", { willReadFrequently: true });
  const cell = 8;
  const look = () => {
    const now = Date.now();
    canvas.width = video.videoWidth;
    canvas.height = video.videoHeight;
    paint.drawImage(video, 0, 0);
    const { data } = paint.getImageData(0, canvas.height - 2 * cell, 36 * cell, 2 * cell);
    const bit = (row, column) => data[((row * cell + 4) * 36 * cell + column * cell + 4) * 4 + 1] > 127 ? 1 : 0;
    let number = 0;
    let time = 0;
    for (let column = 0; column < 32; column += 1) {
      number = number * 2 + bit(0, column + 4);
      time = time * 2 + bit(1, column);
    }
    seen.push([number, ((now % 2 ** 32) - time + 2 ** 32) % 2 ** 32]);
    video.requestVideoFrameCallback(look);
  };
  video.requestVideoFrameCallback(look);
}"""
DECODED = """async () => {
  const stats = [...(await peer.getStats()).values()].find(({ type, kind }) => type === "inbound-rtp" && kind === "video");
  return stats?.framesDecoded ?? 0;
}"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def callboard(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningCallboard]:
    """A Callboard with a small simulated camera."""
    folder = tmp_path_factory.mktemp("whep")
    sizes = {"CAMERA_WIDTH": "320", "CAMERA_HEIGHT": "240", "CAMERA_FPS": "20"}
    tree = running_tree(folder, "--only", "edge,camera", **sizes)
    running = await asyncio.to_thread(tree.__enter__)
    yield running
    await asyncio.to_thread(tree.__exit__, None, None, None)


async def test_chromium_shows_each_picture_soon_and_in_order_until_it_leaves(
    tab: Tab, callboard: RunningCallboard
) -> None:
    await tab.page.goto(callboard.url + BARE)
    await tab.page.evaluate(JOIN, f"{callboard.url}/cameras/main/whep")

    await tab.until("() => seen.length > 60")
    decoded = await tab.page.evaluate(DECODED)
    await tab.until("(before) => seen.length > 90 && before > 50", decoded)
    seen: list[list[Any]] = await tab.page.evaluate("seen")
    assert await tab.page.evaluate(DECODED) > decoded
    ended = await tab.page.evaluate("fetch(session, { method: 'DELETE' }).then(({ status }) => status)")
    await tab.until("() => ['failed', 'closed', 'disconnected'].includes(peer.connectionState)")

    assert ended == 200
    numbers = [number for number, _ in seen]
    assert all(before < after for before, after in pairwise(numbers))

    # On an idle machine it is 30 ms; a jitter buffer that grows would show.
    assert median(age for _, age in seen[30:]) < 1000
