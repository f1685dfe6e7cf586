"""Keeps the state of an actor that people watch in the bucket STATES, numbers its lives, and says that it has ended.

Writing never holds up the actor: `note` remembers the newest state event, and `run` writes it. At intervals `run` looks
whether the entry is still what was written: an edge may have taken the process for dead while it was suspended or cut off,
or the bucket may have been made anew. Then the state is written and published again.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import time
from collections.abc import Mapping
from typing import Any

import msgspec

from router.broker import Broker
from router.errors import BrokerError, Conflict, Forbidden, Refused
from router.event import Event
from router.states import GoneMark, StateEntry, StateStore, entry_of, gone_event
from router.subject import Subject
from router.timing import full_jitter

log = logging.getLogger(__name__)

# How often the entry is compared with what was written.
COMPARE_SECONDS = 5.0
# How long the reading of the last life may hold up a start, and the last word an end.
BEGIN_SECONDS, END_SECONDS = 3.0, 2.0
# Writers of one entry are one actor, and an edge that takes it for gone: more conflicts in a row are no race.
MAX_CONFLICTS = 5


class Incarnations:
    """Numbers incarnations: each is the ms since the epoch at which it begins, and larger than any before."""

    def __init__(self) -> None:
        self._last = 0

    def seen(self, life: int) -> None:
        """Notes a life that another process had."""
        self._last = max(self._last, life)

    def next(self) -> int:
        """The life that begins now."""
        # After a step back of the clock the numbers go on from the last one.
        self._last = max(self._last + 1, time.time_ns() // 1_000_000)
        return self._last


class PresenceKeeper:
    """The entry of one actor in STATES."""

    def __init__(self, broker: Broker, domain: str, entity: str) -> None:
        self._store = StateStore(broker)
        self._broker = broker
        self._domain, self._entity = domain, entity
        self._subject = Subject.of(domain, entity, "state")
        self._lives = Incarnations()
        self._life = 0
        self._known: StateEntry | None = None
        self._wanted: StateEntry | None = None
        self._revision = 0
        self._changed = asyncio.Event()
        self._superseded = False
        self._refused = False

    async def begin(self) -> None:
        """Reads what the last process has left, so that the lives of this one are larger; waits for NATS for some seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(BEGIN_SECONDS):
                for failures in itertools.count(1):
                    try:
                        await self._read()
                        return
                    except (Forbidden, Refused) as fault:
                        self._refuse(fault)
                        return
                    except BrokerError:
                        await asyncio.sleep(full_jitter(failures, 0.1, 1.0))

    def next_life(self) -> int:
        """The number of the incarnation that begins now."""
        self._life = self._lives.next()
        return self._life

    def note(self, event: Event) -> None:
        """Takes an event of the actor that was published; its state is written soon."""
        if event.subject == self._subject:
            self._wanted = entry_of(event, self._life, self._wanted or self._known)
            self._changed.set()

    async def kept(self, name: str) -> dict[str, Any] | None:
        """What the actor keeps under a name over restarts; None, too, where it may not read it. Raises BrokerError."""
        try:
            return await self._store.kept(self._domain, self._entity, name)
        except (Forbidden, Refused) as fault:
            self._refuse(fault)
            return None

    async def keep(self, name: str, kept: Mapping[str, Any]) -> None:
        """Writes what the actor keeps over restarts, as far as it may. Raises BrokerError."""
        try:
            await self._store.keep(self._domain, self._entity, name, kept)
        except (Forbidden, Refused) as fault:
            self._refuse(fault)

    async def run(self) -> None:
        """Writes each state and looks that it stays, until cancelled."""
        failures = 0
        while True:
            self._changed.clear()
            try:
                await self._write()
                failures, pause = 0, COMPARE_SECONDS
            except BrokerError as fault:
                failures += 1
                pause = full_jitter(failures, 0.1, 2.0)
                log.debug("the actor's state could not be written; retrying", extra={"fault": str(fault)})
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._changed.wait()

    async def end(self, reason: str) -> None:
        """Says that the actor has ended by itself, and why. Where that fails, the edges notice by its lease."""
        entry = self._wanted
        if entry is None or self._superseded:
            return
        try:
            async with asyncio.timeout(END_SECONDS):
                event = gone_event(self._domain, self._entity, entry, reason, time.time_ns())
                await self._broker.publish(event, END_SECONDS)
                mark = GoneMark(reason, str(event.data["since"]))
                self._wanted = msgspec.structs.replace(entry, gone=mark)
                await self._write()
        except (BrokerError, TimeoutError) as fault:
            log.debug("the actor's end could not be published; its lease tells", extra={"fault": str(fault)})

    async def _write(self) -> None:
        """Makes the entry what the actor last said, where this is the newest life. Raises BrokerError."""
        if self._superseded or self._refused:
            return
        for _ in range(MAX_CONFLICTS):
            wanted = self._wanted
            if wanted is None:
                return
            if _same(self._known, wanted):
                await self._read()
                if _same(self._known, wanted) or self._superseded:
                    return
                log.warning(
                    "the actor was taken for gone, or its state is lost; it is published again",
                    extra={"domain": self._domain, "entity": self._entity},
                )
                await self._broker.publish(Event.new(self._subject, wanted.data, source=self._domain))
            try:
                self._revision = await self._store.write(self._domain, self._entity, wanted, self._revision)
                self._known = wanted
                return
            except Conflict:
                await self._read()
                if self._superseded:
                    return
            except (Forbidden, Refused) as fault:
                self._refuse(fault)
                return
        raise Conflict(409, 0, f"the state of {self._subject} is changed by somebody else all the time")

    async def _read(self) -> None:
        stored = await self._store.read(self._domain, self._entity)
        self._known, self._revision = stored.entry, stored.revision
        if stored.entry is None:
            return
        self._lives.seen(stored.entry.life)
        if self._life and stored.entry.life > self._life:
            self._superseded = True
            log.warning(
                "another process runs this actor now; its state is left to that",
                extra={"domain": self._domain, "entity": self._entity},
            )

    def _refuse(self, fault: BrokerError) -> None:
        # Said once: the state events are published all the same.
        self._refused = True
        log.warning(
            "the actor's state cannot be kept in the bucket STATES; viewers see it by its events only",
            extra={"domain": self._domain, "entity": self._entity, "fault": str(fault)},
        )


def _same(known: StateEntry | None, wanted: StateEntry) -> bool:
    """Whether an entry is the one that was written; its data may have changed on their way through JSON."""
    return known is not None and (known.life, known.updated, known.gone) == (wanted.life, wanted.updated, wanted.gone)
