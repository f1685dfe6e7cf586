"""Opens connections to receivers: directly, or through a tunnel that a forward proxy makes, with TLS where it is asked for.

aiohttp's connector makes them: it looks names up, tries their addresses, and shakes hands.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from typing import Any, cast

import aiohttp
from aiohttp.connector import Connection

from edge.webhooks.client.answer import BadAnswer
from edge.webhooks.client.deadlines import Deadlines
from edge.webhooks.client.exchange import Destination, Exchange, current, make_tls
from edge.webhooks.client.proxy import Proxy
from edge.webhooks.client.ssrf import Blocked, Guard, literal
from edge.webhooks.client.tunnel import tunnel
from edge.webhooks.client.wire import Wire
from edge.webhooks.shortage import ProxyFailed, Resolver, Shortage, shortage_of

# What a name resolved to is good for so long.
DNS_CACHE_SECONDS = 10


class PooledConnection:
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


class Dialer:
    """Opens the connections of a process to receivers."""

    def __init__(self, guard: Guard, agent: str, deadlines: Deadlines) -> None:
        """`guard` is called with each address just before it is connected to, and may refuse it; proxies see `agent`."""

        def make_socket(info: tuple[Any, ...]) -> socket.socket:
            if (exchange := current.get()) is not None:
                exchange.address = str(info[4][0])
                if exchange.trusted:
                    return socket.socket(*info[:3])
            return guard(info)

        self._guard = guard
        self._agent = agent
        self._deadlines = deadlines
        self._tls = make_tls()
        self._loop = asyncio.get_running_loop()
        # No limit of its own: the pool keeps to ours.
        self._connector = _Connector(
            limit=0, socket_factory=make_socket, ttl_dns_cache=DNS_CACHE_SECONDS, ssl=self._tls
        )
        self._resolver = Resolver()

    async def close(self) -> None:
        """Opens no more connections."""
        await self._connector.close()

    def is_resolver_away(self, destination: Destination, fault: Exception) -> bool:
        """Whether a connection failed because no name at all can be looked up."""
        return isinstance(fault, aiohttp.ClientConnectorDNSError) and self._resolver.is_away(
            destination.host, fault.os_error
        )

    async def connect(self, destination: Destination, exchange: Exchange) -> PooledConnection:
        """Opens a connection for an exchange, within its deadline. Raises aiohttp.ClientError, BadAnswer or OSError."""
        exchange.resolver = self._resolver
        proxy = destination.via
        if proxy is None:
            return await self._open(destination, exchange)
        # Where the proxy would look the name up itself it could be led to an address that is denied here.
        host = destination.host if proxy.resolves else await self._allowed_address(destination, exchange)
        connection = await self._open_proxy(destination, proxy, exchange)
        try:
            port = destination.port or 443
            self._deadlines.watch(exchange)
            await tunnel(connection.wire, host, port, proxy, self._agent, exchange)
            if destination.is_ssl():
                connection.wire = await self._start_tls(connection.wire, destination, exchange)
        except ProxyFailed as failed:
            connection.close()
            # It wants other credentials than it was given.
            if proxy.ours and failed.status == 407:
                raise Shortage("proxy", str(failed)) from failed
            raise
        except BaseException:
            connection.close()
            raise
        finally:
            self._deadlines.done(exchange)
        exchange.connected = time.monotonic()
        return connection

    async def _open(self, destination: Destination, exchange: Exchange) -> PooledConnection:
        limits = destination.limits(exchange.deadline - time.monotonic())
        connection = PooledConnection(await self._connector.connect(destination, [exchange], limits))
        if connection.wire.unasked:
            connection.close()
            raise BadAnswer("the receiver sent something before it was asked")
        return connection

    async def _open_proxy(self, destination: Destination, proxy: Proxy, exchange: Exchange) -> PooledConnection:
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

    async def _allowed_address(self, destination: Destination, exchange: Exchange) -> str:
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


class _Connector(aiohttp.TCPConnector):
    """aiohttp's connector with connections of our own protocol."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._factory = cast(Any, Wire)
