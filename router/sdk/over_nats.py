"""Carries a run's events to JetStream: many beside one another in their order, and its start and end through the ledger.

Events are sent in flights: all of one are written at once, in order, and the next is sent once each is acknowledged. What is
not acknowledged is sent again from the first such event on, with those behind it, under the same ids: JetStream drops those
that it has. ADR 0040 says why not atomic batches.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Callable, Sequence

import msgspec

from router.broker import Broker
from router.clock import wall
from router.cluster.leases import MARK_SECONDS, REFRESHES, lease_key
from router.codec import decode
from router.errors import BadEvent, BrokerError, Forbidden, Refused, RunEnded, RunSuperseded, TooLarge
from router.event import Event
from router.nats.bucket import Bucket
from router.nats.dial import without_secrets
from router.nats.error_codes import WRONG_LAST
from router.nats.publisher import Publish
from router.nats.refusals import Fate, fate, is_sealed
from router.nats.stream import Ack
from router.runs import RunLedger
from router.sdk.control import StopRequests
from router.sdk.encoder import in_life, in_short, is_synthesized, number_of
from router.sdk.fence import LifeFence
from router.sdk.queued import Kind, Life, Queued
from router.sdk.sender import Host, Sent
from router.sdk.values import RunOver
from router.timing import full_jitter
from router.topology import LEASES

log = logging.getLogger(__name__)

# How long one call of `send` waits for a connection, and for the ledger, in seconds.
CONNECT_SECONDS = 0.25
LEDGER_SECONDS = 3.0
# A start that is delivered later than this after it was said does not supersede a life that has begun since.
LATE_SECONDS = 10.0
# Before a flight is sent again that was refused while another start was being stored.
FENCE_SECONDS = 0.02


class NatsSender:
    """The way of one run over one connection to NATS, which other runs may share."""

    def __init__(self, broker: Broker, life: Life, ttl: float, *, opens: bool) -> None:
        """With `opens` the broker is opened here, as soon as there is a server, and closed by `release`."""
        self.url = without_secrets(broker.connection.settings.url)
        self.shared = self._broker = broker
        self._life = life
        self._ttl = max(1.0, float(round(ttl)))
        self._opens = opens
        self._ledger = RunLedger(broker)
        self._fence = LifeFence(broker, self._ledger, life)
        self._begun = asyncio.Event()
        self._incarnation = life.incarnation
        self._leased = False
        self._refreshed = math.inf  # when the lease was refreshed last
        self._host: Host | None = None
        self._revived: str | None = None  # the incarnation that was begun for a completion on its way

    @property
    def incarnation(self) -> str:
        """The incarnation that was begun last."""
        return self._incarnation

    async def connect(self) -> None:
        """Returns once there is a connection."""
        if self._opens:
            await open_when_there(self._broker)
        await self._broker.connection.up.wait()

    async def serve(self, host: Host) -> None:
        """Connects, holds the run's lease and hears requests to stop, until cancelled."""
        self._host = host
        await self.connect()
        host.limited(self._broker.largest_event)
        stop = StopRequests(self._life.domain, self._life.run, host.asked_to_stop)
        async with asyncio.TaskGroup() as group:
            group.create_task(stop.serve(self._broker.connection))
            group.create_task(self._hold(host))

    async def send(self, items: Sequence[Queued], revive: Callable[[], Queued]) -> Sent:
        """Stores the first events, as `EventSender` says."""
        if not await self._is_up():
            return Sent(away=self._no_answer)
        try:
            match items[0].kind:
                case Kind.START:
                    return await self._start(items[0])
                case Kind.END:
                    return await self._end(items[0], revive)
                case _:
                    if self._fence.is_of_former_streams:
                        return await self._after_another_start()
                    return await self._publish(self._fence.flight(items))
        except (TooLarge, BadEvent) as fault:
            return _refused(items[0], fault)
        except RunOver as fault:
            return Sent(refused=1, over=fault)
        except BrokerError as fault:
            return Sent(away=str(fault))

    @property
    def _no_answer(self) -> str:
        hint = "" if "://" in self.url else f" (is it an edge? Then it is http://{self.url})"
        return f"NATS does not answer at {self.url}{hint}"

    async def _is_up(self) -> bool:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await self._broker.connection.up.wait()
            return True
        except TimeoutError:
            return False

    async def _publish(self, items: list[Queued], *, fenced: bool = True) -> Sent:
        """Sends one flight; its first events are settled, up to the first to be sent again."""
        broker = self._broker
        if broker.earlier.active and (known := await self._stored_earlier(items)):
            return Sent(known)
        layout = broker.layout
        messages = [
            Publish(layout.shard_of(item.subject).stored(item.subject), item.payload, {"Nats-Msg-Id": item.dedup})
            for item in items
        ]
        if fenced:
            messages[0].headers.update(self._fence.headers)
        stored = refused = 0
        for item, answer in zip(items, await broker.publisher.send(messages), strict=True):
            if isinstance(answer, Ack):
                stored += 1
            elif isinstance(answer, Refused) and answer.err_code in WRONG_LAST:
                return await self._after_another_start()
            elif is_sealed(answer):
                try:
                    await broker.layouts.after(layout.current.number, LEDGER_SECONDS)
                except BrokerError as fault:
                    return Sent(stored, refused, str(fault))
                return Sent(stored, refused)
            elif isinstance(answer, TooLarge) or (isinstance(answer, Refused) and fate(answer) is Fate.REFUSED):
                refused += _refused(item, answer).refused
            else:
                return Sent(stored, refused, str(answer))
        return Sent(stored, refused)

    async def _stored_earlier(self, items: Sequence[Queued]) -> int:
        """How many of the first events the streams before the last reshard have, whose acknowledgements were lost."""
        for place, item in enumerate(items):
            if await self._broker.earlier.find(item.subject, item.dedup) is None:
                return place
        return len(items)

    async def _after_another_start(self) -> Sent:
        """What becomes of a flight that was refused, as another start is stored or just being stored, or ours is kept no more."""
        try:
            await self._fence.check(self._incarnation)
        except RunSuperseded as fault:
            return Sent(refused=1, over=fault)
        await asyncio.sleep(FENCE_SECONDS)
        return Sent()

    async def _start(self, item: Queued) -> Sent:
        event = decode(item.payload)
        incarnation = str(event.data.get("incarnation"))
        late = wall.now_ns() - event.time > LATE_SECONDS * 1e9
        try:
            ack = await self._ledger.start(
                event, item.payload, incarnation, lease=self._ttl, late=late, timeout=LEDGER_SECONDS
            )
            self._fence.begun(ack)
            sent = Sent(stored=1)
        except RunSuperseded as fault:
            return Sent(refused=1, over=fault)
        except Forbidden as fault:
            log.warning(
                "run is begun without an entry in the ledger", extra={"run": self._life.run, "fault": str(fault)}
            )
            sent = await self._publish([item], fenced=False)
        if sent.away is None:
            self._incarnation = incarnation
            self._refreshed = time.monotonic()
            if event.data.get("resumed") is True:
                self._revived = incarnation
            self._begun.set()
        return sent

    async def _end(self, item: Queued, revive: Callable[[], Queued]) -> Sent:
        try:
            await self._claim(item if self._revived is None else in_life(item, self._revived))
        except RunEnded as fault:
            if not fault.synthesized or is_synthesized(item):
                return Sent(refused=1, over=fault)
            # Ended in our place, while we were frozen or cut off: the run goes on, so that its own end counts.
            start = revive()
            begun = await self._start(start)
            if begun.away is not None or begun.over is not None:
                return begun._replace(stored=0, refused=1 if begun.over is not None else 0)
            self._revived = self._incarnation
            await self._claim(in_life(item, self._revived))
        except RunSuperseded as fault:
            return Sent(refused=1, over=fault)
        except TooLarge as fault:
            if (short := in_short(item)) is None:
                raise
            log.warning("completion of run %s is too large; only its outcome is sent: %s", self._life.run, fault)
            return await self._end(short, revive)
        except Forbidden as fault:
            log.warning(
                "run is ended without an entry in the ledger", extra={"run": self._life.run, "fault": str(fault)}
            )
            return await self._publish([item], fenced=False)
        return Sent(stored=1)

    async def _claim(self, item: Queued) -> None:
        event = decode(item.payload)
        incarnation = event.data.get("incarnation")
        await self._ledger.end(
            event,
            item.payload,
            incarnation=incarnation if isinstance(incarnation, str) else None,
            timeout=LEDGER_SECONDS,
        )

    async def check(self) -> None:
        """Asks whether the run still lives, as `EventSender` says."""
        up = self._broker.connection.up.is_set()
        if self._host is None or not up or not self._begun.is_set() or time.monotonic() - self._refreshed < self._ttl:
            return
        incarnation = self._incarnation
        # What else is wrong is found out by sending.
        with contextlib.suppress(BrokerError):
            if await self._is_failed(incarnation) and incarnation == self._incarnation and self._begun.is_set():
                self._begun.clear()
                self._host.lost()

    async def resume(self, revive: Callable[[], Queued]) -> Sent:
        """Begins the life that goes on, as `EventSender` says."""
        if not await self._is_up():
            return Sent(away=self._no_answer)
        try:
            if await self._is_failed(self._incarnation):
                return await self._start(revive())
            await self._fence.check(self._incarnation)
            return Sent()
        except RunSuperseded as fault:
            return Sent(over=fault)
        except Forbidden:
            return Sent()
        except BrokerError as fault:
            return Sent(away=str(fault))

    async def _is_failed(self, incarnation: str) -> bool:
        """Whether this incarnation lives no more, since it was ended in its place. Raises BrokerError."""
        entry = await self._ledger.read(self._life.domain, self._life.token)
        return bool(entry and entry.incarnation == incarnation and entry.ended and entry.ended.synthesized)

    async def last_stored(self, incarnations: frozenset[str]) -> int:
        """The number of the run's last event that is stored, as `EventSender` says."""
        try:
            if not await self._is_up():
                return 0
            records = await self._broker.latest([f"{self._life.domain}.{self._life.token}.*"])
        except BrokerError as fault:
            log.debug("last stored event of a run is not known", extra={"run": self._life.run, "fault": str(fault)})
            return 0
        events: list[Event] = [record.event for record in records if record.event is not None]
        return max((number_of(event.id, self._life.run, incarnations) for event in events), default=0)

    async def release(self) -> None:
        """Gives up the lease, and closes what was opened here."""
        if self._leased:
            # Where this fails, the ttl says the same a little later.
            with contextlib.suppress(BrokerError, TimeoutError):
                async with asyncio.timeout(1.0):
                    await Bucket(self._broker.connection, LEASES).delete(self._key, MARK_SECONDS)
        if self._opens:
            await self._broker.close()

    @property
    def _key(self) -> str:
        return lease_key("run", self._life.domain, self._life.run)

    async def _hold(self, host: Host) -> None:
        """Refreshes the lease while the run lives, and reads in the ledger whether it still does."""
        bucket = Bucket(self._broker.connection, LEASES)
        failures = 0
        while True:
            await self._begun.wait()
            pause = self._ttl / REFRESHES
            incarnation = self._incarnation
            value = msgspec.json.encode({"ttl": self._ttl, "incarnation": incarnation, "via": "nats"})
            try:
                entry = await self._ledger.hold(
                    self._life.domain, self._life.token, self._ttl, incarnation, timeout=LEDGER_SECONDS
                )
                if entry.stop is not None:
                    host.asked_to_stop(entry.stop.reason)
                await bucket.put(self._key, value, self._ttl)
                self._leased, self._refreshed = True, time.monotonic()
                failures = 0
            except RunEnded as ended:
                if incarnation == self._incarnation:
                    self._begun.clear()
                    if ended.synthesized:
                        host.lost()
            except RunSuperseded as fault:
                if incarnation == self._incarnation:
                    self._leased = False  # it is another's by now
                    host.superseded(fault)
                    return
            except BrokerError as fault:
                failures += 1
                pause = full_jitter(failures, 0.1, 1.0)
                log.debug("lease was not refreshed; retrying", extra={"run": self._life.run, "fault": str(fault)})
            await asyncio.sleep(pause)


async def open_when_there(broker: Broker) -> None:
    """Opens a broker as soon as a server answers; tries for as long as none does."""
    failures = 0
    while not broker.connection.connected:
        try:
            # A producer creates no streams: the operator sets their sizes.
            await broker.open(apply=False)
            return
        except BrokerError as fault:
            failures += 1
            if failures == 1:
                log.warning("NATS cannot be reached; events are kept until it can: %s", fault)
            await asyncio.sleep(0.1 + full_jitter(failures, 0.2, 1.0))


def _refused(item: Queued, fault: BrokerError | BadEvent) -> Sent:
    # No retry would change this answer, and the events behind must not wait for ever.
    log.error("event %s refused by JetStream; it is dropped: %s", item.subject, fault)
    return Sent(refused=1)
