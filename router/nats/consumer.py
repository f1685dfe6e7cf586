"""A pull consumer of a stream: credit, heartbeats, redelivery, and an acknowledgement for each message.

Our own pull loop instead of nats-py's: its `fetch` swallows the statuses that say a consumer is gone, and does not pull
again after a reconnect. Here a status is read, the consumer is made again where it is missing, and pulls follow credit.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from router.coalescing import call_repeatedly
from router.errors import BrokerError, Refused
from router.nats.connection import Connection, Outgoing
from router.nats.error_codes import ErrorCode
from router.nats.headers import all_headers, status

log = logging.getLogger(__name__)

# A pull ends by itself after this many seconds and is issued again; heartbeats come at a quarter of it.
PULL_SECONDS = 30.0
# Two heartbeats missed: the pull is lost with its server and is issued again.
SILENCE_SECONDS = 16.0
# All consumers of a process look for that at the same moments, so that it wakes once for them.
CHECK_SECONDS = 2.0
# How long a little room stays unused. A pull asks for half of the credit where it can, but a few messages that take long
# must not keep the others waiting.
REFILL_SECONDS = 0.1


@dataclass(slots=True)
class Message:
    """One delivery of one stored message. Settle it once: `ack`, `nak` or `term`."""

    subject: str
    payload: bytes
    headers: dict[str, str]
    sequence: int
    attempt: int
    time: int
    pending: int
    _reply: str
    _connection: Connection

    async def ack(self) -> None:
        """Confirms, and waits until the server knows it: after this it is not delivered again. Raises Timeout."""
        await self._connection.ask(self._reply, b"+ACK", timeout=2)

    async def ack_soon(self) -> None:
        """Confirms without waiting; a lost confirmation means one more delivery."""
        await self._connection.send(self._reply, b"+ACK")

    @property
    def acknowledgement(self) -> Outgoing:
        """What `ack_soon` sends, for a caller that sends many together."""
        return self._reply, b"+ACK", None, ""

    async def nak(self, delay: float = 0.0) -> None:
        """Gives the message back; it comes again after `delay` seconds."""
        payload = b'-NAK {"delay": %d}' % int(delay * 1_000_000_000) if delay > 0 else b"-NAK"
        await self._connection.send(self._reply, payload)

    async def term(self, reason: str) -> None:
        """Ends the message for good, with a reason in the server's advisory."""
        await self._connection.ask(self._reply, b"+TERM " + reason.encode()[:200], timeout=2)

    async def working(self) -> None:
        """Tells the server that work goes on, which starts its ack_wait again."""
        await self._connection.send(self._reply, b"+WPI")


