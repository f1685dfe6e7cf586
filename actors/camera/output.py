"""Decides which rungs of a camera are encoded, sends what they make, and gives it to those in this process who tap a rung."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from actors.camera.renditions.captured import CapturedPicture, size_of
from actors.camera.renditions.encoders import Encoded, EncodingSettings
from actors.camera.renditions.pipeline import EncoderPipeline
from actors.camera.renditions.watched import WatchedRungs
from actors.camera.report import CameraReport
from actors.camera.sources.source import Picture
from actors.system.context import Context
from router.rungs import JPEG, Rung, rung_subject

log = logging.getLogger(__name__)

# 1 s: how often a key is made at most because somebody asks for one.
KEY_PAUSE = 1.0


@dataclass(frozen=True, slots=True)
class EncodedPicture:
    """One picture of a rung as it is sent. `header["key"]` of H.264 says that it can be decoded by itself."""

    rung: Rung
    header: Mapping[str, Any]
    body: bytes


Listener = Callable[[EncodedPicture], None]


class CameraOutput:
    """What becomes of the pictures of one camera: each rung that is watched or tapped is encoded once for all."""

    def __init__(self, report: CameraReport) -> None:
        self._report = report
        self._taps: list[tuple[Rung, Listener]] = []
        self._pipelines: dict[Rung, EncoderPipeline] = {}
        self._packets: dict[Rung, int] = {}
        self._keyed: dict[Rung, float] = {}
        self._tapped = asyncio.Event()
        self._spawn: Callable[[Coroutine[Any, Any, None]], object] | None = None

    def begin(self, ctx: Context) -> None:
        """Begins a new incarnation."""
        self._ctx = ctx
        self._watched = WatchedRungs(ctx.viewers("camera", ctx.instance))
        ctx.source("output", self._work, silence=None)

    @property
    def rungs(self) -> set[Rung]:
        """The rungs that somebody watches or taps."""
        return self._watched.rungs() | {rung for rung, _ in self._taps}

    @property
    def wanted(self) -> bool:
        """Whether any picture is wanted."""
        return bool(self._taps) or self._watched.some

    async def wait_until_wanted(self) -> None:
        """Returns once a picture is wanted."""
        while not self.wanted:
            self._tapped.clear()
            waiters = {asyncio.ensure_future(self._tapped.wait()), asyncio.ensure_future(self._watched.wait_for_news())}
            try:
                await asyncio.wait(waiters, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for waiter in waiters:
                    waiter.cancel()

    def tap(self, rung: Rung, listener: Listener) -> Callable[[], None]:
        """Gives each picture of a rung to a listener, in the event loop, and keeps that rung encoded as a viewer does.

        The first one of H.264 is a key. The returned function ends it.
        """
        tapped = rung, listener
        self._taps.append(tapped)
        self._tapped.set()
        if rung in self._pipelines:
            self._pipelines[rung].ask_key()

        def release() -> None:
            with contextlib.suppress(ValueError):
                self._taps.remove(tapped)

        return release

    def ask_key(self, rung: Rung) -> bool:
        """Makes the next picture of a rung a key, at most once a second; says whether it will be one."""
        now = self._ctx.now()
        pipeline = self._pipelines.get(rung)
        if pipeline is None or now - self._keyed.get(rung, -KEY_PAUSE) < KEY_PAUSE:
            return False
        self._keyed[rung] = now
        pipeline.ask_key()
        return True

    def show(self, picture: Picture, seq: int) -> None:
        """Takes a captured picture, without waiting."""
        if self._spawn is None:
            return
        rungs = self.rungs
        for gone in self._pipelines.keys() - rungs:
            self._pipelines.pop(gone).end()
        sizes = {size_of(rung, picture.width, picture.height) for rung in rungs if rung.codec == "h264"}
        captured = CapturedPicture(seq, picture, frozenset(sizes))
        settings = EncodingSettings(self._report.quality, self._report.fps)
        for rung in rungs:
            if rung not in self._pipelines:
                self._pipelines[rung] = EncoderPipeline(rung, self, self._threads, self._spawn)
            self._pipelines[rung].offer(captured, settings)

    def encoded(self, rung: Rung, picture: CapturedPicture, settings: EncodingSettings, encoded: Encoded) -> None:
        """Sends one picture of a rung."""
        header = self._header(rung, picture, settings, encoded)
        if rung.independent:
            self._ctx.frame("camera", self._ctx.instance, header, encoded.body, None if rung == JPEG else rung.token)
        elif not self._ctx.packet(rung_subject(self._ctx.instance, rung), header, encoded.body) and not encoded.key:
            self._pipelines[rung].ask_key()
        shown = EncodedPicture(rung, header, encoded.body)
        for tapped, listener in list(self._taps):
            if tapped == rung:
                listener(shown)
        self._report.sent(picture.seq, picture.picture.width, picture.picture.height, len(encoded.body))

    def not_encoded(self, rung: Rung, fault: Exception) -> None:
        """Notes a picture that could not be encoded."""
        self._report.count_bad_picture(fault)

    def passed_over(self, rung: Rung) -> None:
        """Notes a picture that was dropped for a newer one."""
        self._report.dropped += 1

    def _header(
        self, rung: Rung, picture: CapturedPicture, settings: EncodingSettings, encoded: Encoded
    ) -> dict[str, Any]:
        header = {
            "seq": picture.seq,
            "life": self._report.life,
            "time": picture.time,
            "width": encoded.width,
            "height": encoded.height,
            "format": rung.codec,
            "rung": rung.token,
            "fresh": True,
            "source": self._report.about["source"],
            "simulated": self._report.about["simulated"],
            "fps": round(self._report.meter.fps, 2),
            "quality": settings.quality,
        }
        if not rung.independent:
            number = self._packets[rung] = self._packets.get(rung, -1) + 1
            header |= {"key": encoded.key, "codec": encoded.codec, "packet": number}
        return header

    async def _work(self, beat: Callable[[], None]) -> None:
        """Holds the threads and tasks of the encoders until cancelled."""
        cores = os.cpu_count() or 1
        self._threads = ThreadPoolExecutor(min(8, cores + 1), thread_name_prefix="camera-encode")
        try:
            async with asyncio.TaskGroup() as group:
                self._spawn = group.create_task
                try:
                    await asyncio.Event().wait()
                finally:
                    self._spawn = None
                    for pipeline in self._pipelines.values():
                        pipeline.end()
                    self._pipelines.clear()
        finally:
            self._threads.shutdown(wait=False, cancel_futures=True)
