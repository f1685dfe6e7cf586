"""Coalesces a run's frequent events: chunks of text are joined, and progress is throttled to the newest value.

It knows no event loop and no thread: who calls it does so under a lock, and calls `flush_due` when `due` says.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

# 16 KiB of text become an event of their own, even where the window is not over.
MAX_CHUNK_CHARACTERS = 16 * 1024


class Coalescer:
    """Holds back chunks and progress until their window is over, or until `flush`."""

    def __init__(
        self, chunk_window: float, progress_interval: float, emit: Callable[[str, dict[str, Any]], object]
    ) -> None:
        """`emit(type, data)` takes what is flushed."""
        self._chunk_window = chunk_window
        self._progress_interval = progress_interval
        self._emit = emit
        self._chunks: list[str] = []
        self._chunk_size = 0
        self._chunk_span: str | None = None
        self._chunks_due = math.inf
        self._progress: dict[str, Any] | None = None
        self._progress_due = math.inf
        self._progress_emitted = -math.inf

    @property
    def due(self) -> float:
        """When `flush_due` has something to do, by the monotonic clock; infinity while nothing is held back."""
        return min(self._chunks_due, self._progress_due)

    def add_chunk(self, text: str, span: str | None = None) -> bool:
        """Appends to the text that is held back, of one span; says whether it is the first of its window."""
        if span != self._chunk_span:
            self.flush(progress=False)
            self._chunk_span = span
        # A lone surrogate can be in a str, but not in an event.
        self._chunks.append(text if text.isascii() else text.encode(errors="replace").decode())
        self._chunk_size += len(text)
        if self._chunk_size >= MAX_CHUNK_CHARACTERS:
            self.flush(progress=False)
            return False
        if self._chunks_due == math.inf:
            self._chunks_due = time.monotonic() + self._chunk_window
            return True
        return False

    def set_progress(self, data: dict[str, Any]) -> bool:
        """Replaces the progress that is held back; emits it now where the last one is long enough ago.

        Says whether it is the first of its interval.
        """
        self._progress = data
        if self._progress_due != math.inf:
            return False
        now = time.monotonic()
        due = self._progress_emitted + self._progress_interval
        if due <= now:
            self.flush()
            return False
        self._progress_due = due
        return True

    def flush_due(self) -> None:
        """Emits what has been held back for its whole window."""
        now = time.monotonic()
        self.flush(chunks=self._chunks_due <= now, progress=self._progress_due <= now)

    def flush(self, chunks: bool = True, progress: bool = True) -> None:
        """Emits what is held back."""
        if chunks and self._chunks:
            text = "".join(self._chunks)
            self._chunks, self._chunk_size, self._chunks_due = [], 0, math.inf
            self._emit("streaming_chunk", {"content": text, **_parent(self._chunk_span)})
        if progress and self._progress is not None:
            data, self._progress, self._progress_due = self._progress, None, math.inf
            self._progress_emitted = time.monotonic()
            self._emit("progress", data)


def _parent(span: str | None) -> dict[str, str]:
    return {"parent": span} if span else {}
