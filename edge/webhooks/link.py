"""This file is where a receiver is spoken to: over aiohttp's connections and with its parser, but without its session.

A post has no redirects, cookies, proxies or forms, and its bytes are there already. What `aiohttp.ClientSession` does about
all of them costs three times as much as what is needed (ops/adr/0013).
"""

from __future__ import annotations

import asyncio
import math
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.connector import Connection
from aiohttp.streams import StreamReader
from aiohttp.tracing import Trace
from yarl import URL

from edge.webhooks.outcome import Timing

# 64 KiB of an answer are read, so that its connection can be used again; a longer one is hung up on.
MAX_ANSWER = 64 * 1024
# 1 KiB of it is kept, for who asks why a delivery failed.
MAX_HEAD = 1024
# Receivers close idle connections after a minute or more; half of that is safe.
KEEPALIVE_SECONDS = 30.0
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

    def __init__(self, url: URL) -> None:
        super().__init__("POST", url, loop=asyncio.get_running_loop())
        self._key = super().connection_key
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
    protocol: ResponseHandler | None = None
    content: StreamReader | None = None

    def expire(self) -> None:
        """Ends whatever is waited for from the receiver."""
        if self.content is not None:
            self.content.set_exception(TimeoutError())
        if self.protocol is not None:
            self.protocol.set_exception(TimeoutError())

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


def _tls() -> ssl.SSLContext:
    context = _Tls(ssl.PROTOCOL_TLS_CLIENT)
    context.load_default_certs()
    context.set_alpn_protocols(["http/1.1"])
    return context


class Links:
    """The connections of a process to receivers."""

    def __init__(self, make_socket: Callable[[tuple[Any, ...]], socket.socket]) -> None:
        """`make_socket` is called with each address just before it is connected to, and may refuse it with an OSError."""

        def noted(info: tuple[Any, ...]) -> socket.socket:
            if (exchange := _exchange.get()) is not None:
                exchange.address = str(info[4][0])
            return make_socket(info)

        self._loop = asyncio.get_running_loop()
        # No limit here: how many are under way is bounded by what is pulled, and per endpoint by its gate.
        self._connector = aiohttp.TCPConnector(limit=0, socket_factory=noted, ttl_dns_cache=NAMES_SECONDS, ssl=_tls())
        # Connections that rest, and since when: the one that rested shortest is taken first.
        self._resting: dict[ConnectionKey, deque[tuple[Connection, float]]] = {}
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
        await self._connector.close()

    async def ask(self, destination: Destination, head: bytes, body: bytes, exchange: Exchange) -> None:
        """Sends a request, and writes what becomes of it to `exchange`.

        Raises aiohttp.ClientError, aiohttp's HttpProcessingError, TimeoutError or OSError; the connection is gone then.
        """
        connection = self._rested(destination) or await self._connect(destination, exchange)
        self._under_way.add(exchange)
        if self._looking is None:
            self._looking = self._loop.call_later(LOOK_SECONDS, self._look)
        try:
            whole = await self._talk(connection, head, body, exchange)
        except BaseException:
            _abort(connection)
            raise
        finally:
            self._under_way.discard(exchange)
        transport = connection.transport
        # Where an answer came before all was sent, what is left would be taken for the next request.
        if whole and transport is not None and not transport.get_write_buffer_size():
            self._rest(destination, connection)
        else:
            _abort(connection)

    def _rested(self, destination: Destination) -> Connection | None:
        """A connection that was kept, and can be trusted still."""
        resting = self._resting.get(destination.connection_key)
        while resting:
            connection, since = resting.pop()
            protocol = connection.protocol
            # Where something came while nobody asked, it would be taken for the answer to what is asked next.
            if (
                protocol is not None
                and protocol.is_connected()
                and not protocol.should_close
                and time.monotonic() - since < KEEPALIVE_SECONDS
            ):
                return connection
            _abort(connection)
        return None

    def _rest(self, destination: Destination, connection: Connection) -> None:
        """Keeps a connection for whoever needs one next."""
        protocol = connection.protocol
        if protocol is None or protocol.should_close or not protocol.is_connected():
            _abort(connection)
            return
        resting = self._resting.get(destination.connection_key)
        if resting is None:
            resting = self._resting[destination.connection_key] = deque()
        resting.append((connection, time.monotonic()))
        if self._sweeping is None:
            self._sweeping = self._loop.call_later(KEEPALIVE_SECONDS / 2, self._sweep)

    def _sweep(self) -> None:
        """Lets go of what nobody has needed for long, before its receiver does."""
        self._sweeping = None
        late = time.monotonic() - KEEPALIVE_SECONDS
        for key, resting in list(self._resting.items()):
            while resting and (resting[0][1] <= late or resting[0][0].closed):
                _abort(resting.popleft()[0])
            if not resting:
                del self._resting[key]
        if self._resting:
            self._sweeping = self._loop.call_later(KEEPALIVE_SECONDS / 2, self._sweep)

    def _look(self) -> None:
        """Ends what has taken too long: one timer for all costs less than one each, and is late by a twentieth of a second."""
        now = time.monotonic()
        for exchange in self._under_way:
            if exchange.deadline <= now:
                exchange.expire()
        self._looking = self._loop.call_later(LOOK_SECONDS, self._look) if self._under_way else None

    async def _connect(self, destination: Destination, exchange: Exchange) -> Connection:
        limits = destination.limits(exchange.deadline - time.monotonic())
        connection = await self._connector.connect(destination, [exchange], limits)
        if connection.protocol is None or connection.protocol.should_close:
            _abort(connection)
            raise aiohttp.ClientPayloadError("the receiver spoke before it was asked")
        return connection

    async def _talk(self, connection: Connection, head: bytes, body: bytes, exchange: Exchange) -> bool:
        """Whether the answer was read to its end."""
        protocol, transport = connection.protocol, connection.transport
        if protocol is None or transport is None:
            raise aiohttp.ServerDisconnectedError
        exchange.protocol = protocol
        if exchange.connected:
            # Nothing is ever unpacked, so that no answer can be a bomb. The parser reads one answer after the other.
            protocol.set_response_params(read_until_eof=True, auto_decompress=False)
        if peer := transport.get_extra_info("peername"):
            exchange.address = str(peer[0])
        exchange.sent = time.monotonic()
        if len(body) <= ONE_PIECE:
            transport.write(head + body)
        else:
            transport.write(head)
            transport.write(body)
        message, content = await protocol.read()
        while message.code < 200 and message.code != 101:
            # An interim answer, such as 103; the one that counts follows.
            message, content = await protocol.read()
        exchange.heard = time.monotonic()
        exchange.status, exchange.headers = message.code, message.headers
        if content.at_eof():
            return True
        exchange.content = content
        return await _read(content, exchange)


async def _read(content: StreamReader, exchange: Exchange) -> bool:
    """Reads an answer as far as it is worth; says whether that was all."""
    length = 0
    while not content.at_eof():
        some = await content.readany()
        if len(exchange.head) < MAX_HEAD:
            exchange.head = (exchange.head + some)[:MAX_HEAD]
        length += len(some)
        if length > MAX_ANSWER:
            return False
    return True


def _abort(connection: Connection) -> None:
    """Hangs up at once: closing would wait until a receiver that does not read has read what it was sent."""
    if connection.protocol is not None:
        connection.protocol.abort()
    connection.close()
