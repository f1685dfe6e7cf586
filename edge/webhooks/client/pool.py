"""A connection pool: sends requests to receivers over connections that are kept open between them.

A post has no redirects, cookies or forms, and its bytes are there already. What `aiohttp.ClientSession` does about all of
them costs three times as much as what is needed (ops/adr/0013); its parser refuses answers that other clients take
(ops/adr/0031), so a parser of our own reads them.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Hashable

import aiohttp

from edge.webhooks import metrics
from edge.webhooks.client.answer import ResponseReader
from edge.webhooks.client.deadlines import Deadlines
from edge.webhooks.client.dialer import Dialer, PooledConnection
from edge.webhooks.client.exchange import Destination, Exchange
from edge.webhooks.client.ssrf import Guard
from edge.webhooks.shortage import Shortage, connection_limit, shortage_of, shortages

# Receivers close idle connections after a minute or more; half of that is safe.
KEEPALIVE_SECONDS = 30.0
# After this process lacked something no new connection is tried for so long: the attempts would only cost time.
SHORTAGE_SECONDS = 0.25
# A request up to this size goes out in one piece with its headers; a larger body is not copied for that.
ONE_PIECE = 64 * 1024


class ConnectionPool:
    """The connections of a process to receivers."""

    def __init__(self, guard: Guard, limit: int = 0, agent: str = "Callboard") -> None:
        """`guard` is called with each address just before it is connected to, and may refuse it; proxies see `agent`.

        At most `limit` connections are open at once, the idle ones included; 0 for half of the file descriptors.
        """
        self.limit = connection_limit(limit)
        self._loop = asyncio.get_running_loop()
        self._deadlines = Deadlines()
        self._dialer = Dialer(guard, agent, self._deadlines)
        # Idle connections, and since when: the one that was used last is taken first.
        self._idle: dict[Hashable, deque[tuple[PooledConnection, float]]] = {}
        self._idle_count = 0
        # Connections that are in use or being opened, and the requests that wait for one.
        self._used = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._short_until = 0.0
        self._expiry_timer: asyncio.TimerHandle | None = None

    async def close(self) -> None:
        """Closes every connection."""
        self._deadlines.close()
        if self._expiry_timer is not None:
            self._expiry_timer.cancel()
        for idle in self._idle.values():
            for connection, _ in idle:
                connection.close()
        self._idle.clear()
        self._idle_count = 0
        await self._dialer.close()

    async def reserve(self, destination: Destination) -> PooledConnection | None:
        """Waits for a place for one connection, which `request` or `release` gives back; gives an idle connection if there is one.

        The wait is for this process alone, so that it is no part of an attempt's time. Raises Shortage.
        """
        if self._used < self.limit:
            self._used += 1
        else:
            await self._wait()
        idle = self._take_idle(destination)
        if idle is None:
            if time.monotonic() < self._short_until:
                self.release()
                raise Shortage("descriptors")
            if self._used + self._idle_count > self.limit:
                self._close_oldest_idle()
        return idle

    async def _wait(self) -> None:
        """Waits until a request releases its place."""
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
        """Gives a place back: to the request that has waited longest, if any."""
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                return
        self._used -= 1

    async def request(
        self, destination: Destination, idle: PooledConnection | None, head: bytes, body: bytes, exchange: Exchange
    ) -> None:
        """Sends a request in the place that `reserve` gave, and writes the answer to `exchange`.

        An idle connection that ends before one byte of an answer was most likely closed by the receiver for being idle: the
        request is sent again at once, once, on a new connection (RFC 9112, 9.3.1).

        Raises aiohttp.ClientError, BadAnswer, Shortage, TimeoutError or another OSError; the connection is gone then.
        """
        try:
            if idle is not None:
                try:
                    await self._exchange(destination, idle, head, body, exchange)
                    return
                except TimeoutError:
                    raise
                except OSError as fault:
                    if exchange.heard or shortage_of(fault):
                        raise
                    metrics.reconnects.inc()
                    exchange.sent = 0.0
            await self._exchange(destination, await self._dialer.connect(destination, exchange), head, body, exchange)
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
            # Idle connections hold what is short.
            for _ in range(self._idle_count):
                self._close_oldest_idle()
        if not reason and self._dialer.is_resolver_away(destination, fault):
            return "resolver"
        return reason

    def _take_idle(self, destination: Destination) -> PooledConnection | None:
        """Takes an idle connection that is still usable."""
        idle = self._idle.get(destination.pool)
        while idle:
            connection, since = idle.pop()
            self._idle_count -= 1
            if not idle:
                del self._idle[destination.pool]
            if connection.wire.is_connected() and time.monotonic() - since < KEEPALIVE_SECONDS:
                return connection
            connection.close()
        return None

    def _close_oldest_idle(self) -> None:
        """Closes the idle connection that is needed least: the oldest of a destination that has been idle for long."""
        if not self._idle:
            return
        key, idle = next(iter(self._idle.items()))
        idle.popleft()[0].close()
        self._idle_count -= 1
        if not idle:
            del self._idle[key]

    def _put_idle(self, destination: Destination, connection: PooledConnection) -> None:
        """Keeps a connection open for the next request."""
        idle = self._idle.get(destination.pool)
        if idle is None:
            idle = self._idle[destination.pool] = deque()
        idle.append((connection, time.monotonic()))
        self._idle_count += 1
        if self._expiry_timer is None:
            self._expiry_timer = self._loop.call_later(KEEPALIVE_SECONDS / 2, self._close_expired)

    def _close_expired(self) -> None:
        """Closes the connections that were idle for too long, before their receivers do."""
        self._expiry_timer = None
        late = time.monotonic() - KEEPALIVE_SECONDS
        for key, idle in list(self._idle.items()):
            while idle and (idle[0][1] <= late or not idle[0][0].wire.is_connected()):
                idle.popleft()[0].close()
                self._idle_count -= 1
            if not idle:
                del self._idle[key]
        if self._idle:
            self._expiry_timer = self._loop.call_later(KEEPALIVE_SECONDS / 2, self._close_expired)

    async def _exchange(
        self, destination: Destination, connection: PooledConnection, head: bytes, body: bytes, exchange: Exchange
    ) -> None:
        """Sends the request on a connection and reads the answer; keeps the connection if it can be used again."""
        wire = exchange.wire = connection.wire
        answer = exchange.answer = ResponseReader(keep=exchange.keep)
        self._deadlines.watch(exchange)
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
            self._deadlines.done(exchange)
            if not kept:
                connection.close()
        if kept:
            self._put_idle(destination, connection)
