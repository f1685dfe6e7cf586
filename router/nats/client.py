"""Extends nats-py's client: received messages bypass its queues and mostly its parser, and a message is sent by one write.

A subscription made here has a handler that is called from the read loop, in the order the server sent, with the raw
headers. That costs no task, no queue and no header parsing per message, and two overlapping subscriptions cannot overtake
one another.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn

import nats.errors
from nats.aio.client import Client
from nats.protocol.parser import AWAITING_CONTROL_LINE, Parser

from router.errors import RouterError
from router.limits import message_size
from router.nats.commands import Outgoing, command_of, commands_of
from router.nats.transport import NatsTransport
from router.tasks import keeping_cancellation

log = logging.getLogger(__name__)

Handler = Callable[[str, str, bytes, bytes], None]
"""Called as handler(subject, reply, payload, raw headers); must not block and must not raise."""

_PING = b"PING\r\n"
# What comes before a message: its subject, subscription, where an answer is wanted, and the bytes of its headers and of both.
_WITH_HEADERS = re.compile(rb"HMSG ([^ \r\n]+) (\d+) (?:([^ \r\n]+) )?(\d+) (\d+)\r\n")
_PLAIN = re.compile(rb"MSG ([^ \r\n]+) (\d+) (?:([^ \r\n]+) )?()(\d+)\r\n")
# 1 ms: messages that follow one another faster wait for the end of the turn, when nats-py's flusher sends them in one write.
MIN_PAUSE = 0.001
# 64 kB: what may wait in the transport while messages are written through to it; behind more, nats-py's flusher drains it.
MAX_UNSENT = 64 * 1024
# 64 kB: a message cut by the end of a read waits here for its rest; what is longer is gathered by nats-py, which does
# not join it anew at each read.
MAX_WAITING = 64 * 1024


class _Express(Parser):
    """nats-py's parser, with a short way for whole messages that somebody has tapped.

    It reads them where they lie, many out of one read: a third of the work, on a path that every event takes.
    """

    def __init__(self, wire: NatsClient) -> None:
        self._wire = wire
        self._cut = b""
        super().__init__(wire)

    def reset(self) -> None:
        super().reset()
        self._cut = b""

    async def parse(self, data: bytes = b"") -> None:
        """Takes what was read from the socket."""
        if rest := self.express(data):
            await super().parse(rest)

    def express(self, data: bytes) -> bytes:
        """Hands out the tapped messages that data begins with, and returns what is left for nats-py's own parser."""
        if self.buf or self.state != AWAITING_CONTROL_LINE:
            return data
        if self._cut:
            data = self._cut + data
            self._cut = b""
        at, cut = self._express(data)
        if at == len(data):
            return b""
        rest = data[at:] if at else data
        if cut and len(rest) <= MAX_WAITING:
            self._cut = rest
            return b""
        return rest

    def _express(self, data: bytes) -> tuple[int, bool]:
        """Hands out whole tapped messages; returns where they end, and whether another one begins there and is cut."""
        at, end, taps = 0, len(data), self._wire.taps
        count = size = 0
        while at < end:
            found = (_WITH_HEADERS if data.startswith(b"H", at) else _PLAIN).match(data, at)
            if found is None:
                break
            begin = found.end()
            subject, sid, reply, head, whole = found.groups()
            if (tap := taps.get(int(sid))) is None:
                break
            body, after = begin + int(head or 0), begin + int(whole)
            if after + 2 > end:
                self._count(count, size)
                return at, True
            try:
                tap(subject.decode(), reply.decode() if reply else "", data[body:after], data[begin:body])
            except Exception:
                log.exception("message handler raised an error; the message is dropped")
            count += 1
            size += after - body
            at = after + 2
        self._count(count, size)
        return at, False

    def _count(self, messages: int, size: int) -> None:
        self._wire.stats["in_msgs"] += messages
        self._wire.stats["in_bytes"] += size


