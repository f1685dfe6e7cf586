"""Coalesces a run's frequent events: chunks of text are joined, and progress is throttled to the newest value."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any

# 16 KiB of text become an event of their own, even where the window is not over.
MAX_CHUNK_CHARACTERS = 16 * 1024
# Event loops may call a timer this much too early, in seconds.
_TIMER_SLACK = 0.001


class Coalescer:
    """Holds back chunks and progress until their window is over, or until `flush`."""

    def __init__(
        self,
        chunk_window: float,
        progress_interval: float,
        emit: Callable[[str, dict[str, Any]], object],
        has_room: Callable[[], bool],
    ) -> None:
        """`emit(type, data)` takes what is flushed. While `has_room` is false, what is held back goes on growing."""
        self._chunk_window = chunk_window
        self._progress_interval = progress_interval
        self._emit = emit
        self._has_room = has_room
        self._chunks: list[str] = []
        self._chunk_size = 0
        self._chunk_timer: asyncio.TimerHandle | None = None
        self._progress: dict[str, Any] | None = None
        self._progress_timer: asyncio.TimerHandle | None = None
        # Kept here: what uvloop returns for a timer of less than a millisecond has no `when`.
        self._chunks_due = self._progress_due = 0.0
        self._progress_emitted = -math.inf

    def add_chunk(self, text: str) -> None:
        """Appends to the text that is held back."""
        # A lone surrogate can be in a str, but not in an event.
        self._chunks.append(text.encode(errors="replace").decode())
        self._chunk_size += len(text)
        if self._chunk_size >= MAX_CHUNK_CHARACTERS:
            self.flush(progress=False)
        elif self._chunk_timer is None:
            loop = asyncio.get_running_loop()
            self._chunks_due = loop.time() + self._chunk_window
            self._chunk_timer = loop.call_later(self._chunk_window, self.flush_due)

    def set_progress(self, data: dict[str, Any]) -> None:
        """Replaces the progress that is held back; emits it now where the last one is long enough ago."""
        loop = asyncio.get_running_loop()
        left = self._progress_emitted + self._progress_interval - loop.time()
        self._progress = data
        if self._progress_timer is not None:
            return
        if left <= 0:
            self.flush()
        else:
            self._progress_due = loop.time() + left
            self._progress_timer = loop.call_later(left, self.flush_due)

    def flush_due(self) -> None:
        """Emits what has been held back for its whole window, where there is room."""
        if not self._has_room():
            return
        now = asyncio.get_running_loop().time() + _TIMER_SLACK
        chunks = self._chunk_timer is not None and self._chunks_due <= now
        progress = self._progress_timer is not None and self._progress_due <= now
        self.flush(chunks=chunks, progress=progress)

    def flush(self, chunks: bool = True, progress: bool = True) -> None:
        """Emits what is held back."""
        if chunks:
            self._flush_chunks()
        if progress:
            self._flush_progress()

    def _flush_chunks(self) -> None:
        if self._chunk_timer:
            self._chunk_timer.cancel()
            self._chunk_timer = None
        if self._chunks:
            text = "".join(self._chunks)
            self._chunks, self._chunk_size = [], 0
            self._emit("streaming_chunk", {"content": text})

    def _flush_progress(self) -> None:
        if self._progress_timer:
            self._progress_timer.cancel()
            self._progress_timer = None
        if self._progress is not None:
            data, self._progress = self._progress, None
            self._progress_emitted = asyncio.get_running_loop().time()
            self._emit("progress", data)
