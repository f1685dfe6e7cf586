"""The values of a request: its destination with TLS and proxy, and the exchange with its answer and timing."""

from __future__ import annotations

import asyncio
import math
import ssl
import time
from collections.abc import Hashable, Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, NamedTuple

import aiohttp
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.tracing import Trace
from yarl import URL

from edge.sessions.endpoint.certificates import ClientCertificate, load_into
from edge.webhooks.client.answer import MAX_EXCERPT, ResponseReader
from edge.webhooks.client.outcome import Timing
from edge.webhooks.client.proxy import Proxy
from edge.webhooks.client.wire import Wire
from edge.webhooks.shortage import Resolver

# Once the status line has come, the body is awaited for so long, for the attempt log and so that the connection can be kept.
BODY_SECONDS = 2.0
# The exchange that a connection is being opened for: aiohttp calls the socket factory and TLS without it.
current: ContextVar[Exchange | None] = ContextVar("exchange", default=None)


class Destination(aiohttp.ClientRequest):
    """Where requests go. It holds nothing of a single request, so that all may share it."""

    def __init__(self, url: URL, tls: Tls | None = None, proxy: Proxy | None = None) -> None:
        """`tls` is for a receiver that needs a certificate or authorities of its own; `proxy` is on the way to it."""
        super().__init__("POST", url, loop=asyncio.get_running_loop(), ssl=True if tls is None else tls.context)
        self._key = super().connection_key
        # aiohttp has a `proxy` of its own, which its connector would use.
        self.via = proxy
        self.to_proxy = None if proxy is None else Destination(proxy.url)
        # Connections are shared by destinations with the same host, certificates and proxy.
        self.pool: Hashable = (url.scheme, url.raw_host, url.port, tls.key if tls is not None else None, proxy)
        self._limits = aiohttp.ClientTimeout()

    @property
    def connection_key(self) -> ConnectionKey:
        return self._key

    def limits(self, seconds: float) -> aiohttp.ClientTimeout:
        """The timeout of opening a connection."""
        seconds = max(0.001, round(seconds, 3))  # 0 would be for ever
        if self._limits.connect != seconds:
            # Not rounded up to whole seconds, as aiohttp does with long ones.
            self._limits = aiohttp.ClientTimeout(connect=seconds, ceil_threshold=math.inf)
        return self._limits


class Exchange(Trace):
    """A request and its answer: its address and the times of its phases; what did not happen stays 0 or empty.

    Times are seconds of the monotonic clock: a loop's own may stand still for a tick. aiohttp reports the phases of
    opening a connection to it.
    """

    def __init__(self, begun: float, deadline: float) -> None:
        # The base class is not initialised: its signals go to a session.
        self.begun = begun
        self.deadline = deadline

    # Most of it stays as it is here where an idle connection is used.
    resolving = dns = connecting = shaking = connected = sent = heard = 0.0
    address = ""
    status = 0
    headers: Mapping[str, str] = MappingProxyType({})
    head = b""
    wire: Wire | None = None
    answer: ResponseReader | None = None
    # Whether the head has come, and only the rest of the body is waited for.
    decided = False
    resolver: Resolver | None = None
    # How much of the answer's body is kept.
    keep = MAX_EXCERPT
    # Whether the connection that is being opened leads to a proxy from this server's settings.
    trusted = False

    def check(self, now: float) -> None:
        """Ends the wait for the receiver where the deadline has passed."""
        if not self.decided and self.answer is not None and self.answer.has_head:
            self.decided = True
            self.deadline = min(self.deadline, now + BODY_SECONDS)
        if self.deadline <= now and self.wire is not None:
            self.wire.expire()

    def timing(self, now: float) -> Timing:
        """The time that each phase took until now."""
        first_byte = _ms(self.heard - self.sent) if self.heard else 0.0
        if not self.connecting:
            return Timing(0.0, 0.0, 0.0, first_byte, _ms(now - self.begun))
        ready = self.connected or now
        shaken = self.shaking or ready
        return Timing(
            dns=_ms(self.dns),
            connect=_ms(shaken - self.connecting - self.dns),
            tls=_ms(ready - self.shaking) if self.shaking else 0.0,
            first_byte=first_byte,
            total=_ms(now - self.begun),
        )

    async def send_connection_create_start(self) -> None:
        self.connecting = time.monotonic()
        current.set(self)

    async def send_connection_create_end(self) -> None:
        self.connected = time.monotonic()

    async def send_dns_resolvehost_start(self, host: str) -> None:
        self.resolving = time.monotonic()

    async def send_dns_resolvehost_end(self, host: str) -> None:
        self.dns = time.monotonic() - self.resolving
        if self.resolver is not None:
            self.resolver.answered()

    async def send_dns_cache_hit(self, host: str) -> None:
        """Needs no time."""

    async def send_dns_cache_miss(self, host: str) -> None:
        """Is followed by the question itself."""

    async def send_connection_reuseconn(self) -> None:
        """Needs no time."""


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3) if seconds > 0 else 0.0


class _Tls(ssl.SSLContext):
    """A client context that notes when a handshake begins, which is when the connection itself is open."""

    def wrap_bio(self, *args: Any, **options: Any) -> ssl.SSLObject:
        exchange = current.get()
        if exchange is not None:
            exchange.shaking = time.monotonic()
        return super().wrap_bio(*args, **options)


class Tls(NamedTuple):
    """A context for receivers that need a certificate or authorities of their own, and what it was made of."""

    key: Hashable
    context: ssl.SSLContext


def make_tls(certificate: ClientCertificate | None = None, ca: str = "") -> ssl.SSLContext:
    """Makes a context for connections to receivers. Raises ssl.SSLError."""
    context = _Tls(ssl.PROTOCOL_TLS_CLIENT)
    load_into(context, certificate, ca)
    context.set_alpn_protocols(["http/1.1"])
    return context