class PlainServer(nats.errors.Error):
    """the server offers no TLS, and TLS is required"""

    def __str__(self) -> str:
        return type(self).__doc__ or ""


class NatsClient(Client):
    """nats-py's client, with handlers that are called in its read loop.

    With `secure` nothing at all is sent to a server over a connection that is not encrypted, whichever server that is: one
    that was configured, one that a cluster announced, or the same one after a restart. nats-py alone leaves that to the
    server and sends CONNECT, with the password in it, in plain text to one that does not ask for TLS.
    """

    def __init__(self, secure: bool = False) -> None:
        super().__init__()
        self.secure = secure
        self.plain: set[str] = set()  # host:port of the servers that were refused because they offer no TLS
        self.taps: dict[int, Handler] = {}
        self.round_trips: set[asyncio.Future[bool]] = set()
        self._ps: _Express = _Express(self)
        self._written = 0.0  # when a command was last written through

    async def publish_all(self, messages: Iterable[Outgoing]) -> None:
        """Publishes messages in this order with one command. Raises nats' errors; then none of them was sent."""
        if self.is_closed:
            raise nats.errors.ConnectionClosedError
        if self.is_draining_pubs:
            raise nats.errors.ConnectionDrainingError
        messages = list(messages)
        commands = commands_of(messages, self.max_payload)
        plain = [command for command in commands if command is not None]
        if len(plain) == len(commands):
            await self._push(plain, sum([len(message[1]) for message in messages]))
        else:
            await self._push_around(messages, commands)

    async def _push_around(self, messages: Iterable[Outgoing], commands: Iterable[bytes | None]) -> None:
        """Sends messages of which some have no command: these go nats-py's own way, behind what came before them."""
        plain: list[bytes] = []
        size = 0
        for (subject, payload, headers, reply), command in zip(messages, commands, strict=True):
            if command is None:
                await self._push(plain, size)
                plain, size = [], 0
                await self.publish(subject, payload, reply, dict(headers or {}))
            else:
                plain.append(command)
                size += len(payload)
        await self._push(plain, size)

    def publish_now(self, subject: str, payload: bytes, headers: Mapping[str, Any] | None, reply: str) -> bool:
        """Publishes a message where nothing has to be waited for or put right; says whether it did."""
        command = command_of(subject, reply, payload, headers)
        if command is None or len(command) > self.max_payload:
            return False
        if not (self._write_through(command) or self._queue(command)):
            return False
        self.stats["out_msgs"] += 1
        self.stats["out_bytes"] += len(payload)
        return True

    def _write_through(self, command: bytes) -> bool:
        """Writes a command without nats-py's flusher, which is a task to be woken; no where one must wait for the socket."""
        writer: asyncio.StreamWriter | None = getattr(self._transport, "_io_writer", None)
        if self._pending or writer is None or self._status != Client.CONNECTED:
            return False
        now = time.monotonic()
        transport = writer.transport
        if now - self._written < MIN_PAUSE or transport.is_closing() or transport.get_write_buffer_size() > MAX_UNSENT:
            return False
        self._written = now
        transport.write(command)
        return True

    def _queue(self, command: bytes) -> bool:
        """Leaves a command to nats-py's flusher; no where that has ended or has too much to send, or there is no connection."""
        flusher: asyncio.Task[None] | None = self._flusher_task
        if flusher is None or flusher.done():
            return False
        flushing: asyncio.Queue[asyncio.Future[Any]] | None = self._flush_queue
        if self._status != Client.CONNECTED or flushing is None or flushing.full():
            return False
        if self._pending_data_size + len(command) > self._max_pending_size:
            return False
        self._pending.append(command)
        self._pending_data_size += len(command)
        if flushing.empty():
            flushing.put_nowait(asyncio.get_running_loop().create_future())
        return True

    async def _push(self, commands: list[bytes], size: int) -> None:
        if not commands:
            return
        if not self.is_connected and size + self._pending_data_size > self._max_pending_size:
            raise nats.errors.OutboundBufferLimitError
        self.stats["out_msgs"] += len(commands)
        self.stats["out_bytes"] += size
        command = b"".join(commands)
        if self._write_through(command):
            return
        await self._send_command(command)
        if self._flush_queue is not None and self._flush_queue.empty():
            await self._flush_pending()

    async def _flush_pending(self, force_flush: bool = False) -> Any:
        # uvloop raises RuntimeError for a socket that is closed before nats-py has noticed. What is pending then (messages,
        # subscriptions, pings) is sent once it is connected again; who waits for an answer is told of the loss.
        with contextlib.suppress(RuntimeError, OSError):
            if self.is_closed:
                return await super()._flush_pending(force_flush)
            # nats-py drops a cancellation here: whoever publishes more than the socket takes would never end.
            with keeping_cancellation():
                return await super()._flush_pending(force_flush)

    async def _send_publish(
        self, subject: str, reply: str, payload: bytes, payload_size: int, headers: dict[str, Any] | None
    ) -> None:
        # nats-py compares the payload alone. The server counts headers too, and closes the connection for one byte too many.
        if headers and message_size(payload, headers) > self.max_payload:
            raise nats.errors.MaxPayloadError
        # What nats-py does, in one piece; headers that it would put right are left to it.
        command = command_of(subject, reply, payload, headers)
        if command is None:
            await super()._send_publish(subject, reply, payload, payload_size, headers)
        else:
            await self._push([command], payload_size)

    async def _read_loop(self) -> None:
        # From here on what comes is messages. They are handed out where the transport has them, one turn of the loop
        # earlier than the task that reads would be awake; what that finds is the rest.
        reader = getattr(self._transport, "_io_reader", None)
        if isinstance(reader, asyncio.StreamReader):
            feed, parser, buffer = reader.feed_data, self._ps, reader._buffer  # type: ignore[attr-defined]

            def feed_rest(data: bytes) -> None:
                if not buffer and self._status == Client.CONNECTED:
                    data = parser.express(bytes(data))
                if data:
                    feed(data)

            reader.feed_data = feed_rest  # type: ignore[method-assign,assignment]
        await super()._read_loop()

    async def tap(self, subject: str, handler: Handler, queue: str = "") -> Any:
        # subscribe() counts its id up before it first yields, so the tap is there before the first message can be.
        self.taps[self._sid + 1] = handler
        subscription = await self.subscribe(subject, queue=queue)
        if subscription._id not in self.taps:
            raise RouterError("nats-py numbers its subscriptions in another way than expected")
        return subscription

    async def resubscribe(self, sid: int) -> None:
        """Asks the server for a subscription once more; harmless where it has it, or where we have it no more."""
        if (subscription := self._subs.get(sid)) is not None:
            await self._send_subscribe(subscription)

    async def _send_ping(self, future: asyncio.Future[bool] | None = None) -> None:
        # nats-py writes its PING past what still waits to be sent; the PONG would then say nothing about that.
        self._pongs.append(future or asyncio.get_running_loop().create_future())
        await self._send_command(_PING)
        await self._flush_pending()

    async def _connect_to_server(self, server: Any) -> None:
        # nats-py takes the next socket without closing that of the attempt that failed.
        if (writer := getattr(self._transport, "_io_writer", None)) is not None:
            writer.close()
        if self._transport is None and server.uri.scheme not in ("ws", "wss"):
            self._transport = NatsTransport()  # type: ignore[no-untyped-call]
        # A client that was closed would reconnect, and a loop that ends would wait for it for ever.
        with keeping_cancellation():
            await super()._connect_to_server(server)

    async def _process_connect_init(self) -> None:
        # A PING left over from the lost connection would be answered on the new one, where nobody waits for it.
        self._pending = [command for command in self._pending if command is not _PING]
        with keeping_cancellation():
            await super()._process_connect_init()

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        # The first INFO comes before anything is sent. A server that takes both kinds of clients says `tls_available`,
        # which nats-py does not know. What a refused one announces, such as other servers, is not taken over.
        if self.secure and initial_connection and self._current_server and self._current_server.uri.scheme != "wss":
            if not (info.get("tls_required") or info.get("tls_available")):
                self._refuse_plain()
            info["tls_required"] = True
        await super()._process_info(info, initial_connection)

    def _connect_command(self) -> bytes:
        # Called right before CONNECT is written: whatever was announced, what counts is the socket as it is now.
        if self.secure and not self._is_encrypted():
            self._refuse_plain()
        return super()._connect_command()

    def _is_encrypted(self) -> bool:
        writer = getattr(self._transport, "_io_writer", None)
        if writer is None:
            return bool(getattr(self._transport, "_using_tls", False))  # a WebSocket
        return writer.get_extra_info("ssl_object") is not None

    def _refuse_plain(self) -> NoReturn:
        if self._current_server:
            self.plain.add(self._current_server.uri.netloc.rpartition("@")[2])
        if self._transport:
            # While it reconnects, nats-py leaves open what failed.
            self._transport.close()  # type: ignore[no-untyped-call]
        raise PlainServer

    @property
    def offers_no_tls(self) -> bool:
        """Whether every server there is was refused because it offers no TLS."""
        pool = {server.uri.netloc.rpartition("@")[2] for server in self._server_pool}
        return bool(pool) and pool <= self.plain

    def abort(self) -> None:
        """Closes the socket at once, with what is not sent: a server that is frozen takes nothing, however long that is awaited."""
        if (writer := getattr(self._transport, "_io_writer", None)) is not None:
            writer.transport.abort()

    async def _close(self, status: int, do_cbs: bool = True) -> None:
        # What waits for a connection that is gone goes nowhere: uvloop raises where one writes to it all the same.
        if not self.is_connected:
            self._pending = []
            self._pending_data_size = 0
        await super()._close(status, do_cbs)

    async def _process_err(self, err_msg: str) -> None:
        # An error such as a login that has expired or was revoked makes nats-py close for good. A server says the same
        # when its users are being changed; so we come again, with what the files say then.
        if "permissions violation" in err_msg.lower() or not self.is_connected:
            await super()._process_err(err_msg)
            return
        fault = nats.errors.Error(f"nats: {err_msg.strip(chr(39))}")
        await self._error_cb(fault)
        await self._process_op_err(fault)

    async def _process_pong(self) -> None:
        # A flush that ran out of time or was cancelled leaves a settled future behind; nats-py's own handler would
        # raise on it, and that would end the read loop.
        if self._pongs and self._pongs[0].done():
            self._pongs.pop(0)
            self._pongs_received += 1
            self._pings_outstanding = 0
            return
        await super()._process_pong()

    async def round_trip(self, timeout: float) -> None:
        """Waits until the server has read all that was sent and answered a ping. Raises TimeoutError or nats' errors.

        nats-py's `flush` waits with `asyncio.wait_for`, which on Python 3.11 swallows a cancellation that comes together
        with the pong: the caller then goes on as if nobody had told it to stop.
        """
        if self.is_closed:
            raise nats.errors.ConnectionClosedError
        pong: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.round_trips.add(pong)
        try:
            async with asyncio.timeout(timeout):
                await self._send_ping(pong)
                await pong
        finally:
            self.round_trips.discard(pong)
            pong.cancel()

    def fail_round_trips(self) -> None:
        """Ends the round trips that are under way, since the connection they were made on is lost."""
        for pong in self.round_trips:
            if not pong.done():
                pong.set_exception(nats.errors.StaleConnectionError())

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        tap = self.taps.get(sid)
        if tap is None:
            await super()._process_msg(sid, subject, reply, data, headers)
            return
        self.stats["in_msgs"] += 1
        self.stats["in_bytes"] += len(data)
        try:
            tap(bytes(subject).decode(), bytes(reply).decode() if reply else "", bytes(data), bytes(headers or b""))
        except Exception:
            log.exception("message handler raised an error; the message is dropped")
