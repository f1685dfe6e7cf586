"""Sends requests to receivers over pooled connections: aiohttp's connector makes them, a parser of our own reads the answers.

A post has no redirects, cookies or forms, and its bytes are there already. What `aiohttp.ClientSession` does about all of
them costs three times as much as what is needed (ops/adr/0013); its parser refuses answers that other clients take
(ops/adr/0031).
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections import deque
from collections.abc import Hashable
from typing import Any, cast

import aiohttp
from aiohttp.connector import Connection

from edge.webhooks import metrics
from edge.webhooks.client.answer import Answer, BadAnswer
from edge.webhooks.client.exchange import Destination, Exchange, current, make_tls
from edge.webhooks.client.proxy import Proxy
from edge.webhooks.client.ssrf import Blocked, Guard, literal
from edge.webhooks.client.tunnel import tunnel
from edge.webhooks.client.wire import Wire
from edge.webhooks.shortage import ProxyFailed, Resolver, Shortage, connection_limit, shortage_of, shortages

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


class Line:
    """One connection: aiohttp's, and the protocol that speaks on it, which is another one behind a tunnel."""

    __slots__ = ("_connection", "wire")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.wire = cast(Wire, cast(object, connection.protocol))

    def close(self) -> None:
        """Closes it at once."""
        self.wire.close()
        # The connector itself closes nothing once it is closed.
        if self._connection.protocol is not None:
            self._connection.protocol.abort()
        self._connection.close()


