"""Reads a camera over HTTP: JPEGs one after another (MJPEG), as they are, and all else through FFmpeg."""

from __future__ import annotations

import http.client
import ssl
import time
import urllib.error
import urllib.request
from collections import deque
from typing import Any
from urllib.parse import unquote, urlsplit

from actors.camera.sources.jpeg import complete_jpeg
from actors.camera.sources.multipart import MultipartSplitter
from actors.camera.sources.network import unavailable
from actors.camera.sources.source import Grabbed, Packet, SourceUnavailable
from actors.camera.sources.stream import PATIENCE, NetworkStreamSource

_CHUNK = 256 * 1024
# Pictures that came at once and wait to be grabbed; of more the oldest is dropped, since its time is over.
_WAITING = 3


class _Closing:
    """Closes the answer that asked for a login once it is answered, which urllib leaves to the garbage collector."""

    def http_error_401(self, request: Any, answer: Any, code: int, message: str, headers: Any) -> Any:
        """Asks again, with the login; None where there is none of this kind."""
        try:
            again = super().http_error_401(request, answer, code, message, headers)  # type: ignore[misc]
        except BaseException:
            answer.close()
            raise
        if again is not None:
            answer.close()
        return again


class _BasicLogin(_Closing, urllib.request.HTTPBasicAuthHandler):
    pass


class _DigestLogin(_Closing, urllib.request.HTTPDigestAuthHandler):
    pass


class HttpSource:
    """One camera behind an HTTP address. It is reached directly, whatever proxies the environment names."""

    kind = "http"
    simulated = False
    paced = True

    def __init__(self, url: str, host: str, silence: float) -> None:
        """`host` stands for the URL in what viewers may read; `silence` is in seconds."""
        self._url, self._host, self._silence = url, host, silence
        self._patience = silence * PATIENCE
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
            self._response = self._ask()
        except urllib.error.HTTPError as fault:
            with fault:
                raise SourceUnavailable(f"{self._host} {_answer(fault.code)}") from None
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
        self.close()
        self._stream = NetworkStreamSource("http", self._url, self._host, self._silence)
        self._stream.open()

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

    def _ask(self) -> Any:
        url = urlsplit(self._url)
        plain = url._replace(netloc=url.netloc.rpartition("@")[2]).geturl()
        logins = urllib.request.HTTPPasswordMgrWithDefaultRealm()
        if url.username is not None:
            logins.add_password(None, plain, unquote(url.username), unquote(url.password or ""))
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}),
            _BasicLogin(logins),
            _DigestLogin(logins),
            urllib.request.HTTPSHandler(context=ssl.create_default_context()),
        )
        return opener.open(urllib.request.Request(plain, headers={"User-Agent": "callboard"}), timeout=self._patience)

    def _read(self) -> None:
        """Reads until a picture is there. A server that sends bytes but no picture is silent, too."""
        assert self._response is not None and self._splitter is not None
        begun = time.monotonic()
        while not self._waiting:
            try:
                data = self._response.read1(_CHUNK)
            except (OSError, ValueError, http.client.HTTPException) as fault:
                raise unavailable(self._host, fault, self._patience) from None
            if not data:
                raise SourceUnavailable(f"{self._host} ended the stream")
            self._waiting.extend((time.time() * 1000.0, part) for part in self._splitter.feed(data))
            if not self._waiting and time.monotonic() - begun > self._patience:
                raise SourceUnavailable(f"{self._host} has sent no whole picture for {self._patience:.2g} s")


def _answer(code: int) -> str:
    match code:
        case 401 | 403:
            return "refuses the login"
        case 404 | 410:
            return "has no such stream"
    return f"answers with {code}"
