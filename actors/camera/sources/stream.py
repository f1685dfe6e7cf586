"""Reads a live stream from a server through FFmpeg: RTSP, and whatever FFmpeg reads over HTTP."""

from __future__ import annotations

import errno
import time
from collections.abc import Mapping
from urllib.parse import urlsplit

from actors.camera.sources.media import FAULTS, MediaReader
from actors.camera.sources.network import CaptureClock, unavailable
from actors.camera.sources.playlist import PLAYLIST_OPTIONS, PlaylistFiles
from actors.camera.sources.source import Grabbed, SourceUnavailable
from actors.camera.sources.tls import TlsTrust

# What of the silence that the camera tolerates FFmpeg may use, so that its own answer, with the reason, comes first.
PATIENCE = 0.7

# 0.3 s of the stream are looked at before the first picture: what is needed stands in the head of an RTSP stream.
_ANALYZED = "300000"

_TLS_PORTS = {"rtsps": 322, "https": 443}


class NetworkStreamSource:
    """One live stream. Its packets are passed through where they are H.264 without B-frames, or JPEG."""

    simulated = False
    paced = True

    def __init__(
        self,
        kind: str,
        url: str,
        host: str,
        silence: float,
        transport: str | None = None,
        trust: TlsTrust = TlsTrust(),  # noqa: B008 - frozen
        hls: bool = False,
    ) -> None:
        """`host` stands for the URL in what viewers may read; `silence` is in seconds, `transport` "tcp" or "udp".

        `hls` says that the URL gives a playlist of HLS.
        """
        self.kind = kind
        self._url, self._host = url, host
        self._patience = silence * PATIENCE
        self._transport, self._trust = transport, trust
        self._files = PlaylistFiles(self._patience, trust) if hls else None
        self._login = urlsplit(url).username is not None
        self._reader: MediaReader | None = None
        self._clock = CaptureClock()
        self._whole = 0.0  # when the last picture came that was

    @property
    def packets(self) -> str | None:
        """The codec of the packets that are given, if so."""
        return self._reader.packets if self._reader else None

    def open(self, within: float | None = None) -> None:
        """Connects within so many seconds, and learns what the stream is; raises SourceUnavailable."""
        try:
            self._reader = MediaReader(
                self._url,
                self._options(),
                (within or self._patience, self._patience),
                lossy=self._transport == "udp",
                format="hls" if self._files is not None else None,
                io_open=self._files.open if self._files is not None else None,
            )
        except FAULTS as fault:
            raise unavailable(self._host, self._cause(fault), self._patience, self._login) from None
        self._whole = time.monotonic()

    def grab(self, seq: int) -> Grabbed | None:
        """Waits for the next picture or packet; raises SourceUnavailable where the server ends the stream or is silent."""
        assert self._reader is not None
        begun = time.monotonic()
        try:
            shot = self._reader.next()
        except FAULTS as fault:
            raise unavailable(self._host, fault, self._patience, self._login) from None
        if time.monotonic() - begun >= self._patience:
            # FFmpeg gives what its parser still held, and would wait as long again before it tells.
            raise unavailable(self._host, TimeoutError(), self._patience)
        if shot is None:
            raise SourceUnavailable(f"{self._host} ended the stream")
        if shot.frame is not None or shot.data:
            self._whole = time.monotonic()
        elif self._transport == "udp" and time.monotonic() - self._whole > self._patience:
            raise SourceUnavailable(
                f"{self._host} has sent no whole picture for {self._patience:.2g} s; UDP loses packets"
            )
        return shot.made(self._clock.time_of(shot.position))

    def close(self) -> None:
        """Says goodbye to the server."""
        if self._reader is not None:
            self._reader.close()
        self._reader = None
        if self._files is not None:
            self._files.close()

    def _cause(self, fault: BaseException) -> BaseException:
        """What is wrong with the certificate, where it is that: FFmpeg says of it only that it could not read."""
        url = urlsplit(self._url)
        if url.scheme not in _TLS_PORTS or getattr(fault, "errno", None) != errno.EIO:
            return fault
        return self._trust.fault(url.hostname or "", url.port or _TLS_PORTS[url.scheme], self._patience) or fault

    def _options(self) -> Mapping[str, str]:
        microseconds = str(round(self._patience * 1_000_000))
        trust = self._trust.ffmpeg_options() if urlsplit(self._url).scheme in _TLS_PORTS else {}
        if self._url.startswith(("rtsp:", "rtsps:")):
            return {
                "rtsp_transport": self._transport or "tcp",
                "timeout": microseconds,
                "analyzeduration": _ANALYZED,
                "allowed_media_types": "video",
                "protocol_whitelist": "rtsp,rtsps,rtp,tcp,udp,tls,crypto",
                **trust,
            }
        if self._files is not None:
            return PLAYLIST_OPTIONS
        return {"rw_timeout": microseconds, "protocol_whitelist": "http,https,tcp,tls,crypto", **trust}
