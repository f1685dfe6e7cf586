"""Reads what a playlist of HLS names, through this package's own HTTP client.

FFmpeg verifies the certificate of the server that gives the playlist, and none of those that give its segments: its demuxer
does not hand the options of TLS on.
"""

from __future__ import annotations

import urllib.error
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from actors.camera.sources.http_client import ReadDeadline, ask
from actors.camera.sources.network import login_refused, unavailable
from actors.camera.sources.source import SourceUnavailable
from actors.camera.sources.tls import TlsTrust

# FFmpeg keeps connections alive by means that only its own HTTP client has.
PLAYLIST_OPTIONS = {"http_persistent": "0", "http_multiple": "0"}


# How lists of files begin that FFmpeg would follow by itself, and what they are called.
_OTHER_LISTS = {b"<?xml": "an XML document", b"<MPD": "a DASH manifest", b"ffconcat": "a list of files"}


def is_hls(beginning: bytes) -> bool:
    """Whether an answer that begins like this is a playlist of HLS. Raises ValueError with the name of a list that is not read."""
    text = beginning.removeprefix(b"\xef\xbb\xbf").lstrip()
    for other, name in _OTHER_LISTS.items():
        if text.startswith(other):
            raise ValueError(name)
    return text.startswith(b"#EXTM3U")


class PlaylistFiles:
    """The playlist and its segments, opened for FFmpeg one by one."""

    def __init__(self, patience: float, trust: TlsTrust) -> None:
        """`patience` is how many seconds a server may be silent."""
        self._patience, self._trust = patience, trust
        self._open: set[_PlaylistFile] = set()

    def open(self, url: str, flags: int, options: Mapping[str, str]) -> _PlaylistFile:
        """Opens one file for reading; PyAV calls it. Raises SourceUnavailable, whose text is one for viewers."""
        url = url.removeprefix("crypto+")
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https"):
            raise SourceUnavailable("the playlist names something that is not read over HTTP, or is encrypted")
        host = parts.netloc.rpartition("@")[2]
        deadline = ReadDeadline(self._patience)
        try:
            answer = ask(url, deadline, self._trust, _range(options))
        except urllib.error.HTTPError as fault:
            with fault:
                if fault.code in (401, 403):
                    raise login_refused(host, parts.username is not None) from None
            # A segment that has left a live playlist meanwhile is passed over.
            answer = None
        except urllib.error.URLError as fault:
            reason = fault.reason if isinstance(fault.reason, BaseException) else fault
            raise unavailable(host, reason, self._patience) from None
        except OSError as fault:
            raise unavailable(host, fault, self._patience) from None
        opened = _PlaylistFile(answer, deadline, self._open)
        self._open.add(opened)
        return opened

    def close(self) -> None:
        """Hangs up wherever something is still being read."""
        for each in tuple(self._open):
            each.close()


class _PlaylistFile:
    """One answer as a file that cannot seek. PyAV reads it; `read` gives b"" at the end."""

    def __init__(self, answer: Any, deadline: ReadDeadline, among: set[_PlaylistFile]) -> None:
        self._answer, self._deadline, self._among = answer, deadline, among

    def read(self, size: int) -> bytes:
        if self._answer is None:
            return b""
        self._deadline.renew()
        data: bytes = self._answer.read1(size)
        return data

    def close(self) -> None:
        self._among.discard(self)
        if self._answer is not None:
            self._answer.close()
        self._answer = None


def _range(options: Mapping[str, str]) -> Mapping[str, str]:
    """The header for the part of a file that a playlist names (EXT-X-BYTERANGE)."""
    begin, end = int(options.get("offset") or 0), int(options.get("end_offset") or 0)
    if not begin and not end:
        return {}
    return {"Range": f"bytes={begin}-{end - 1 if end else ''}"}
