"""Asks an HTTP server for a stream: with a login (basic or digest), over TLS, and within a time that nothing prolongs.

A timeout of a socket begins anew with each byte, so a server that sends one a second would never time out. Here all reads of
one answer share a deadline.
"""

from __future__ import annotations

import functools
import hashlib
import http.client
import io
import socket
import time
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from actors.camera.sources.tls import TlsTrust

# Few are left of the redirects that browsers follow; each costs the server's patience.
_REDIRECTS = 3
_HASHES: dict[str, Callable[[bytes], Any]] = {"MD5": hashlib.md5, "SHA": hashlib.sha1, "SHA-256": hashlib.sha256}


class ReadDeadline:
    """When what is done now has to be done. Raises TimeoutError once that is over."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.renew()

    def renew(self) -> None:
        """Begins anew."""
        self._end = time.monotonic() + self._seconds

    def left(self) -> float:
        """Seconds that are left, more than none."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


class _TimedReads(io.RawIOBase):
    """Reads from a socket until the deadline."""

    def __init__(self, connection: socket.socket, raw: Any, deadline: ReadDeadline) -> None:
        self._socket, self._raw, self._deadline = connection, raw, deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._socket.settimeout(self._deadline.left())
        read: int | None = self._raw.readinto(buffer)
        return read

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Answer(http.client.HTTPResponse):
    def __init__(self, connection: socket.socket, *args: Any, deadline: ReadDeadline, **more: Any) -> None:
        super().__init__(connection, *args, **more)
        self.fp.close()
        raw = connection.makefile("rb", buffering=0)
        self.fp = io.BufferedReader(_TimedReads(connection, raw, deadline))


class _Timed:
    """Connects within what is left of the deadline. It is to be mixed into a connection."""

    deadline: ReadDeadline
    timeout: float | None

    def connect(self) -> None:
        self.timeout = self.deadline.left()
        super().connect()  # type: ignore[misc]


class _Plain(_Timed, http.client.HTTPConnection):
    pass


class _Secure(_Timed, http.client.HTTPSConnection):
    pass


def _connection(kind: Any, deadline: ReadDeadline, **more: Any) -> Callable[..., Any]:
    def connect(host: str, **given: Any) -> Any:
        made = kind(host, **given, **more)
        made.deadline = deadline
        made.response_class = functools.partial(_Answer, deadline=deadline)
        return made

    return connect


class _Http(urllib.request.HTTPHandler):
    def __init__(self, deadline: ReadDeadline) -> None:
        super().__init__()
        self._deadline = deadline

    def http_open(self, request: Any) -> Any:
        return self.do_open(_connection(_Plain, self._deadline), request)


class _Https(urllib.request.HTTPSHandler):
    def __init__(self, deadline: ReadDeadline, trust: TlsTrust) -> None:
        super().__init__()
        self._deadline, self._trust = deadline, trust

    def https_open(self, request: Any) -> Any:
        secure = _connection(_Secure, self._deadline, context=self._trust.context())
        return self.do_open(secure, request)


class _Redirects(urllib.request.HTTPRedirectHandler):
    max_redirections = _REDIRECTS
    max_repeats = _REDIRECTS


class _OneLogin:
    """Answers the demand for a login once: one that is wrong is not tried again, since a camera may lock it out."""

    def http_error_401(self, request: Any, answer: Any, code: int, message: str, headers: Any) -> Any:
        """Asks again, with the login; None where there is none of this kind, or where it was refused."""
        challenge = str(headers.get("www-authenticate", "")).lower()
        if request.has_header("Authorization") and "stale=true" not in challenge.replace('"', ""):
            return None
        try:
            again = super().http_error_401(request, answer, code, message, headers)  # type: ignore[misc]
        except ValueError:
            return None  # a login of another kind
        except BaseException:
            answer.close()
            raise
        if again is not None:
            answer.close()  # which urllib leaves to the garbage collector
        return again


class _BasicLogin(_OneLogin, urllib.request.HTTPBasicAuthHandler):
    pass


class _DigestLogin(_OneLogin, urllib.request.HTTPDigestAuthHandler):
    def get_algorithm_impls(self, algorithm: str) -> Any:
        """The hash of RFC 7616 that a server asks for, in UTF-8; urllib knows no SHA-256."""
        if (hashed := _HASHES.get(algorithm.upper())) is None:
            raise ValueError("the server wants a digest of another kind")

        def digest(text: str) -> str:
            return str(hashed(text.encode()).hexdigest())

        return digest, lambda secret, text: digest(f"{secret}:{text}")


def ask(url: str, deadline: ReadDeadline, trust: TlsTrust, headers: Mapping[str, str] = {}) -> Any:
    """Asks for a URL and gives the answer, of which the head has come. Raises what urllib raises.

    The server is reached directly, whatever proxies the environment names; nothing but HTTP is followed.
    """
    parts = urlsplit(url)
    plain = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    logins = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    if parts.username is not None:
        logins.add_password(None, plain, unquote(parts.username), unquote(parts.password or ""))
    opener = urllib.request.OpenerDirector()
    for handler in (
        _Http(deadline),
        _Https(deadline, trust),
        _Redirects(),
        _BasicLogin(logins),
        _DigestLogin(logins),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener.open(
        urllib.request.Request(plain, headers={"User-Agent": "callboard", **headers}), timeout=deadline.left()
    )
