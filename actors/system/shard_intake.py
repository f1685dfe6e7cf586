"""Pulls stored events of one shard for an actor from a durable consumer, and settles each delivery.

`ack_wait` runs while a delivery waits in the mailbox. It is short, so that the deliveries of a killed process come again
soon; each delivery that is held here is extended with an in-progress ack before it runs out.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from actors.system.actor import Actor
from actors.system.life import EventDelivery, Message
from actors.system.metrics import Gauges
from router.broker import Broker
from router.codec import decode
from router.deadletter import Origin, actor_subject
from router.deadletters import DeadLetters
from router.dedup import digest
from router.errors import BadEvent, BrokerError, Refused, deadletter_reason
from router.layout import Shard
from router.mailbox import Mailbox
from router.nats.consumer import Consumer
from router.nats.consumer import Message as Stored
from router.nats.stream import Ack
from router.subject import distinct
from router.timing import full_jitter
from router.topology import SECOND

log = logging.getLogger(__name__)

# At most 10 s: the delay until the deliveries of a killed process or of a broken connection come again. At least 2 s, so
# that a slow event loop does not cause redeliveries.
MAX_WAIT = 10.0
MIN_WAIT = 2.0
# So long after a start or a reconnect the first deliveries may be on their way; so long the server's count of those that wait
# is believed without a delivery: they may have been deleted.
UNSURE_SECONDS = 2.0
STILL_SECONDS = 5.0
# 30 days: as long as a dead letter is kept, and longer than events are.
ABANDONED_SECONDS = 30 * 86400.0


def ack_wait(actor: Actor) -> float:
    """How long the server waits for an ack before it redelivers: the time that a full mailbox may take, within bounds."""
    return max(MIN_WAIT, min(actor.timeout * actor.capacity, MAX_WAIT))


# What could not be handed to the mailbox: by whom it came, and why it is no event. Bounded by the credit of the consumers.
Undecodables = asyncio.Queue[tuple["ShardIntake", Stored, BadEvent | None]]


class _Held(NamedTuple):
    """A delivery that is not settled, and the connection it came by (how many were lost before)."""

    stored: Stored
    life: int


class Horizon:
    """Up to when all events that are stored have been handled: what an actor that waits for events may take for the time.

    After a start, or a loss of the connection, nobody knows for a moment what is stored and has not come.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._handled = 0
        self._pending = 0
        self._moved = self._unsure = clock()
        self._life = 0

    def began(self, pending: int) -> None:
        """Notes what lies before a consumer that was made."""
        self._pending = pending
        self._moved = self._unsure = self._clock()

    def heard(self, pending: int) -> None:
        """Notes what the server has beyond a delivery."""
        self._pending = pending
        self._moved = self._clock()

    def at(self, oldest: int | None, connected: bool, life: int) -> int | None:
        """The horizon in ns, None where nothing waits: then it is the time that it is.

        `oldest` is when the oldest event in hand was stored; `life` counts the connections to NATS.
        """
        now = self._clock()
        if not connected or life != self._life:
            self._unsure, self._life = now, life
        if oldest is not None:
            self._handled = max(self._handled, oldest)
            return self._handled
        if now - self._unsure < UNSURE_SECONDS or (self._pending and now - self._moved < STILL_SECONDS):
            return self._handled
        return None


