"""Distinguishes shortages of this process, such as of file descriptors, from faults of the receiver.

An attempt that fails because of a shortage says nothing about its receiver: it is postponed, counts as no attempt, and does
not reach the circuit breaker.
"""

from __future__ import annotations

import errno
import re
import resource
import socket
import time
from collections.abc import Callable

import aiohttp

# What is short, by the error that says so.
ERRNOS = {
    errno.EMFILE: "descriptors",
    errno.ENFILE: "descriptors",
    errno.ENOBUFS: "memory",
    errno.ENOMEM: "memory",
    # Every local port that could lead to this address is in use.
    errno.EADDRNOTAVAIL: "ports",
}
REASONS = ("descriptors", "memory", "ports", "resolver", "proxy", "address")
_TEXTS = {
    "descriptors": "this process has no file descriptor left",
    "memory": "this machine has no memory left for a socket",
    "ports": "this machine has no local port left for this address",
    "resolver": "this machine's name resolver does not answer",
    "proxy": "the proxy of this server cannot be used",
}
# Where several addresses were tried: no route in one family does not matter beside a shortage in the other.
_NO_ROUTE = frozenset({errno.ENETUNREACH, errno.EAFNOSUPPORT})
_ERRNO = re.compile(r"\[Errno (\d+)\]")
# So many names in a row that cannot be looked up for now, and none that can: then the resolver does not answer.
SILENT_NAMES = 3
_NAMES = 64
# Half of the descriptors, since clients, NATS and files need some; and what that is where there is no limit.
SHARE, MAX_CONNECTIONS = 0.5, 65_536
MIN_CONNECTIONS = 8


def connection_limit(wanted: int = 0) -> int:
    """How many connections to receivers a process may have: what is wanted, or half of its file descriptors."""
    if wanted > 0:
        return wanted
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    return max(MIN_CONNECTIONS, min(int(soft * SHARE), MAX_CONNECTIONS))


class Shortage(OSError):
    """this process lacks something, and the receiver was not asked"""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(detail or _TEXTS.get(reason, reason))
        self.reason = reason


class ProxyFailed(OSError):
    """the proxy cannot be used"""

    def __init__(self, detail: str, status: int = 0) -> None:
        super().__init__(detail)
        self.status = status


def shortage_of(fault: BaseException) -> str:
    """What this machine lacks if that is why a connection failed, one of REASONS; "" where it is not."""
    if isinstance(fault, Shortage):
        return fault.reason
    cause: BaseException = fault
    if isinstance(fault, aiohttp.ClientConnectorError):
        cause = fault.os_error
        if isinstance(cause, Shortage):
            return cause.reason
    if isinstance(fault, aiohttp.ClientConnectorDNSError) and not _has_descriptors():
        # What the C library says where it can open neither a socket nor its own files depends on its configuration.
        return "descriptors"
    if not isinstance(cause, OSError) or isinstance(cause, socket.gaierror):
        return ""
    if cause.errno is not None:
        return ERRNOS.get(cause.errno, "")
    # Several addresses were tried, and each has an error of its own.
    numbers = {int(number) for number in _ERRNO.findall(str(cause))}
    ours = [ERRNOS[number] for number in numbers if number in ERRNOS]
    return ours[0] if ours and all(number in ERRNOS or number in _NO_ROUTE for number in numbers) else ""


def _has_descriptors() -> bool:
    try:
        socket.socket(socket.AF_UNIX).close()
    except OSError as fault:
        return fault.errno not in ERRNOS
    return True


class Resolver:
    """Distinguishes a name that cannot be looked up from a resolver that does not answer at all."""

    def __init__(self) -> None:
        self._silent: dict[str, None] = {}

    def answered(self) -> None:
        """Notes that a name was looked up."""
        self._silent.clear()

    def is_away(self, host: str, fault: OSError) -> bool:
        """Whether the look-up of a name failed because the resolver does not answer."""
        if not isinstance(fault, socket.gaierror) or fault.errno != socket.EAI_AGAIN:
            if isinstance(fault, socket.gaierror) and fault.errno == socket.EAI_NONAME:
                self.answered()
            return False
        if len(self._silent) < _NAMES:
            self._silent[host] = None
        return len(self._silent) >= SILENT_NAMES


class Shortages:
    """The recent shortages of this process, for `/readyz` and `callboard doctor`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: dict[str, float] = {}

    def note(self, reason: str) -> None:
        """Notes a shortage."""
        self._last[reason] = self._clock()

    def recent(self, seconds: float = 600.0) -> dict[str, float]:
        """The shortages within so many seconds, and how many seconds ago each was last."""
        now = self._clock()
        return {reason: round(now - at, 1) for reason, at in self._last.items() if now - at <= seconds}


shortages = Shortages()
