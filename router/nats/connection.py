"""One connection to NATS: subscriptions, requests over one inbox, reconnects, a watchdog.

nats-py is the protocol client below it: TLS, credentials, reconnects. Only the modules of `router/nats/` use it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import ssl
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec
import nats.errors

from router.clock import wall
from router.errors import BrokerError, NoResponders, Refused, RouterError, Timeout, TooLarge, Unreachable, Unsuitable
from router.limits import message_size
from router.nats.client import Handler, NatsClient, PlainServer
from router.nats.commands import Outgoing as Outgoing
from router.nats.counters import figures
from router.nats.deadlines import RequestDeadlines
from router.nats.dial import await_listener, check_server, credentials_for, without_secrets
from router.nats.headers import Reply, status
from router.nats.permissions import RefusedPublishes, RefusedSubscriptions
from router.nats.request import CallbackRequest, OpenAsk
from router.nats.settings import BrokerSettings
from router.nats.subscription import Subscription
from router.nats.watchdog import watch

log = logging.getLogger(__name__)

# `router.nats.watchdog` notices a dead peer long before nats-py does by two of these.
PING_SECONDS = 60
# So long a subscription is waited for.
CONFIRM_SECONDS = 2.0


class Connection:
    """One connection to NATS that reconnects for ever: requests share one inbox, and listeners learn of each loss."""

    def __init__(self, settings: BrokerSettings, name: str) -> None:
        self.settings = settings
        self.name = name
        self.up = asyncio.Event()
        self.reconnects = 0
        self._wire = NatsClient(settings.requires_tls)
        self._denied = RefusedSubscriptions(self._wire, self._allowed_again)
        self.refused_publishes = RefusedPublishes()
        self._inbox = f"{settings.inbox}.{secrets.token_hex(8)}"
        self._asked = 0
        self._waiting: dict[str, Handler] = {}
        self._on_reconnect: list[Callable[[], Awaitable[None] | None]] = []
        self._on_loss: list[Callable[[], None]] = []
        self._refusal = ""  # the last error of the server, for the text of Unreachable
        self._opened = False
        self._plain_logged = False
        self._dialled = False  # nats-py cannot be closed before it has begun to connect
        self._open_asks: dict[OpenAsk, str] = {}  # with the subject of each
        self._deadlines = RequestDeadlines()
        self._watchdog: asyncio.Task[None] | None = None
        self._followups: set[asyncio.Task[None]] = set()
        figures.connections.add(self)

    async def open(self) -> None:
        """Connects, and checks that the server will do. Raises Unreachable, BadCredentials or Unsuitable."""
        options = credentials_for(self.settings, self._wire)
        await await_listener(self.settings)
        self._dialled = True
        try:
            async with asyncio.timeout(self.settings.connect_timeout):
                await self._wire.connect(
                    self.settings.servers,
                    name=self.name,
                    max_reconnect_attempts=-1,
                    reconnect_time_wait=0.2,  # type: ignore[arg-type]
                    connect_timeout=2,
                    ping_interval=PING_SECONDS,
                    max_outstanding_pings=2,
                    allow_reconnect=True,
                    skip_subject_validation=True,  # subjects are checked where they are made
                    error_cb=self._error,
                    disconnected_cb=self._lost,
                    reconnected_cb=self._regained,
                    **options,
                )
        except (OSError, TimeoutError, nats.errors.Error) as fault:
            await self._close_wire()
            why = self._refusal or _reason(fault)
            raise Unreachable(f"no NATS server answers at {without_secrets(self.settings.url)} ({why})") from None
        except BaseException:
            # Unsuitable, or the caller gives up: no socket may stay open behind either.
            await self._close_wire()
            raise
        self._opened = True
        check_server(self._wire._server_info, self.settings.url)
        await self._wire.tap(f"{self._inbox}.*", self._answer)
        self.up.set()
        self._watchdog = asyncio.create_task(watch(self._wire), name="nats watchdog")

    async def _close_wire(self) -> None:
        with contextlib.suppress(OSError, nats.errors.Error, TimeoutError):
            async with asyncio.timeout(1):
                await self._wire.close()
        # A close that ran out of time leaves the socket open.
        self._wire.abort()

    async def close(self) -> None:
        """Sends what is buffered and closes the connection, within two seconds."""
        if self._watchdog:
            self._watchdog.cancel()
        self._on_loss.clear()
        self.up.clear()
        self._denied.close()
        if not self._dialled:
            return
        with contextlib.suppress(TimeoutError, nats.errors.Error, OSError):
            async with asyncio.timeout(2):
                if self._wire.is_connected:
                    await self._wire.round_trip(1)
                await self._wire.close()
        self._wire.abort()

    @property
    def max_payload(self) -> int:
        """The largest message the server takes, in bytes."""
        return int(self._wire.max_payload)

    @property
    def server_version(self) -> str:
        return str(self._wire._server_info.get("version", "?"))

    @property
    def connected(self) -> bool:
        return bool(self._wire.is_connected)

    @property
    def refused_subjects(self) -> list[str]:
        """The subjects of subscriptions that NATS does not allow now; they are repeated until it does."""
        return self._denied.subjects

    @property
    def traffic(self) -> Mapping[str, int]:
        """Messages and bytes each way since the connection was made, as nats-py counts them."""
        counted: Mapping[str, int] = self._wire.stats
        return counted

    def on_reconnect(self, listener: Callable[[], Awaitable[None] | None]) -> Callable[[], None]:
        """Calls the listener after each reconnect; what was published meanwhile was not received.

        Returns a function that removes the listener.
        """
        self._on_reconnect.append(listener)
        return lambda: self._on_reconnect.remove(listener) if listener in self._on_reconnect else None

    def on_loss(self, listener: Callable[[], None]) -> None:
        """Calls the listener when the connection is lost."""
        self._on_loss.append(listener)

    async def listen(self, subject: str, handler: Handler, queue: str = "") -> Subscription:
        """Subscribes; returns once the server has subscribed, so that what is stored from now on is received.

        A server that does not confirm it within CONFIRM_SECONDS has it all the same once it reads it: until then what is
        published may be missed, which is logged. A lost connection subscribes again with the next one.

        Raises Timeout where the connection has been closed for good.
        """
        try:
            subscription = Subscription(self._wire, await self._wire.tap(subject, handler, queue))
        except nats.errors.Error as fault:
            raise Timeout(f"not subscription: {_reason(fault)}") from None
        try:
            if self._wire.is_connected:
                with contextlib.suppress(nats.errors.Error):
                    await self._confirm(subject)
        except asyncio.CancelledError:
            await subscription.stop()
            raise
        return subscription

    async def _confirm(self, subject: str) -> None:
        """Waits until the server has subscribed. Raises nats' errors where the connection is lost."""
        try:
            await self._wire.round_trip(CONFIRM_SECONDS)
        except TimeoutError:
            log.warning(
                "NATS has not confirmed a subscription; what is published until it answers may be missed",
                extra={"subject": subject, "seconds": CONFIRM_SECONDS},
            )

    async def send(
        self, subject: str, payload: bytes, headers: Mapping[str, str] | None = None, reply: str = ""
    ) -> None:
        """Publishes without an acknowledgement; raises Timeout where the connection is down."""
        if self._wire.publish_now(subject, payload, headers, reply):
            return
        try:
            # A copy: nats-py has been seen to write into its caller's headers.
            await self._wire.publish(subject, payload, reply=reply, headers=dict(headers) if headers else None)
        except nats.errors.MaxPayloadError:
            raise TooLarge(message_size(payload, headers), self.max_payload) from None
        except nats.errors.Error as fault:
            raise Timeout(f"not sent: {_reason(fault)}") from None

    async def send_all(self, messages: Iterable[Outgoing]) -> None:
        """Publishes messages in this order without acknowledgements, for less than one `send` each.

        Raises Timeout where the connection is down, and TooLarge for one that is too large; then none may have been sent.
        """
        messages = list(messages)
        try:
            await self._wire.publish_all(messages)
        except nats.errors.MaxPayloadError:
            largest = max(message_size(payload, headers) for _, payload, headers, _ in messages)
            raise TooLarge(largest, self.max_payload) from None
        except nats.errors.Error as fault:
            raise Timeout(f"not sent: {_reason(fault)}") from None

    async def flush(self, timeout: float = 2.0) -> None:
        """Waits until the server has read all that was sent, and all it sent before that has been heard.

        Raises Timeout, at once where the connection is down or is lost meanwhile.
        """
        if not self.connected:
            raise Timeout("the connection to NATS is down")
        try:
            await self._wire.round_trip(timeout)
        except (nats.errors.Error, TimeoutError) as fault:
            raise Timeout(f"the server did not answer a ping: {_reason(fault)}") from None

    def inbox(self) -> str:
        """Makes an address of its own, for what is answered by more than one message or under other subjects."""
        self._asked += 1
        return f"{self._inbox}x.{self._asked:x}"

    def expect(self, handler: Handler) -> str:
        """Opens a reply address under the shared inbox; `forget` closes it."""
        self._asked += 1
        token = f"{self._asked:x}"
        self._waiting[token] = handler
        return f"{self._inbox}.{token}"

    def forget(self, reply: str) -> None:
        """Closes a reply address; later answers are passed over."""
        self._waiting.pop(reply[len(self._inbox) + 1 :], None)

    def _answer(self, subject: str, reply: str, payload: bytes, headers: bytes) -> None:
        handler = self._waiting.get(subject[len(self._inbox) + 1 :])
        if handler:
            handler(subject, reply, payload, headers)

    async def ask(
        self, subject: str, payload: bytes, headers: Mapping[str, str] | None = None, timeout: float | None = None
    ) -> Reply:
        """Requests one answer. Raises NoResponders, or Timeout: Forbidden where NATS does not allow the request."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Reply] = loop.create_future()

        def answered(_subject: str, _reply: str, data: bytes, raw: bytes) -> None:
            if not future.done():
                future.set_result(Reply(data, raw))

        def expired() -> None:
            if not future.done():
                figures.unanswered += 1
                future.set_exception(Timeout(f"no answer on {subject}"))

        begun = loop.time()
        address = self.expect(answered)
        self._deadlines.set(expired, timeout or self.settings.request_timeout)
        try:
            # Before it is sent: a violation may arrive while the sender still waits for the socket.
            self._open_asks[future] = subject
            await self.send(subject, payload, headers, address)
            reply = await future
        finally:
            self._open_asks.pop(future, None)
            if future.done() and not future.cancelled():
                future.exception()  # nobody waits for it where sending failed
            self._deadlines.lift(expired)
            self.forget(address)
        figures.requests.observe(loop.time() - begun)
        if not reply.payload and status(reply.headers)[0] == 503:
            raise NoResponders(f"nobody answers on {subject}")
        return reply

    def ask_now(
        self,
        subject: str,
        payload: bytes,
        headers: Mapping[str, str] | None,
        settle: Callable[[Reply | BrokerError], None],
        timeout: float,
    ) -> CallbackRequest | None:
        """Requests one answer where nothing must be waited for to send it; None where something must, and nothing was sent.

        `settle` is called once, from the read loop or a timer, with the answer or what `ask` would raise; it must not block.
        """
        request = CallbackRequest(subject, time.monotonic(), settle, self._ended)
        request.address = address = self.expect(request.answered)
        if not self._wire.publish_now(subject, payload, headers, address):
            self.forget(address)
            return None
        self._open_asks[request] = subject
        self._deadlines.set(request.expire, timeout)
        return request

    def _ended(self, request: CallbackRequest) -> None:
        del self._open_asks[request]
        self._deadlines.lift(request.expire)
        self.forget(request.address)
        figures.requests.observe(time.monotonic() - request.begun)

    @contextlib.contextmanager
    def awaiting(self, subject: str, end: asyncio.Future[Any]) -> Iterator[None]:
        """While the block runs `end` fails with Forbidden where NATS refuses the subject, and with Timeout where NATS is lost.

        For requests that are answered by more than one message (`expect`); those of one answer are `ask`.
        """
        self._open_asks[end] = subject
        try:
            yield
        finally:
            del self._open_asks[end]
            if end.done() and not end.cancelled():
                end.exception()  # nobody waits for it where sending failed

    async def api(self, subject: str, request: object = None, timeout: float | None = None) -> dict[str, Any]:
        """Calls the JetStream API (`STREAM.INFO.EVENTS`). Raises Refused with JetStream's code, NoResponders or Timeout."""
        payload = msgspec.json.encode(request) if request is not None else b""
        begun = time.monotonic()
        reply = await self.ask(f"$JS.API.{subject}", payload, timeout=timeout)
        answer: dict[str, Any] = msgspec.json.decode(reply.payload)
        wall.saw(answer.get("ts"), begun, time.monotonic())
        if error := answer.get("error"):
            raise Refused(error.get("code", 0), error.get("err_code", 0), error.get("description", "refused"))
        return answer

    async def _error(self, fault: Exception) -> None:
        if isinstance(fault, nats.errors.SlowConsumerError):
            figures.slow += 1
            log.error("nats-py dropped messages of a slow consumer")
            self._notify_loss()
        elif "permissions violation" in str(fault).lower():
            # A missing permission looks like a server that does not answer; only this error names it.
            figures.forbidden += 1
            publish = self.refused_publishes.note(str(fault), self._open_asks)
            fresh = self._denied.note(str(fault)) if publish is None else None
            if fresh is not False and publish is not False:
                log.warning("NATS permissions violation", extra={"fault": _reason(fault)})
            if fresh:
                # What is published from now on is not received.
                self._notify_loss()
        elif isinstance(fault, PlainServer):
            self._refuse_plain()
        else:
            if isinstance(fault, nats.errors.Error | ssl.SSLError):
                self._refusal = _reason(fault)
            log.debug("nats", extra={"fault": _reason(fault)})

    def _refuse_plain(self) -> None:
        """Ends the first attempt to connect where no server offers TLS; a later one is repeated until one does."""
        self._refusal = str(PlainServer())
        if self._opened:
            if not self._plain_logged:
                self._plain_logged = True
                log.error("NATS no longer offers TLS; nothing is sent to it until it does")
        elif self._wire.offers_no_tls:
            raise Unsuitable(
                f"the NATS server at {without_secrets(self.settings.url)} offers no TLS, so nothing was sent to it; turn TLS on in its "
                "configuration, or use nats:// without CALLBOARD_NATS_CA and CALLBOARD_NATS_CERT for a server without TLS"
            )

    async def _lost(self) -> None:
        if self.up.is_set():
            figures.losses += 1
            log.warning("connection to NATS lost; reconnecting")
        self.up.clear()
        self._denied.forget()
        # Requests on the lost connection are not answered any more: they fail now instead of at their timeout.
        for ask in tuple(self._open_asks):
            if not ask.done():
                ask.set_exception(Timeout("the connection to NATS was lost before the answer came"))
        self._wire.fail_round_trips()
        self._notify_loss()

    def _notify_loss(self) -> None:
        for listener in self._on_loss:
            listener()

    async def _regained(self) -> None:
        self.reconnects += 1
        figures.reconnects += 1
        self._plain_logged = False
        self.up.set()
        log.warning("connection to NATS restored")
        self._follow_up()

    def _allowed_again(self) -> None:
        """A subscription that was refused works again; as after a reconnect, what was published meanwhile was not received."""
        self._notify_loss()
        self._follow_up()

    def _follow_up(self) -> None:
        # A task of its own: this runs inside nats-py's reconnect, which must end before requests are answered.
        task = asyncio.create_task(self._notify_reconnect(), name="nats reconnected")
        self._followups.add(task)
        task.add_done_callback(self._followups.discard)

    async def _notify_reconnect(self) -> None:
        for listener in list(self._on_reconnect):
            try:
                pending = listener()
                if pending is not None:
                    await pending
            except RouterError as fault:
                log.warning("reconnect listener raised an error; the others are called", extra={"fault": str(fault)})


def _reason(fault: BaseException) -> str:
    return str(fault) or type(fault).__name__
