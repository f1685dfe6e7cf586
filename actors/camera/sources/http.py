"""Reads a camera over HTTP: JPEGs one after another (MJPEG), as they are, and all else through FFmpeg."""

from __future__ import annotations

import http.client
import time
import urllib.error
from collections import deque
from typing import Any
from urllib.parse import urlsplit

from actors.camera.sources.http_client import ReadDeadline, ask
from actors.camera.sources.jpeg import complete_jpeg
from actors.camera.sources.multipart import MultipartSplitter
from actors.camera.sources.network import login_refused, unavailable
from actors.camera.sources.playlist import is_hls
from actors.camera.sources.source import Grabbed, Packet, SourceUnavailable
from actors.camera.sources.stream import PATIENCE, NetworkStreamSource
from actors.camera.sources.tls import TlsTrust

_CHUNK = 256 * 1024
# So much of an answer says whether it is a playlist.
_BEGINNING = 64
# Pictures that came at once and wait to be grabbed; of more the oldest is dropped, since its time is over.
_WAITING = 3


class HttpSource:
    """One camera behind an HTTP address. It is reached directly, whatever proxies the environment names."""

    kind = "http"
    simulated = False
    paced = True

    def __init__(self, url: str, host: str, silence: float, trust: TlsTrust = TlsTrust()) -> None:  # noqa: B008 - frozen
        """`host` stands for the URL in what viewers may read; `silence` is in seconds."""
        self._url, self._host, self._silence = url, host, silence
        self._patience = silence * PATIENCE
        self._deadline = ReadDeadline(self._patience)
        self._trust = trust
        self._login = urlsplit(url).username is not None
        self._response: Any = None
        self._splitter: MultipartSplitter | None = None
        self._stream: NetworkStreamSource | None = None
        self._waiting: deque[tuple[float, bytes]] = deque(maxlen=_WAITING)

    @property
    def packets(self) -> str | None:
        """The codec of the packets that are given, if so."""
        return self._stream.packets if self._stream else "jpeg"

    def open(self) -> None:
        """Asks for the stream; raises SourceUnavailable."""
        try:
            self._deadline.renew()
            self._response = ask(self._url, self._deadline, self._trust)
        except urllib.error.HTTPError as fault:
            with fault:
                raise self._refused(fault.code) from None
        except urllib.error.URLError as fault:
            reason = fault.reason if isinstance(fault.reason, BaseException) else fault
            raise unavailable(self._host, reason, self._patience) from None
        except (OSError, ValueError, http.client.HTTPException) as fault:
            raise unavailable(self._host, fault, self._patience) from None
        head = self._response.headers
        boundary = head.get_boundary()
        if head.get_content_maintype() == "multipart" and boundary:
            self._splitter = MultipartSplitter(boundary)
            return
        hls = self._is_hls()
        self.close()
        self._stream = NetworkStreamSource("http", self._url, self._host, self._silence, trust=self._trust, hls=hls)
        # Both requests together take no longer than one may, so that the reason comes before the supervision ends the call.
        self._stream.open(max(self._deadline.left(), self._patience / 4))

    def grab(self, seq: int) -> Grabbed | None:
        """Waits for the next picture; raises BadPicture, and SourceUnavailable where the server ends or is silent."""
        if self._stream is not None:
            return self._stream.grab(seq)
        if not self._waiting:
            self._read()
        taken, part = self._waiting.popleft()
        data, width, height = complete_jpeg(part)
        return Packet("jpeg", data, taken, width, height)

    def close(self) -> None:
        """Hangs up."""
        if self._stream is not None:
            self._stream.close()
        if self._response is not None:
            self._response.close()
        self._response = None

    def _read(self) -> None:
        """Reads until a picture is there. A server that sends bytes but no picture is silent, too."""
        assert self._response is not None and self._splitter is not None
        heard = False
        self._deadline.renew()
        while not self._waiting:
            try:
                data = self._response.read1(_CHUNK)
            except TimeoutError as fault:
                if not heard:
                    raise unavailable(self._host, fault, self._patience) from None
                raise SourceUnavailable(f"{self._host} has sent no whole picture for {self._patience:.2g} s") from None
            except (OSError, ValueError, http.client.HTTPException) as fault:
                raise unavailable(self._host, fault, self._patience) from None
            heard = True
            if not data:
                raise SourceUnavailable(f"{self._host} ended the stream")
            self._waiting.extend((time.time() * 1000.0, part) for part in self._splitter.feed(data))

    def _is_hls(self) -> bool:
        """Whether the answer is a playlist of HLS. Raises SourceUnavailable for lists of other kinds."""
        try:
            return is_hls(self._response.read1(_BEGINNING))
        except (OSError, http.client.HTTPException) as fault:
            raise unavailable(self._host, fault, self._patience) from None
        except ValueError as other:
            raise SourceUnavailable(f"{self._host} sends {other}, which is not read") from None

    def _refused(self, code: int) -> SourceUnavailable:
        match code:
            case 401 | 403:
                return login_refused(self._host, self._login)
            case 404 | 410:
                return SourceUnavailable(f"{self._host} has no such stream")
            case 301 | 302 | 303 | 307 | 308:
                return SourceUnavailable(f"{self._host} sends on and on to other addresses")
        return SourceUnavailable(f"{self._host} answers with {code}")
