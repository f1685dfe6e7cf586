"""Pulls stored events for an actor from the shards of EVENTS: those of one generation at a time, oldest first.

After a reshard the sealed shards are read to their ends, and all that was delivered is settled, before those that take their place
are read: so an actor has the events of each entity in their order.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from actors.system.actor import REDRIVE, Actor
from actors.system.commands import command_address
from actors.system.life import Message
from actors.system.metrics import Gauges
from actors.system.shard_intake import ShardIntake, Undecodables, ack_wait
from router.broker import Broker
from router.errors import BrokerError, Refused
from router.layout import Generation, Shard
from router.mailbox import Mailbox
from router.nats.error_codes import ErrorCode
from router.nats.stream import Stream
from router.subject import escape
from router.timing import full_jitter

log = logging.getLogger(__name__)

# How often the consumers of sealed shards are asked whether they are at the end.
DRAIN_SECONDS = 0.25
# A copy that a consumer reads may be behind the leader of its stream by less than this.
BEHIND_SECONDS = 2.0


def consumer_name(actor: str, instance: str) -> str:
    """Names the durable consumer of one actor; every instance but `main` has one of its own, and sees every event."""
    return f"actor-{actor}" if instance == "main" else f"actor-{actor}-{escape(instance)}"


class Intake:
    """Feeds an actor's mailbox from EVENTS and settles what was fed."""

    def __init__(self, actor: Actor, instance: str, broker: Broker, mailbox: Mailbox[Message], gauges: Gauges) -> None:
        self.actor = actor
        self.consumer_name = consumer_name(actor.name, instance)
        self._back = command_address(actor.name, instance, REDRIVE)
        self._broker = broker
        self._mailbox = mailbox
        self._gauges = gauges
        gauges.follow(self)
        self._undecodable: Undecodables = asyncio.Queue()
        # The generation that is read, and its shards.
        self._number = -1
        self._shards: tuple[ShardIntake, ...] = ()
        self._created = asyncio.Event()
        self._changed = asyncio.Event()
        self._handled = 0

    @property
    def lag(self) -> int:
        """Events that are not settled: those held here, and those that the server had when the last one came."""
        return sum(shard.lag for shard in self._shards)

    @property
    def oldest(self) -> float | None:
        """When the oldest of those held was stored; None without any."""
        return min((oldest for shard in self._shards if (oldest := shard.oldest) is not None), default=None)

    def horizon(self) -> int | None:
        """Up to when (ns) all stored events have been handled; None where none waits."""
        known = [horizon for shard in self._shards if (horizon := shard.horizon()) is not None]
        if known:
            self._handled = max(self._handled, min(known))
        elif self._shards and self._number == self._broker.layout.current.number:
            return None
        return self._handled

    async def pull(self) -> None:
        """Pulls deliveries into the mailbox until cancelled."""
        unlisten = self._broker.on_layout(self._changed.set)
        try:
            generation, deliver = await self._first()
            while True:
                await self._read(generation, deliver)
                # One that was dropped before it was read is gone.
                generation = next(each for each in self._broker.layout.generations if each.number > generation.number)
                deliver = "all"
        finally:
            unlisten()

    async def created(self) -> None:
        """Returns once the durable consumers are known to exist."""
        await self._created.wait()

    async def keep(self) -> None:
        """Extends the deliveries that are held, and moves undecodable ones to dead letters, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_alive())
            group.create_task(self._settle_undecodable())

    async def give_back(self) -> None:
        """Returns all deliveries that are not settled, so that NATS redelivers them now and not after `ack_wait`."""
        for shard in self._shards:
            await shard.give_back()

    async def _keep_alive(self) -> None:
        pause = ack_wait(self.actor) / 3
        while True:
            await asyncio.sleep(pause)
            for shard in self._shards:
                await shard.keep_alive()

    async def _settle_undecodable(self) -> None:
        while True:
            shard, stored, fault = await self._undecodable.get()
            await shard.settle(stored, fault)

    async def _first(self) -> tuple[Generation, str]:
        """The generation in which this actor goes on, and where consumers begin that it does not have there yet.

        A new actor begins with what is stored from now on.
        """
        generations = self._broker.layout.generations
        if len(generations) == 1 and generations[0].number == 0:
            return generations[0], "new"
        is_known = False
        for generation in generations[:-1]:
            infos = [await self._info(shard) for shard in generation.shards]
            if (is_known or any(infos)) and not all(map(_is_drained, infos)):
                return generation, "all"
            is_known = is_known or any(infos)
        current = [await self._info(shard) for shard in generations[-1].shards]
        return generations[-1], "all" if is_known or any(current) else "new"

    async def _read(self, generation: Generation, deliver: str) -> None:
        """Reads a generation until it is sealed and read to its end."""
        self._shards = tuple(
            ShardIntake(
                shard, self.actor, self.consumer_name, self._back, self._broker, self._mailbox, self._gauges,
                self._undecodable, deliver,
            )
            for shard in generation.shards
        )  # fmt: skip
        self._number = generation.number
        async with asyncio.TaskGroup() as group:
            pulling = [group.create_task(shard.pull()) for shard in self._shards]
            for shard in self._shards:
                await shard.created()
            self._created.set()
            await self._drained(generation)
            for task in pulling:
                task.cancel()

    async def _drained(self, generation: Generation) -> None:
        """Returns once a generation takes no more events, and all of them are settled."""
        while self._broker.layout.current.number == generation.number:
            self._changed.clear()
            await self._changed.wait()
        loop = asyncio.get_running_loop()
        since: float | None = None
        while True:
            await asyncio.sleep(DRAIN_SECONDS)
            infos = [await self._info(shard) for shard in generation.shards] if self._is_empty else [None]
            if not all(info is None or _is_drained(info) for info in infos) or not self._is_empty:
                since = None
                continue
            since = loop.time() if since is None else since
            if self._broker.topology.replicas == 1 or loop.time() - since >= BEHIND_SECONDS:
                log.info(
                    "former streams of events are read to their ends",
                    extra={"actor": self.actor.name, "generation": generation.number},
                )
                return

    @property
    def _is_empty(self) -> bool:
        return all(shard.is_empty for shard in self._shards)

    async def _info(self, shard: Shard) -> dict[str, Any] | None:
        """How far the consumer of a shard is, None where there is none; asked again while NATS does not answer."""
        failures = 0
        while True:
            try:
                return await Stream(self._broker.connection, shard.stream).consumer_info(self.consumer_name)
            except Refused as refusal:
                if refusal.err_code in (ErrorCode.CONSUMER_NOT_FOUND, ErrorCode.STREAM_NOT_FOUND):
                    return None
                fault: BrokerError = refusal
            except BrokerError as other:
                fault = other
            failures += 1
            log.debug("consumer does not answer; asking again", extra={"stream": shard.stream, "fault": str(fault)})
            await asyncio.sleep(full_jitter(failures, 0.1, 2.0))


def _is_drained(info: dict[str, Any] | None) -> bool:
    """Whether a consumer has had all that its stream has, and all is settled."""
    return info is not None and not info["num_pending"] and not info["num_ack_pending"]
