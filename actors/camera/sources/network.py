"""Says in one line, without passwords, why a server on the network gives no pictures; and when its pictures were taken."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable

import av

from actors.camera.sources.media import NoVideo
from actors.camera.sources.source import LoginRefused, SourceUnavailable

# Timestamps of the stream are trusted over arrival times until the two are this far apart.
MAX_DRIFT = 1.0

# X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH.
_OTHER_NAME = (62, 64)


def login_refused(host: str, login: bool) -> LoginRefused:
    """Makes the error of a server that wants a login, or another one than was given."""
    return LoginRefused(f"{host} {'refuses the login' if login else 'wants a login, and the address has none'}")


def unavailable(host: str, fault: BaseException, patience: float, login: bool = True) -> SourceUnavailable:
    """Makes the error for a viewer; FFmpeg's own texts hold the whole URL with its password, and are left out.

    `login` says whether the address has one.
    """
    match fault:
        case NoVideo():
            why = "sends no video"
        case ConnectionRefusedError():
            why = "refuses the connection"
        case av.error.HTTPUnauthorizedError() | av.error.HTTPForbiddenError() | PermissionError():
            return login_refused(host, login)
        case av.error.HTTPNotFoundError():
            why = "has no such stream"
        case TimeoutError() | av.error.ExitError():
            why = f"has sent nothing for {patience:.2g} s"
        case av.error.EOFError() | EOFError() | ConnectionError():
            why = "ended the stream"
        case socket.gaierror():
            why = "is no name that can be resolved"
        case ssl.SSLCertVerificationError():
            why = f"shows a certificate that is not trusted ({_verdict(fault)})"
        case ssl.SSLError():
            why = "does not speak TLS"
        case av.error.InvalidDataError():
            why = "sends nothing that FFmpeg can read"
        case _:
            why = "cannot be reached or answers in a way that is not understood"
    return SourceUnavailable(f"{host} {why}")


def _verdict(fault: ssl.SSLCertVerificationError) -> str:
    """What OpenSSL finds wrong with a certificate; of a name that does not match, its text repeats the name."""
    return "it is for another name" if fault.verify_code in _OTHER_NAME else fault.verify_message


class CaptureClock:
    """Gives pictures of a live stream the times at which they were taken, by the stream's clock as seen from ours.

    Packets arrive late by more or less; the stream's own timestamps tell their distances, and the earliest arrival so far
    tells where they lie on our clock.
    """

    def __init__(self, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self._offset: float | None = None
        self._seen = 0.0
        self._last = 0.0

    def time_of(self, position: float | None) -> float:
        """The time in ms since the epoch of what has just come; each is later than the one before."""
        now = self._wall()
        taken = now
        if position is not None:
            late = 0.0 if self._offset is None else now - position - self._offset
            if self._offset is None or late < 0 or late > MAX_DRIFT:
                self._offset = now - position
            else:
                # 1 ms a second: two clocks never run alike.
                self._offset += min(late, 0.001 * max(0.0, now - self._seen))
            taken = position + self._offset
        self._seen = now
        self._last = max(taken * 1000.0, self._last + 0.1)
        return self._last
