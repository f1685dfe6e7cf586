"""Decides which rungs of a camera are encoded or passed through, for those that are watched or tapped."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from actors.camera.renditions.captured import CapturedPicture, is_source_of, size_of
from actors.camera.renditions.decoding import PacketDecoding
from actors.camera.renditions.encoders import Encoded, EncodingSettings
from actors.camera.renditions.given import GivenStream
from actors.camera.renditions.pipeline import EncoderPipeline
from actors.camera.renditions.watched import WatchedRungs
from actors.camera.report import CameraReport
from actors.camera.sending import EncodedPicture, Listener, PictureSender
from actors.camera.sources.source import FramePicture, Grabbed, Packet, Picture
from actors.system.context import Context
from router.rungs import Rung

__all__ = ["CameraOutput", "EncodedPicture", "Listener"]

# 1 s: how often a key is made at most because somebody asks for one.
KEY_PAUSE = 1.0


class CameraOutput:
    """What becomes of the pictures of one camera: each rung that is watched or tapped is made once for all."""

    def __init__(self, report: CameraReport) -> None:
        self._report = report
        self._sender = PictureSender(report)
        self._pipelines: dict[Rung, EncoderPipeline] = {}
        self._given = GivenStream()
        self._decoding: PacketDecoding | None = None
        self._captured: CapturedPicture | None = None
        self._made: set[Rung] = set()
        self._keyed: dict[Rung, float] = {}
        self._tapped = asyncio.Event()
        self._spawn: Callable[[Coroutine[Any, Any, None]], object] | None = None

    def begin(self, ctx: Context) -> None:
        """Begins a new incarnation."""
        self._ctx = ctx
        self._sender.begin(ctx)
        self._watched = WatchedRungs(ctx.viewers("camera", ctx.instance))
        self._report.watched = self.counts
        ctx.source("output", self._work, silence=None)

    @property
    def rungs(self) -> set[Rung]:
        """The rungs that somebody watches or taps."""
        return set(self.counts())

    def counts(self) -> Counter[Rung]:
        """How many watch or tap each rung: edges that have viewers of it, and listeners in this process."""
        return self._watched.counts() + self._sender.tapped

    @property
    def wanted(self) -> bool:
        """Whether any picture is wanted."""
        return bool(self.rungs)

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
        release = self._sender.tap(rung, listener)
        self._tapped.set()
        if rung in self._pipelines:
            self._pipelines[rung].ask_key()
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

    def show(self, grabbed: Grabbed, seq: int) -> None:
        """Takes a captured picture or packet, without waiting."""
        self._report.captured()
        if self._spawn is None:
            self._report.drop("encoder")
            return
        rungs = self._current_rungs()
        if isinstance(grabbed, Packet) and grabbed.codec == "h264":
            self._pass_on(grabbed, seq, rungs)
        else:
            self._show_picture(grabbed, seq, rungs)

    def stand_still(self) -> None:
        """Notes that the camera lives and has nothing new: what is watched since then gets the last picture all the same."""
        picture, settings = self._captured, self._settings
        if picture is None or self._spawn is None:
            return
        for rung in self._current_rungs():
            if self._lacks(rung, picture, settings):
                self._make(rung, picture)
            else:
                self._sender.repeat(rung)

    def rest(self) -> None:
        """Lets go of all pictures and encoders, once the source is closed."""
        self._captured = None
        self._given = GivenStream()
        for rung in self._made:
            self._drop_pipeline(rung)
            self._sender.forget(rung)
        self._made = set()
        self._end_decoding()

    def encoded(
        self, rung: Rung, picture: CapturedPicture, settings: EncodingSettings, encoded: Encoded, seconds: float
    ) -> None:
        """Sends one picture of a rung."""
        if not self._sender.fits(encoded):
            return
        if (
            not self._sender.send(rung, picture.seq, picture.time, encoded, settings.quality)
            and rung in self._pipelines
        ):
            self._pipelines[rung].ask_key()
        self._report.sent(rung, picture.seq, picture.size, len(encoded.body), seconds)

    def not_encoded(self, rung: Rung, fault: Exception) -> None:
        """Notes a picture that could not be encoded."""
        self._report.count_bad_picture(fault)

    def passed_over(self, rung: Rung) -> None:
        """Notes a picture that was dropped for a newer one."""
        self._report.drop("encoder")

    def _lacks(self, rung: Rung, picture: CapturedPicture, settings: EncodingSettings) -> bool:
        """Whether a rung was not made of a picture yet, or not with these settings, or not as the key that is wanted."""
        if picture.given(rung) is not None:
            return not self._sender.has_sent(rung)
        pipeline = self._pipelines.get(rung)
        return pipeline is None or pipeline.lacks(picture, settings)

    @property
    def _settings(self) -> EncodingSettings:
        return EncodingSettings(self._report.quality, self._report.fps)

    def _current_rungs(self) -> set[Rung]:
        rungs = self.rungs
        for gone in self._made - rungs:
            self._drop_pipeline(gone)
            self._sender.forget(gone)
        self._made = rungs
        return rungs

    def _show_picture(self, grabbed: Grabbed, seq: int, rungs: set[Rung]) -> None:
        """Passes a picture on where it is a rung's own already, and to the encoders of the other rungs."""
        sizes = {size_of(rung, grabbed.width, grabbed.height) for rung in rungs if rung.codec == "h264"}
        captured = self._captured = CapturedPicture(seq, grabbed, frozenset(sizes))
        for rung in rungs:
            self._make(rung, captured)

    def _make(self, rung: Rung, picture: CapturedPicture) -> None:
        if (packet := picture.given(rung)) is not None:
            self._drop_pipeline(rung)
            given = Encoded(packet.data, packet.width, packet.height, given=True)
            self.encoded(rung, picture, self._settings, given, 0.0)
        else:
            self._pipeline(rung).offer(picture, self._settings)

    def _pass_on(self, packet: Packet, seq: int, rungs: set[Rung]) -> None:
        """Passes a packet of H.264 on to its own rungs, and decodes it where there are others."""
        own = {rung for rung in rungs if is_source_of(packet, rung)}
        self._given.keep_to(own)
        for rung in own:
            self._drop_pipeline(rung)
            encoded = self._given.encoded(rung, packet)
            if encoded is None or not self._sender.fits(encoded):
                continue
            if not self._sender.send(rung, seq, packet.time, encoded, self._report.quality):
                self._given.lose(rung)
            self._report.sent(rung, seq, (packet.width, packet.height), len(packet.data), 0.0)
        if rungs - own:
            if self._decoding is None and self._spawn is not None:
                report = self._report
                self._decoding = PacketDecoding(
                    self._threads,
                    self._spawn,
                    self._show_decoded,
                    report.count_bad_picture,
                    lambda count: report.drop("encoder", count),
                    self.stand_still,
                )
            if self._decoding is not None:
                self._decoding.offer(packet, seq)
        else:
            self._end_decoding()
            self._captured = None

    def _show_decoded(self, picture: Picture | FramePicture, seq: int) -> None:
        rungs = {rung for rung in self._current_rungs() if not self._given.has(rung)}
        if self._spawn is not None:
            self._show_picture(picture, seq, rungs)

    def _pipeline(self, rung: Rung) -> EncoderPipeline:
        if rung not in self._pipelines:
            assert self._spawn is not None
            self._pipelines[rung] = EncoderPipeline(rung, self, self._threads, self._spawn)
        return self._pipelines[rung]

    def _drop_pipeline(self, rung: Rung) -> None:
        if (pipeline := self._pipelines.pop(rung, None)) is not None:
            pipeline.end()

    def _end_decoding(self) -> None:
        if self._decoding is not None:
            self._decoding.end()
            self._decoding = None

    async def _work(self, beat: Callable[[], None]) -> None:
        """Holds the threads and tasks of the encoders until cancelled."""
        self._threads = ThreadPoolExecutor(min(8, (os.cpu_count() or 1) + 1), thread_name_prefix="camera-encode")
        try:
            async with asyncio.TaskGroup() as group:
                self._spawn = group.create_task
                try:
                    await asyncio.Event().wait()
                finally:
                    self._spawn = None
                    self.rest()
        finally:
            self._threads.shutdown(wait=False, cancel_futures=True)
