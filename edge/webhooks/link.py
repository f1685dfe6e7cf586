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

    def __init__(self, begun: float) -> None:
        # Without a word to the base class, whose signals go to a session.
        self.begun = begun

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
        self._connector = aiohttp.TCPConnector(
            # No limit here: how many are under way is bounded by what is pulled, and per endpoint by its gate.
            limit=0,
            socket_factory=noted,
            keepalive_timeout=KEEPALIVE_SECONDS,
            ttl_dns_cache=NAMES_SECONDS,
            ssl=_tls(),
        )

    async def close(self) -> None:
        """Hangs up on everybody."""
        await self._connector.close()

    async def ask(
        self, destination: Destination, head: bytes, body: bytes, exchange: Exchange, deadline: float
    ) -> None:
        """Sends a request, and writes what becomes of it to `exchange`.

        Raises aiohttp.ClientError, aiohttp's HttpProcessingError, TimeoutError or OSError; the connection is gone then.
        """
        connection = await self._connect(destination, exchange, deadline)
        timer = self._loop.call_at(deadline, exchange.expire)
        try:
            whole = await self._talk(connection, head, body, exchange)
        except BaseException:
            _abort(connection)
            raise
        finally:
            timer.cancel()
        transport = connection.transport
        # Where an answer came before all was sent, what is left would be taken for the next request.
        if whole and transport is not None and not transport.get_write_buffer_size():
            connection.release()
        else:
            _abort(connection)

    async def _connect(self, destination: Destination, exchange: Exchange, deadline: float) -> Connection:
        while True:
            limits = destination.limits(deadline - time.monotonic())
            connection = await self._connector.connect(destination, [exchange], limits)
            protocol = connection.protocol
            # Where something came while nobody asked, it would be taken for the answer to what is asked next.
            if protocol is not None and not protocol.should_close:
                return connection
            _abort(connection)
            if exchange.connected:
                raise aiohttp.ClientPayloadError("the receiver spoke before it was asked")

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