class Links:
    """The connections of a process to receivers."""

    def __init__(self, guard: Guard, limit: int = 0, agent: str = "Callboard") -> None:
        """`guard` is called with each address just before it is connected to, and may refuse it; `agent` is who asks proxies.

        At most `limit` connections are open at once, the idle ones included; 0 for half of the file descriptors.
        """

        def noted(info: tuple[Any, ...]) -> socket.socket:
            if (exchange := current.get()) is not None:
                exchange.address = str(info[4][0])
                if exchange.trusted:
                    return socket.socket(*info[:3])
            return guard(info)

        self._guard = guard
        self._agent = agent
        self._tls = make_tls()
        self.limit = connection_limit(limit)
        self._loop = asyncio.get_running_loop()
        # No limit of its own: `reserve` keeps to ours.
        self._connector = _Connector(limit=0, socket_factory=noted, ttl_dns_cache=NAMES_SECONDS, ssl=self._tls)
        # Idle connections, and since when: the one that was used last is taken first.
        self._resting: dict[Hashable, deque[tuple[Line, float]]] = {}
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
            for line, _ in resting:
                line.close()
        self._resting.clear()
        self._idle = 0
        await self._connector.close()

    async def reserve(self, destination: Destination) -> Line | None:
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
        metrics.waiting_for_connection.inc()
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self.release()
            raise
        finally:
            metrics.waiting_for_connection.dec()

    def release(self) -> None:
        """Gives a place back, or to whoever has waited longest."""
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                return
        self._used -= 1

    async def ask(
        self, destination: Destination, kept: Line | None, head: bytes, body: bytes, exchange: Exchange
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
                raise fault if isinstance(fault, Shortage) else Shortage(reason) from fault
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

    def _rested(self, destination: Destination) -> Line | None:
        """A connection that was kept, and can be trusted still."""
        resting = self._resting.get(destination.pool)
        while resting:
            line, since = resting.pop()
            self._idle -= 1
            if not resting:
                del self._resting[destination.pool]
            if line.wire.is_connected() and time.monotonic() - since < KEEPALIVE_SECONDS:
                return line
            line.close()
        return None

    def _drop_idle(self) -> None:
        """Closes the idle connection that is needed least: the oldest of a destination that has been idle for long."""
        if not self._resting:
            return
        key, resting = next(iter(self._resting.items()))
        resting.popleft()[0].close()
        self._idle -= 1
        if not resting:
            del self._resting[key]

    def _rest(self, destination: Destination, line: Line) -> None:
        """Keeps a connection for whoever needs one next."""
        resting = self._resting.get(destination.pool)
        if resting is None:
            resting = self._resting[destination.pool] = deque()
        resting.append((line, time.monotonic()))
        self._idle += 1
        if self._sweeping is None:
            self._sweeping = self._loop.call_later(KEEPALIVE_SECONDS / 2, self._sweep)

    def _sweep(self) -> None:
        """Lets go of what nobody has needed for long, before its receiver does."""
        self._sweeping = None
        late = time.monotonic() - KEEPALIVE_SECONDS
        for key, resting in list(self._resting.items()):
            while resting and (resting[0][1] <= late or not resting[0][0].wire.is_connected()):
                resting.popleft()[0].close()
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

    async def _connect(self, destination: Destination, exchange: Exchange) -> Line:
        exchange.resolver = self._resolver
        proxy = destination.via
        if proxy is None:
            return await self._open(destination, exchange)
        # Where the proxy would look the name up itself it could be led to an address that is denied here.
        host = destination.host if proxy.resolves else await self._admitted(destination, exchange)
        line = await self._open_proxy(destination, proxy, exchange)
        try:
            port = destination.port or 443
            self._watch(exchange)
            await tunnel(line.wire, host, port, proxy, self._agent, exchange)
            if destination.is_ssl():
                line.wire = await self._start_tls(line.wire, destination, exchange)
        except ProxyFailed as failed:
            line.close()
            # It wants other credentials than it was given.
            if proxy.ours and failed.status == 407:
                raise Shortage("proxy", str(failed)) from failed
            raise
        except BaseException:
            line.close()
            raise
        finally:
            self._under_way.discard(exchange)
        exchange.connected = time.monotonic()
        return line

    async def _open(self, destination: Destination, exchange: Exchange) -> Line:
        limits = destination.limits(exchange.deadline - time.monotonic())
        line = Line(await self._connector.connect(destination, [exchange], limits))
        if line.wire.unasked:
            line.close()
            raise BadAnswer("the receiver spoke before it was asked")
        return line

    async def _open_proxy(self, destination: Destination, proxy: Proxy, exchange: Exchange) -> Line:
        assert destination.to_proxy is not None
        exchange.trusted = proxy.ours
        try:
            return await self._open(destination.to_proxy, exchange)
        except (aiohttp.ClientError, BadAnswer, OSError) as fault:
            if shortage_of(fault) or (
                isinstance(fault, aiohttp.ClientConnectorError) and isinstance(fault.os_error, Blocked)
            ):
                raise
            why = "it took too long" if isinstance(fault, TimeoutError) else str(getattr(fault, "os_error", fault))
            detail = f"the proxy {proxy.url.host} cannot be reached: {why}"
            raise (Shortage("proxy", detail) if proxy.ours else ProxyFailed(detail)) from fault
        finally:
            exchange.trusted = False

    async def _admitted(self, destination: Destination, exchange: Exchange) -> str:
        """An address of the receiver that webhooks may reach. Raises ClientConnectorError with Blocked where there is none."""
        host, port = destination.host, destination.port or 443
        try:
            async with asyncio.timeout(max(0.001, exchange.deadline - time.monotonic())):
                found = await self._loop.getaddrinfo(host.rstrip("."), port, type=socket.SOCK_STREAM)
        except TimeoutError:
            raise
        except OSError as fault:
            raise aiohttp.ClientConnectorDNSError(destination.connection_key, fault) from fault
        self._resolver.answered()
        blocked = Blocked()
        # Version 4 first: only one is tried, and not every proxy has a version 6.
        for info in sorted(found, key=lambda each: each[0] != socket.AF_INET):
            address = literal(str(info[4][0]))
            if address is None:
                continue
            try:
                self._guard.check(address, port)
            except Blocked as fault:
                blocked = fault
                continue
            return str(address)
        raise aiohttp.ClientConnectorError(destination.connection_key, blocked)

    async def _start_tls(self, wire: Wire, destination: Destination, exchange: Exchange) -> Wire:
        context = destination.ssl if isinstance(destination.ssl, ssl.SSLContext) else self._tls
        inner = Wire()
        assert wire.transport is not None
        try:
            async with asyncio.timeout(max(0.001, exchange.deadline - time.monotonic())):
                transport = await self._loop.start_tls(
                    wire.transport, inner, context, server_hostname=destination.host.rstrip(".")
                )
        except TypeError as fault:
            # What asyncio's own loop makes of a refused certificate behind a proxy that speaks TLS itself; uvloop's does not.
            if isinstance(fault.__context__, ssl.SSLError):
                raise fault.__context__ from None
            raise
        if transport is None:
            raise ConnectionResetError("the connection was closed during the TLS handshake")
        inner.connection_made(transport)
        return inner

    def _watch(self, exchange: Exchange) -> None:
        """Ends what an exchange waits for once its time is up."""
        self._under_way.add(exchange)
        if self._looking is None:
            self._looking = self._loop.call_later(LOOK_SECONDS, self._look)

    async def _talk(self, destination: Destination, line: Line, head: bytes, body: bytes, exchange: Exchange) -> None:
        """Sends the request on a connection and reads the answer; keeps the connection if it can be used again."""
        wire = exchange.wire = line.wire
        answer = exchange.answer = Answer(keep=exchange.keep)
        self._watch(exchange)
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
                line.close()
        if kept:
            self._rest(destination, line)


class _Connector(aiohttp.TCPConnector):
    """aiohttp's connector with connections of our own protocol."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._factory = cast(Any, Wire)
