"""Sends requests to receivers over pooled connections: aiohttp's connector makes them, a parser of our own reads the answers.

A post has no redirects, cookies or forms, and its bytes are there already. What `aiohttp.ClientSession` does about all of
them costs three times as much as what is needed (ops/adr/0013); its parser refuses answers that other clients take
(ops/adr/0031).
"""

from __future__ import annotations

import asyncio
import math
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable, Hashable, Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, NamedTuple, cast

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.connector import Connection
from aiohttp.tracing import Trace
from yarl import URL

from edge.webhooks import metrics
from edge.webhooks.answer import Answer, BadAnswer
from edge.webhooks.outcome import Timing
from edge.webhooks.shortage import Resolver, Shortage, connection_limit, shortage_of, shortages
from edge.webhooks.tls import ClientCertificate, load_into
from edge.webhooks.wire import Wire

# The status line has decided; the body is waited for so long, for the attempt log and so that the connection can be kept.
BODY_SECONDS = 2.0
# Receivers close idle connections after a minute or more; half of that is safe.
KEEPALIVE_SECONDS = 30.0
# After something was missing here no new connection is tried for so long: the attempts would only cost time.
SHORTAGE_SECONDS = 0.25
# How often it is looked whether a receiver takes too long.
LOOK_SECONDS = 0.05
# What a name resolved to is good for so long.
NAMES_SECONDS = 10
# Up to this much goes out as one piece with its headers; a larger body is not copied for that.
ONE_PIECE = 64 * 1024

# The exchange that a connection is being made for, for those who are called without a word of it.
_exchange: ContextVar[Exchange | None] = ContextVar("exchange", default=None)


class Destination(aiohttp.ClientRequest):
    """Where requests go. It holds nothing of any one of them, so that all may share it."""

    def __init__(self, url: URL, tls: Tls | None = None) -> None:
        """`tls` is for a receiver that needs a certificate or authorities of its own."""
        super().__init__("POST", url, loop=asyncio.get_running_loop(), ssl=True if tls is None else tls.context)
        self._key = super().connection_key
        # Whose connections may carry its requests, too: those to the same place with the same certificates.
        self.pool: Hashable = (url.scheme, url.raw_host, url.port, tls.key if tls is not None else None)
        self._limits = aiohttp.ClientTimeout()

    @property
    def connection_key(self) -> ConnectionKey:
        return self._key

    def limits(self, seconds: float) -> aiohttp.ClientTimeout:
        """For a connection that is there in so many seconds, or not at all."""
        seconds = max(0.001, round(seconds, 3))  # 0 would be for ever
        if self._limits.connect != seconds:
            # Not rounded up to whole seconds, as aiohttp does with long ones.
            self._limits = aiohttp.ClientTimeout(connect=seconds, ceil_threshold=math.inf)
        return self._limits


class Exchange(Trace):
    """A request and its answer: what came, from whom, and when; what did not happen stays 0 or empty.

    Times are seconds of the monotonic clock: a loop's own may stand still for a tick. aiohttp tells it how far a connection has
    come that is being made.
    """

    def __init__(self, begun: float, deadline: float) -> None:
        # Without a word to the base class, whose signals go to a session.
        self.begun = begun
        self.deadline = deadline

    # Most of it stays as it is here: a connection that was kept is not made.
    resolving = dns = connecting = shaking = connected = sent = heard = 0.0
    address = ""
    status = 0
    headers: Mapping[str, str] = MappingProxyType({})
    head = b""
    wire: Wire | None = None
    answer: Answer | None = None
    # Whether the head has come, and only the rest of the body is waited for.
    decided = False
    resolver: Resolver | None = None

    def check(self, now: float) -> None:
        """Ends the wait for the receiver where its time is up."""
        if not self.decided and self.answer is not None and self.answer.has_head:
            self.decided = True
            self.deadline = min(self.deadline, now + BODY_SECONDS)
        if self.deadline <= now and self.wire is not None:
            self.wire.expire()

    def timing(self, now: float) -> Timing:
        """Where the time went until now."""
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
        _exchange.set(self)

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
    """As every client has it; and notes when a handshake begins, which is when the connection itself is there."""

    def wrap_bio(self, *args: Any, **options: Any) -> ssl.SSLObject:
        exchange = _exchange.get()
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