class Consumer:
    """A durable or passing pull consumer, kept supplied with `credit` messages until `stop`."""

    def __init__(
        self,
        connection: Connection,
        stream: str,
        config: Mapping[str, Any],
        heard: Callable[[Message], None],
        credit: int = 64,
        afresh: bool = False,
        clear: Callable[[], Awaitable[None]] | None = None,
        begin: Callable[[], Awaitable[None]] | None = None,
        began: Callable[[int], None] | None = None,
        idle: Callable[[], None] | None = None,
    ) -> None:
        """`heard` is called from the read loop and must not block; call `done()` once for each message it got.

        `config` is the whole JetStream consumer configuration, with `durable_name` or `name`. `afresh` makes a new
        consumer after each loss instead of finding the old one: without acknowledgements, what was on the way when the
        connection broke is not sent again.

        With `clear`, which has to remove whatever consumer is in the way, and `afresh`, everything is heard in the order
        of the stream, and nothing is passed over: where a message was lost on the way a new consumer begins, which hands
        out again what is not yet settled. Who listens must know what it already holds.

        `begin` is called before each consumer is made, `began` after it, with the number of messages that lie before it,
        and `idle` at each heartbeat: the server has had nothing to deliver for some seconds.
        """
        self._clear = clear
        self._begin = begin
        self._began = began
        self._idle = idle
        self._place = 0
        self.stream = stream
        self.name = str(config.get("durable_name") or config["name"])
        self._connection = connection
        self._config = {"ack_policy": "explicit", "name": self.name, **config}
        self._heard = heard
        self._credit = credit
        self._outstanding = 0  # handed to `heard` and not yet done
        self._requested = 0  # pulled and not yet arrived
        self._wake = asyncio.Event()
        self._refill: asyncio.TimerHandle | None = None
        self._missing = True
        self._moving = False
        self._afresh = afresh
        self._lives = 0
        self.created = asyncio.Event()
        self._inbox = connection.inbox()
        self._pulls = 0  # numbers the pulls, so that the status of a forgotten one is known as such
        self._last = 0.0

    async def run(self) -> None:
        """Pulls until cancelled; survives reconnects, server restarts and a deleted consumer."""
        unlisten = self._connection.on_reconnect(self._lost_pull)
        # Messages of a pull come with their own subject; only its statuses come to the address it named.
        listening = await self._connection.listen(f"{self._inbox}.*", self._arrived)
        stop_checking = call_repeatedly(CHECK_SECONDS, self._check_silence)
        pause = 0.05
        try:
            while True:
                self._wake.clear()
                if self._moving:
                    # Pulls of the old connection are still served as long as somebody listens at their address, on top
                    # of those that replace them: more would come than there is credit for.
                    self._moving = False
                    await listening.drain()
                    self._inbox = self._connection.inbox()
                    listening = await self._connection.listen(f"{self._inbox}.*", self._arrived)
                try:
                    if self._missing:
                        await self._create()
                        self._missing = False
                        self.created.set()
                    await self._pull()
                    pause = 0.05
                except BrokerError as fault:
                    log.debug("pull request failed; pulling again", extra={"stream": self.stream, "fault": str(fault)})
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, 1.0)
                    self._missing = True
                    continue
                await self._wake.wait()
                if self._is_silent():
                    log.warning("no heartbeat from the consumer; pulling again", extra={"stream": self.stream})
                    self._drop_pull()
                    self._missing = self._moving = True
        finally:
            stop_checking()
            unlisten()
            self._drop_pull()
            if self._refill is not None:
                self._refill.cancel()
            await listening.drain()

    def _is_silent(self) -> bool:
        """Whether something was asked for and nothing came for too long, not even a heartbeat."""
        return self._requested > 0 and time.monotonic() - self._last >= SILENCE_SECONDS

    def _check_silence(self) -> None:
        if self._is_silent():
            self._wake.set()

    def done(self) -> None:
        """Says that one message has been worked off, which makes room for the next."""
        self._outstanding -= 1
        if self._outstanding + self._requested <= self._credit // 2:
            self._wake.set()
        elif not self._requested and self._refill is None:
            self._refill = asyncio.get_running_loop().call_later(REFILL_SECONDS, self._fill_up)

    def _fill_up(self) -> None:
        self._refill = None
        self._wake.set()

    @property
    def outstanding(self) -> int:
        return self._outstanding

    async def _create(self) -> None:
        if self._afresh:
            self._lives += 1
            self.name = f"{self._config['name']}-{self._lives}"
            self._place = 0
            if self._clear:
                await self._connection.up.wait()
                await self._clear()
        request = {"stream_name": self.stream, "config": {**self._config, "name": self.name}, "action": ""}
        await self._connection.up.wait()
        if self._begin:
            await self._begin()
        try:
            made = await self._connection.api(f"CONSUMER.CREATE.{self.stream}.{self.name}", request)
        except Refused as refusal:
            # The second: a durable exists whose start cannot be changed any more; its position is the one to keep.
            if refusal.err_code not in (ErrorCode.CONSUMER_CREATE, ErrorCode.CONSUMER_ALREADY_EXISTS):
                raise
            changeable = {
                k: v for k, v in self._config.items() if k not in ("deliver_policy", "opt_start_seq", "opt_start_time")
            }
            have = (await self._connection.api(f"CONSUMER.INFO.{self.stream}.{self.name}"))["config"]
            for start in ("deliver_policy", "opt_start_seq", "opt_start_time"):
                if start in have:
                    changeable[start] = have[start]
            made = await self._connection.api(
                f"CONSUMER.CREATE.{self.stream}.{self.name}", {**request, "config": changeable}
            )
        if self._began:
            self._began(int(made.get("num_pending", 0)))

    async def _pull(self) -> None:
        room = self._credit - self._outstanding - self._requested
        if room <= 0 or (self._requested and room < self._credit // 2):
            return
        self._pulls += 1
        self._requested += room
        self._last = time.monotonic()
        request = {
            "batch": room,
            "expires": int(PULL_SECONDS * 1e9),
            "idle_heartbeat": int(PULL_SECONDS / 4 * 1e9),
        }
        await self._connection.send(
            f"$JS.API.CONSUMER.MSG.NEXT.{self.stream}.{self.name}",
            msgspec.json.encode(request),
            reply=f"{self._inbox}.{self._pulls}",
        )

    def _arrived(self, subject: str, reply: str, payload: bytes, raw: bytes) -> None:
        now = time.monotonic()
        if self._begin and self._requested and now - self._last > SILENCE_SECONDS:
            # A process that was suspended receives what its socket held, and not what the stream has removed since.
            self._lost_pull()
        self._last = now
        if reply.startswith("$JS.ACK."):
            # $JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<ns>.<pending>, and since 2.14 optionally
            # two more tokens (domain, account) after ACK and one random one at the end.
            tokens = reply.split(".")
            if len(tokens) >= 11:
                del tokens[2:4]
            if self._clear and not self._follows(tokens):
                return
            if self._requested:
                self._requested -= 1
            self._outstanding += 1
            headers = all_headers(raw) if raw else {}
            _, _, _, _, attempt, sequence, _, moment, pending, *_ = tokens
            message = Message(
                subject,
                payload,
                headers,
                int(sequence),
                int(attempt),
                int(moment),
                int(pending),
                reply,
                self._connection,
            )
            try:
                self._heard(message)
            except Exception:
                # It is not settled, so it comes again; meanwhile its place is free for the next.
                log.exception(
                    "message handler raised an error; skipped the message",
                    extra={"stream": self.stream, "sequence": message.sequence},
                )
                self.done()
            return
        if subject.endswith(f".{self._pulls}"):
            self._take_status(*status(raw))

    def _take_status(self, code: int, text: str) -> None:
        """Takes the status of the newest pull: a heartbeat, or its end."""
        match code:
            case 100:
                if self._idle:
                    self._idle()
                return
            case 404 | 408:
                pass
            case 409 if "Leadership" not in text and "Deleted" not in text and "Shutdown" not in text:
                pass
            case _:
                self._missing = True
        self._drop_pull()
        self._wake.set()

    def _follows(self, tokens: list[str]) -> bool:
        """Whether this is the next message of the consumer that lives; if one is missing, another consumer begins."""
        if tokens[3] != self.name or self._missing:
            return False
        if int(tokens[6]) != self._place + 1:
            log.warning("consumer missed a message; creating it again", extra={"stream": self.stream})
            self._lost_pull()
            return False
        self._place += 1
        return True

    def _drop_pull(self) -> None:
        """Forgets what was asked for; a message that still comes of it is taken, its status is not."""
        self._pulls += 1
        self._requested = 0

    def _lost_pull(self) -> Awaitable[None] | None:
        self._drop_pull()
        self._missing = self._moving = True
        self._wake.set()
        return None
