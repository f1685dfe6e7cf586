"""Runs the encoder of one rung beside the event loop: bounded, and in the order of the pictures."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, Protocol

from actors.camera.renditions.captured import CapturedPicture
from actors.camera.renditions.encoders import Encoded, EncodingSettings, encoder_of
from actors.camera.sources.source import BAD_PICTURE
from router.rungs import Rung

# Four pictures at once: more would only wait for the four that are sent before them.
MAX_AT_ONCE = 4


class EncodedPictures(Protocol):
    """Takes what the pipelines of a camera make. All calls come in the event loop."""

    def encoded(
        self, rung: Rung, picture: CapturedPicture, settings: EncodingSettings, encoded: Encoded, seconds: float
    ) -> None:
        """Takes one picture and how long its encoding took; those of a rung come in order."""

    def not_encoded(self, rung: Rung, fault: Exception) -> None:
        """Notes a picture that could not be encoded."""

    def passed_over(self, rung: Rung) -> None:
        """Notes a picture that a newer one replaced before the encoder was free."""


class EncoderPipeline:
    """Encodes pictures of a rung in threads, several at once where each stands alone, and gives them on in order.

    One more may wait; a newer one replaces it. So what is sent is at most two encodings old, however slow they are.
    """

    def __init__(
        self,
        rung: Rung,
        output: EncodedPictures,
        threads: Executor,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        self.rung = rung
        self._encoder = encoder_of(rung)
        self._output = output
        self._threads = threads
        self._spawn = spawn
        self._limit = min(MAX_AT_ONCE, os.cpu_count() or 1) if rung.codec == "jpeg" else 1
        self._busy = 0
        self._waiting: tuple[CapturedPicture, EncodingSettings] | None = None
        self._taken: tuple[int, EncodingSettings] | None = None
        self._key = False
        self._before: asyncio.Future[None] | None = None
        self._ended = False

    def offer(self, picture: CapturedPicture, settings: EncodingSettings) -> None:
        """Takes the next picture, without waiting."""
        if self._waiting is not None:
            self._output.passed_over(self.rung)
        self._waiting = picture, settings
        self._taken = picture.seq, settings
        self._go_on()

    def ask_key(self) -> None:
        """Makes the next picture one that can be decoded by itself."""
        self._key = not self.rung.independent

    def lacks(self, picture: CapturedPicture, settings: EncodingSettings) -> bool:
        """Whether a picture was not offered yet with these settings, or is wanted again as a key."""
        return self._taken != (picture.seq, settings) or (self._key and self._waiting is None)

    def end(self) -> None:
        """Gives nothing on any more."""
        self._ended, self._waiting = True, None

    def _go_on(self) -> None:
        if self._ended or self._waiting is None or self._busy >= self._limit:
            return
        (picture, settings), self._waiting = self._waiting, None
        self._busy += 1
        key, self._key = self._key, False
        before, done = self._before, asyncio.get_running_loop().create_future()
        self._before = done
        self._spawn(self._encode(picture, settings, key, before, done))

    async def _encode(
        self,
        picture: CapturedPicture,
        settings: EncodingSettings,
        key: bool,
        before: asyncio.Future[None] | None,
        done: asyncio.Future[None],
    ) -> None:
        loop = asyncio.get_running_loop()
        fault: Exception | None = None
        try:
            try:
                timed = await loop.run_in_executor(self._threads, self._timed, picture, settings, key)
            except BAD_PICTURE as bad:
                fault = bad
            if before is not None:
                await before
            if self._ended:
                return
            if fault is not None:
                self._output.not_encoded(self.rung, fault)
            else:
                self._output.encoded(self.rung, picture, settings, *timed)
        except BaseException:
            # Cancelled, or a crash that ends the output: the next one makes pipelines of its own.
            self.end()
            raise
        finally:
            if not done.done():
                done.set_result(None)
            self._busy -= 1
            self._go_on()

    def _timed(self, picture: CapturedPicture, settings: EncodingSettings, key: bool) -> tuple[Encoded, float]:
        began = time.perf_counter()
        return self._encoder.encode(picture, settings, key), time.perf_counter() - began
