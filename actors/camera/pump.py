"""Captures on time while somebody watches: waits for viewers, opens the source in a thread of its own, and grabs
picture n+1 while picture n is encoded.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Callable

from actors.camera.capture import CaptureThread
from actors.camera.controls import CameraControls
from actors.camera.output import CameraOutput
from actors.camera.pacing import Pacer
from actors.camera.report import CameraReport
from actors.camera.settings import CHECK_EVERY, CameraSettings
from actors.camera.sources.open import Factory
from actors.camera.sources.source import BAD_PICTURE, Grabbed, LoginRefused, Packet, SourceOver, SourceUnavailable
from actors.system.context import Context

log = logging.getLogger(__name__)

# One bad picture is a glitch; five in a row are a device to be opened anew.
BAD_IN_A_ROW = 5

# 1 s: a camera that answers again is back about a second later, however long it was away.
LONGEST_PAUSE = 1.0

# Seconds until a login that was refused is tried again, at first and at most: a camera may lock out who tries often.
LOGIN_PAUSE, LONGEST_LOGIN_PAUSE = 10.0, 120.0

# What of the silence that is tolerated passes before the supervision ends a call that hangs, so that `failed` is said in time.
NOTICED = 0.9

# Threads that hang in a driver cannot be ended. When so many do, no more are started until one comes back.
LEFT_BEHIND = 4


class CapturePump:
    """The capture of one camera."""

    def __init__(
        self,
        settings: CameraSettings,
        sources: Factory,
        report: CameraReport,
        output: CameraOutput,
        controls: CameraControls,
    ) -> None:
        self._settings = settings
        self._sources = sources
        self._report = report
        self._output = output
        self._controls = controls
        self._grabbing = False
        self._left: list[CaptureThread] = []
        self._pacer: Pacer | None = None
        self._seq = 0
        self._silence = settings.silence * NOTICED
        self._heard = 0.0
        self._refused = 0  # logins in a row
        self._not_before = -math.inf

    def begin(self, ctx: Context) -> None:
        """Begins to wait for viewers."""
        self._ctx = ctx
        ctx.source("capture", self._capture, silence=self._silence, longest_pause=LONGEST_PAUSE)

    def change_rate(self) -> None:
        """Takes up the rate that the report has, at once."""
        if self._pacer is not None:
            self._pacer.change(self._report.fps, self._ctx.now())

    async def _capture(self, beat: Callable[[], None]) -> None:
        """Waits for viewers, streams until they are gone, and begins again. Raises when the source gave up."""
        if self._grabbing:
            # The last run did not end by itself, nor for its silence.
            self._grabbing = False
            self._report.turn("failed", "the source crashed")

        def heard() -> None:
            self._heard = self._ctx.now()
            beat()

        try:
            while True:
                await self._until_watched(heard)
                await self._stream(heard)
                self._report.turn("idle")
        except asyncio.CancelledError:
            if self._grabbing and self._ctx.now() - self._heard >= self._silence:
                # Said here, since the next run comes after a pause only.
                self._grabbing = False
                self._report.turn("failed", f"the source stopped answering for {self._silence:g} s")
            raise

    async def _until_watched(self, beat: Callable[[], None]) -> None:
        beat()
        while not self._output.wanted or self._ctx.now() < self._not_before:
            if self._output.wanted:
                await self._ctx.sleep(min(CHECK_EVERY, self._not_before - self._ctx.now()))
            else:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(CHECK_EVERY):
                        await self._output.wait_until_wanted()
            beat()

    async def _stream(self, beat: Callable[[], None]) -> None:
        """One opening of the source: from the first viewer until `linger` seconds after the last."""
        thread = self._thread()
        self._grabbing = True
        try:
            await self._open(thread)
            beat()
            await self._controls.opened(thread)
            beat()
            fault = await self._grab_pictures(thread, beat)
            if fault is not None and not isinstance(fault, SourceOver):
                raise fault
            if not await thread.close(self._settings.silence / 2):
                log.warning(
                    "camera source did not close in time; its thread is abandoned",
                    extra={"source": self._report.about},
                )
        except SourceUnavailable as unavailable:
            self._grabbing = False
            self._report.turn("failed", str(unavailable))
            raise
        finally:
            self._pacer = None
            self._controls.closed()
            self._output.rest()
            thread.leave()
        self._grabbing = False
        if fault is not None:
            await self._rest(str(fault), beat)

    async def _open(self, thread: CaptureThread) -> None:
        """Opens the source. After a login that was refused the next try waits, longer each time."""
        try:
            await thread.open()
        except LoginRefused:
            pause = min(LONGEST_LOGIN_PAUSE, LOGIN_PAUSE * 2.0 ** min(self._refused, 10))
            self._refused += 1
            self._not_before = self._ctx.now() + pause
            log.warning(
                "camera source refuses the login; it is tried again after a pause",
                extra={"source": self._report.about, "pause": pause},
            )
            raise
        self._refused = 0

    async def _rest(self, reason: str, beat: Callable[[], None]) -> None:
        """After the end of a source: waits until nobody watches; the next viewer sees it from its beginning."""
        self._report.turn("idle", reason)
        while self._output.wanted:
            await self._ctx.sleep(CHECK_EVERY)
            beat()

    def _is_early(self, picture: Grabbed, pacer: Pacer) -> bool:
        """Says whether a picture of a source with a time of its own is to be left out, since fewer are wanted."""
        if isinstance(picture, Packet) and picture.codec == "h264":
            return False  # the next one cannot be decoded without it
        now = self._ctx.now()
        if pacer.remaining(now) > 0.5 / pacer.fps:
            return True
        pacer.tick(now)
        return False

    def _thread(self) -> CaptureThread:
        self._left = [thread for thread in self._left if thread.alive]
        if len(self._left) >= LEFT_BEHIND:
            reason = f"{LEFT_BEHIND} calls into the source hang; no more are made until one returns"
            self._report.turn("failed", reason)
            raise SourceUnavailable(reason)
        settings = self._settings
        thread = CaptureThread(self._sources(settings.address, settings))
        self._left.append(thread)
        return thread

    async def _grab_pictures(self, thread: CaptureThread, beat: Callable[[], None]) -> SourceUnavailable | None:
        """Grabs on time; pictures are encoded while the next ones are grabbed. Says why the source gave up, if so."""
        watched, report = self._ctx.now(), self._report
        self._pacer = pacer = Pacer(report.fps, watched)
        report.figures.begin()
        report.bad = 0
        while True:
            now = self._ctx.now()
            if self._output.wanted:
                watched = now
            elif now - watched >= self._settings.linger:
                return None
            if not thread.paced:
                if (wait := pacer.remaining(now)) > 0:
                    if wait > CHECK_EVERY:
                        self._output.stand_still()
                    await self._ctx.sleep(min(wait, CHECK_EVERY))
                    beat()
                    continue
                report.drop("late", pacer.tick(now))
            try:
                picture, new = await thread.grab(self._seq)
            except SourceUnavailable as unavailable:
                return unavailable
            except BAD_PICTURE as fault:
                report.count_bad_picture(fault)
            else:
                if picture is None or not new:
                    self._output.stand_still()
                elif not (thread.paced and self._is_early(picture, pacer)):
                    self._output.show(picture, self._seq)
                    self._seq += 1
            if report.bad >= BAD_IN_A_ROW:
                return SourceUnavailable(f"{report.bad} bad pictures in a row; the last: {report.bad_reason}")
            beat()
