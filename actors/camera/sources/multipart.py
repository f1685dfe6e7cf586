"""Splits a stream of `multipart/x-mixed-replace` into its parts, as cameras send JPEGs over HTTP."""

from __future__ import annotations

import re

from actors.camera.sources.source import SourceUnavailable

MAX_HEAD = 16 * 1024
# What the broker carries of one picture.
MAX_PART = 64 * 1024 * 1024

_LENGTH = re.compile(rb"^content-length:[ \t]*([0-9]{1,10})[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)


class MultipartSplitter:
    """Takes bytes as they come and gives whole parts. Reads nothing itself."""

    def __init__(self, boundary: str) -> None:
        # Many cameras put the dashes into the name of the boundary, too.
        self._mark = b"--" + boundary.strip().strip('"').removeprefix("--").encode("latin-1", "replace")
        self._buffer = bytearray()
        self._inside = False
        self._length: int | None = None
        self._searched = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Takes the next bytes; gives the parts that are whole now. Raises SourceUnavailable where one would be too large."""
        self._buffer += data
        parts = []
        while (part := self._take()) is not None:
            parts.append(part)
        return parts

    def _take(self) -> bytes | None:
        if not self._inside and not self._enter():
            return None
        end = self._length if self._length is not None else self._next_mark()
        if end is None or len(self._buffer) < end:
            if max(end or 0, len(self._buffer)) > MAX_PART:
                raise SourceUnavailable(f"a picture of the stream is larger than {MAX_PART >> 20} MiB")
            return None
        part = bytes(self._buffer[:end])
        del self._buffer[:end]
        self._inside = False
        return part

    def _enter(self) -> bool:
        """Goes on to behind the head of the next part; says whether it has come."""
        start = self._buffer.find(self._mark)
        if start < 0:
            del self._buffer[: max(0, len(self._buffer) - len(self._mark))]
            return False
        end = re.search(rb"\r?\n\r?\n", self._buffer[start : start + MAX_HEAD])
        if end is None:
            if len(self._buffer) - start > MAX_HEAD:
                raise SourceUnavailable("the stream's parts have heads that do not end")
            return False
        found = _LENGTH.search(self._buffer[start : start + end.start()])
        self._length = int(found[1]) if found else None
        del self._buffer[: start + end.end()]
        self._inside, self._searched = True, 0
        return True

    def _next_mark(self) -> int | None:
        at = self._buffer.find(self._mark, self._searched)
        if at < 0:
            self._searched = max(0, len(self._buffer) - len(self._mark))
            return None
        return at