class Links:
    """The connections of a process to receivers."""

    def __init__(self, make_socket: Callable[[tuple[Any, ...]], socket.socket], limit: int = 0) -> None:
        """`make_socket` is called with each address just before it is connected to, and may refuse it with an OSError.

        At most `limit` connections are open at once, the idle ones included; 0 for half of the file descriptors.
        """

        def noted(info: tuple[Any, ...]) -> socket.socket:
            if (exchange := _exchange.get()) is not None:
                exchange.address = str(info[4][0])
            return make_socket(info)

        self.limit = connection_limit(limit)
        self._loop = asyncio.get_running_loop()
        # No limit of its own: `reserve` keeps to ours.
        self._connector = _Connector(limit=0, socket_factory=noted, ttl_dns_cache=NAMES_SECONDS, ssl=make_tls())
        # Idle connections, and since when: the one that was used last is taken first.
        self._resting: dict[Hashable, deque[tuple[Connection, float]]] = {}
        self._idle = 0
        # Connections that are in use or being made, and those who wait for a place.
        self._used = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._resolver = Resolver()
        self._short_until = 0.0
        self._under_way: set[Exchange] = set()
        self._looking: asyncio.TimerHandle | None = None
        self._sweeping: asyncio.TimerHandle | None = None

    async def close(self) -> None:
        """Hangs up on everybody."""
        for timer in (self._looking, self._sweeping):
            if timer is not None:
                timer.cancel()
        for resting in self._resting.values():
            for connection, _ in resting:
                _abort(connection)
        self._resting.clear()
        self._idle = 0
        await self._connector.close()

    async def reserve(self, destination: Destination) -> Connection | None:
        """Waits for a place for one connection, which `ask` or `release` gives back; gives a kept connection if there is one.

        The wait is for this process alone, so that it is no part of an attempt's time. Raises Shortage.
        """
        if self._used < self.limit:
            self._used += 1
        else:
            await self._wait()
        kept = self._rested(destination)
        if kept is None:
            if time.monotonic() < self._short_until:
                self.release()
                raise Shortage("descriptors")
            if self._used + self._idle > self.limit:
                self._drop_idle()
        return kept

    async def _wait(self) -> None:
        """Waits until somebody hands a place over."""
        place = self._loop.create_future()
        self._waiting.append(place)
        metrics.waiting.inc()
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self.release()
            raise
        finally:
            metrics.waiting.dec()

    def release(self) -> None:
        """Gives a place back, or to whoever has waited longest."""
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                return
        self._used -= 1

    async def ask(
        self, destination: Destination, kept: Connection | None, head: bytes, body: bytes, exchange: Exchange
    ) -> None:
        """Sends a request in the place that `reserve` gave, and writes what becomes of it to `exchange`.

        A kept connection that ends before one byte of an answer was most likely closed by the receiver for being idle: the
        request is sent again at once, once, on a new connection (RFC 9112, 9.3.1).

        Raises aiohttp.ClientError, BadAnswer, Shortage, TimeoutError or another OSError; the connection is gone then.
        """
        try:
            if kept is not None:
                try:
                    await self._talk(destination, kept, head, body, exchange)
                    return
                except TimeoutError:
                    raise
                except OSError as fault:
                    if exchange.heard or shortage_of(fault):
                        raise
                    metrics.reconnects.inc()
                    exchange.sent = 0.0
            await self._talk(destination, await self._connect(destination, exchange), head, body, exchange)
        except (aiohttp.ClientError, OSError) as fault:
            if reason := self._shortage(destination, fault):
                shortages.note(reason)
                raise Shortage(reason) from fault
            raise
        finally:
            self.release()

    def _shortage(self, destination: Destination, fault: Exception) -> str:
        reason = shortage_of(fault)
        if reason in ("descriptors", "memory"):
            self._short_until = time.monotonic() + SHORTAGE_SECONDS
            # Idle connections help nobody now.
            for _ in range(self._idle):
                self._drop_idle()
        if (
            not reason
            and isinstance(fault, aiohttp.ClientConnectorDNSError)
            and self._resolver.is_away(destination.host, fault.os_error)
        ):
            return "resolver"
        return reason

    def _rested(self, destination: Destination) -> Connection | None:
        """A connection that was kept, and can be trusted still."""
        resting = self._resting.get(destination.pool)
        while resting:
            connection, since = resting.pop()
            self._idle -= 1
            if not resting:
                del self._resting[destination.pool]
            if _wire(connection).is_connected() and time.monotonic() - since < KEEPALIVE_SECONDS:
                return connection
            _abort(connection)
        return None

    def _drop_idle(self) -> None:
        """Closes the idle connection that is needed least: the oldest of a destination that has been idle for long."""
        if not self._resting:
            return
        key, resting = next(iter(self._resting.items()))
        _abort(resting.popleft()[0])
        self._idle -= 1
        if not resting:
            del self._resting[key]

    def _rest(self, destination: Destination, connection: Connection) -> None:
        """Keeps a connection for whoever needs one next."""
        resting = self._resting.get(destination.pool)
        if resting is None:
            resting = self._resting[destination.pool] = deque()
        resting.append((connection, time.monotonic()))
        self._idle += 1
        if self._sweeping is None:
            self._sweeping = self._loop.call_later(KEEPALIVE_SECONDS / 2, self._sweep)

    def _sweep(self) -> None:
        """Lets go of what nobody has needed for long, before its receiver does."""
        self._sweeping = None
        late = time.monotonic() - KEEPALIVE_SECONDS
        for key, resting in list(self._resting.items()):
            while resting and (resting[0][1] <= late or resting[0][0].closed):
                _abort(resting.popleft()[0])
                self._idle -= 1
            if not resting:
                del self._resting[key]
        if self._resting:
            self._sweeping = self._loop.call_later(KEEPALIVE_SECONDS / 2, self._sweep)

    def _look(self) -> None:
        """Ends what has taken too long: one timer for all costs less than one each, and is late by a twentieth of a second."""
        now = time.monotonic()
        for exchange in self._under_way:
            exchange.check(now)
        self._looking = self._loop.call_later(LOOK_SECONDS, self._look) if self._under_way else None

    async def _connect(self, destination: Destination, exchange: Exchange) -> Connection:
        limits = destination.limits(exchange.deadline - time.monotonic())
        exchange.resolver = self._resolver
        connection = await self._connector.connect(destination, [exchange], limits)
        if _wire(connection).unasked:
            _abort(connection)
            raise BadAnswer("the receiver spoke before it was asked")
        return connection

    async def _talk(
        self, destination: Destination, connection: Connection, head: bytes, body: bytes, exchange: Exchange
    ) -> None:
        """Sends the request on a connection and reads the answer; keeps the connection if it can be used again."""
        wire = exchange.wire = _wire(connection)
        answer = exchange.answer = Answer()
        self._under_way.add(exchange)
        if self._looking is None:
            self._looking = self._loop.call_later(LOOK_SECONDS, self._look)
        kept = False
        try:
            transport = wire.transport
            if transport is None:
                raise ConnectionResetError("the receiver closed the connection")
            if peer := transport.get_extra_info("peername"):
                exchange.address = str(peer[0])
            done = wire.begin(answer)
            exchange.sent = time.monotonic()
            if len(body) <= ONE_PIECE:
                transport.write(head + body)
            else:
                transport.write(head)
                transport.write(body)
            await done
            exchange.status, exchange.headers, exchange.head = answer.status, answer.headers, answer.excerpt
            # Where an answer came before all was sent, what is left would be taken for the next request.
            kept = answer.reusable and wire.is_connected() and not transport.get_write_buffer_size()
        finally:
            exchange.heard = wire.heard
            wire.finish()
            self._under_way.discard(exchange)
            if not kept:
                _abort(connection)
        if kept:
            self._rest(destination, connection)


class _Connector(aiohttp.TCPConnector):
    """aiohttp's connector with connections of our own protocol."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._factory = cast(Any, Wire)


def _wire(connection: Connection) -> Wire:
    protocol: ResponseHandler | None = connection.protocol
    assert protocol is not None
    return cast(Wire, cast(object, protocol))


def _abort(connection: Connection) -> None:
    # The connector itself closes nothing once it is closed.
    if connection.protocol is not None:
        connection.protocol.abort()
    connection.close()
