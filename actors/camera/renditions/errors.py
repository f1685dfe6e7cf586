"""Turns FFmpeg's errors into those of a camera."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import av

from actors.camera.sources.source import BadPicture


@contextmanager
def readable() -> Iterator[None]:
    """Raises BadPicture for what FFmpeg cannot convert, encode or decode."""
    try:
        yield
    except (av.FFmpegError, ValueError) as fault:
        raise BadPicture(f"a picture cannot be converted or encoded: {type(fault).__name__}") from fault