class ShardIntake:
    """Feeds an actor's mailbox from one shard of EVENTS and settles what was fed."""

    def __init__(
        self,
        shard: Shard,
        actor: Actor,
        consumer: str,
        back: str,
        broker: Broker,
        mailbox: Mailbox[Message],
        gauges: Gauges,
        undecodable: Undecodables,
        deliver: str,
    ) -> None:
        """`consumer` is the name of the durable one, and `deliver` where it begins if it is made; `back` is the actor's command
        that takes dead letters back. What cannot be handed to the mailbox goes to `undecodable`, whose reader calls `settle`.
        """
        self.shard = shard
        self.actor = actor
        self.consumer_name = consumer
        self._back = back
        self._broker = broker
        self._mailbox = mailbox
        self._gauges = gauges
        self._dead = DeadLetters(broker)
        self._held: dict[int, _Held] = {}
        self._behind = 0  # what the server had beyond the delivery that came last
        self._horizon = Horizon()
        self._undecodable = undecodable
        self._consumer = Consumer(
            broker.connection,
            shard.stream,
            {
                "durable_name": self.consumer_name,
                "description": f"events for the actor {actor.name}",
                "filter_subjects": [shard.stored(pattern) for pattern in distinct(actor.subjects)],
                "deliver_policy": deliver,
                "ack_wait": int(ack_wait(actor) * SECOND),
                # Unlimited: `life.handle` decides when the event becomes a dead letter. A limit here would lose it.
                "max_deliver": -1,
                # An actor that is gone for good leaves its consumer behind, and an instance has a consumer of its own.
                "inactive_threshold": int(ABANDONED_SECONDS * SECOND),
                # A nak with a delay still counts as pending; there must be room for those beside the ones in the mailbox.
                "max_ack_pending": max(1000, 2 * actor.capacity),
            },
            self._heard,
            # All shards together bring what the mailbox takes.
            credit=-(-actor.capacity // shard.count),
            began=self._horizon.began,
        )

    @property
    def is_empty(self) -> bool:
        """Whether nothing is held that is not settled."""
        return not self._held

    @property
    def lag(self) -> int:
        """Events that are not settled: those held here, and those that the server had when the last one came."""
        return self._behind + len(self._held)

    @property
    def oldest(self) -> float | None:
        """When the oldest of those held was stored; None without any."""
        held = list(self._held.values())
        return min(each.stored.time for each in held) / 1e9 if held else None

    def horizon(self) -> int | None:
        """Up to when (ns) all stored events have been handled; None where none waits."""
        # They come in the order in which they were stored, but for those that are delivered again.
        oldest = next(iter(self._held.values()), None)
        connection = self._broker.connection
        return self._horizon.at(oldest.stored.time if oldest else None, connection.connected, connection.reconnects)

    async def pull(self) -> None:
        """Pulls deliveries into the mailbox until cancelled."""
        await self._consumer.run()

    async def created(self) -> None:
        """Returns once the durable consumer is known to exist."""
        await self._consumer.created.wait()

    async def give_back(self) -> None:
        """Returns all deliveries that are not settled, so that NATS redelivers them now and not after `ack_wait`."""
        for held in list(self._held.values()):
            try:
                await held.stored.nak()
            except BrokerError as fault:
                log.debug(
                    "delivery could not be returned; NATS redelivers it after ack_wait", extra={"fault": str(fault)}
                )
        self._held.clear()

    def _heard(self, stored: Stored) -> None:
        self._behind = stored.pending
        self._horizon.heard(stored.pending)
        if stored.attempt > 1:
            self._gauges.redelivered.inc()
        again = stored.sequence in self._held
        self._held[stored.sequence] = _Held(stored, self._broker.connection.reconnects)
        if again:
            # `ack_wait` ran out for one that is still held; settling either of the two settles both.
            self._consumer.done()
            return
        try:
            event = decode(stored.payload)
        except BadEvent as fault:
            self._undecodable.put_nowait((self, stored, fault))
            return
        delivery = EventDelivery(event, stored.attempt, _Settle(self, stored.sequence), digest(stored.payload))
        if not self._mailbox.offer(delivery):
            # The mailbox is closed, or more came than was pulled: the server delivers it later.
            self._undecodable.put_nowait((self, stored, None))

    async def keep_alive(self) -> None:
        """Extends the deliveries that are held."""
        for held in list(self._held.values()):
            try:
                await held.stored.working()
            except BrokerError:
                break

    async def settle(self, stored: Stored, fault: BadEvent | None) -> None:
        """Moves what is no event to dead letters, and returns what the mailbox had no room for."""
        if fault is not None:
            self._gauges.deadletters.inc()
            await self.undecodable(stored.sequence, fault)
        else:
            # Not at once: each delivery counts as an attempt.
            await self.retry(stored.sequence, 0.0 if self._mailbox.closed else MAX_WAIT / 2)

    async def ack(self, sequence: int) -> None:
        """Acknowledges an event."""
        await self._settle(sequence, Stored.ack)

    async def retry(self, sequence: int, delay: float) -> None:
        """Returns an event for another attempt. Not confirmed: where the server misses it, `ack_wait` runs out."""
        held = self._held.pop(sequence, None)
        if held is None:
            return
        try:
            await held.stored.nak(delay)
        except BrokerError as fault:
            log.debug("delivery could not be returned; NATS redelivers it after ack_wait", extra={"fault": str(fault)})
        self._consumer.done()

    async def reject(self, sequence: int, reason: str, detail: str) -> None:
        """Moves an event to dead letters: stored there first and acknowledged then, so that it is never lost between."""
        await self._move_to_dead_letters(
            sequence, reason, detail, lambda stored: self._rejected(stored, reason, detail)
        )

    async def undecodable(self, sequence: int, fault: BadEvent) -> None:
        """Moves a message that is no event, or a malformed one, to dead letters: one for all actors that receive it."""
        reason = deadletter_reason(fault)
        await self._move_to_dead_letters(
            sequence,
            reason,
            str(fault),
            lambda stored: self._dead.add_undecodable(
                self.shard.stream,
                stored.sequence,
                stored.subject,
                stored.payload,
                fault=str(fault),
                source=self.actor.name,
                reason=reason,
            ),
        )

    async def _rejected(self, stored: Stored, reason: str, detail: str) -> Ack:
        return await self._dead.add(
            actor_subject(self.actor.name),
            stored.payload,
            origin=Origin(self.shard.stream, stored.sequence, stored.subject),
            reason=reason,
            detail=detail,
            attempts=stored.attempt,
            first=stored.time,
            last=time.time_ns(),
            destination=self.consumer_name,
            source=self.actor.name,
            back=self._back,
        )

    async def _move_to_dead_letters(
        self, sequence: int, reason: str, detail: str, store: Callable[[Stored], Awaitable[Ack]]
    ) -> None:
        held = self._held.get(sequence)
        if held is None:
            return
        failures = 0
        while True:
            try:
                await store(held.stored)
                break
            except Refused as refusal:
                # The dead letter may never be stored: redelivering the event for ever is better than losing it.
                log.error(
                    "NATS refused to store a dead letter; the event will be redelivered",
                    extra={"actor": self.actor.name, "fault": str(refusal)},
                )
                await self.retry(sequence, MAX_WAIT)
                return
            except BrokerError as fault:
                failures += 1
                log.warning(
                    "dead letter could not be stored; retrying", extra={"actor": self.actor.name, "fault": str(fault)}
                )
                await asyncio.sleep(full_jitter(failures, 0.1, 2.0))
        log.warning(
            "event moved to dead letters",
            extra={"actor": self.actor.name, "reason": reason, "detail": detail, "sequence": sequence},
        )
        await self._settle(sequence, lambda stored: stored.term(reason))

    async def _settle(self, sequence: int, tell: Callable[[Stored], Awaitable[None]]) -> None:
        """Sends how a delivery ended. Where the server misses it, the event is redelivered: at least once."""
        held = self._held.get(sequence)
        if held is None:
            return
        connection = self._broker.connection
        try:
            # A server that was restarted meanwhile may have forgotten the delivery, and then confirms nothing.
            if held.life == connection.reconnects and connection.up.is_set():
                await tell(held.stored)
            else:
                await held.stored.ack_soon()
        except BrokerError as fault:
            log.debug(
                "acknowledgement was not confirmed; sending it once more",
                extra={"sequence": sequence, "fault": str(fault)},
            )
            try:
                await held.stored.ack_soon()
            except BrokerError as again:
                log.info(
                    "acknowledgement could not be sent; NATS redelivers the event",
                    extra={"sequence": sequence, "fault": str(again)},
                )
        # Not reached when cancelled: the delivery then stays held, and is returned at the end.
        self._held.pop(sequence, None)
        self._consumer.done()


class _Settle:
    """Settles one delivery through the intake that received it."""

    __slots__ = ("_intake", "_sequence")

    def __init__(self, intake: ShardIntake, sequence: int) -> None:
        self._intake = intake
        self._sequence = sequence

    async def ack(self) -> None:
        await self._intake.ack(self._sequence)

    async def retry(self, delay: float) -> None:
        await self._intake.retry(self._sequence, delay)

    async def reject(self, reason: str, detail: str) -> None:
        await self._intake.reject(self._sequence, reason, detail)
