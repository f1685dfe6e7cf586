"""Reads the newest event of each key of a subject, for types whose events share a subject (`campaign_metrics` of many campaigns).

JetStream finds the newest event of a subject, and knows no key inside an event. So the past of the subject is read backwards, in
windows of the stream, within bounds: the newest generation of streams first. What was found is remembered: next time what came since
is read, and further back where the bounds ended it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field

from router.broker import PAGE_EVENTS, Broker
from router.catalogue import Delivery, find
from router.event import Event
from router.events_state import EventsState
from router.layout import Shard
from router.position import Position
from router.record import Record
from router.shard_store import ShardStore
from router.subject import escape

# What one snapshot may cost beside its own: about a second.
MAX_READ = 20_000
MAX_REQUESTS = 500
# What is remembered of all subjects together: 16 MiB.
MAX_KEYS = 20_000
MAX_BYTES = 16 * 1024 * 1024
# A window that brought fewer events than this is followed by one of four times its width, an empty one by one of sixteen times.
SPARSE = 512

Key = tuple[Hashable, ...]


@dataclass(slots=True)
class ReadBudget:
    """What may still be read for one snapshot."""

    events: int = MAX_READ
    requests: int = MAX_REQUESTS

    @property
    def spent(self) -> bool:
        return self.events <= 0 or self.requests <= 0


@dataclass(slots=True)
class _Known:
    """The newest event of each key of a subject in one shard as of the sequence `upto`; all behind `low` were looked through."""

    upto: int
    low: int
    newest: dict[Key, Record] = field(default_factory=dict)

    @property
    def size(self) -> int:
        return sum(len(record.payload) for record in self.newest.values())


def is_keyed(event: Event) -> bool:
    """Whether events of one subject may have different keys, each with a newest one of its own."""
    return bool(event.key or find(event.type, event.subject.domain).key)


class KeyedPast:
    """Finds the newest event of each key. One per edge process."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        # By subject and stream; the one that was asked for last at the end.
        self._known: OrderedDict[tuple[str, str], _Known] = OrderedDict()
        self._life = 0

    async def newest(
        self, last: Record, upto: Position, state: EventsState, life: int, budget: ReadBudget
    ) -> tuple[list[Record], bool]:
        """The newest event of each key of a subject as of a position, and whether all keys were looked for.

        `last` is the newest event of the subject as of then, `state` says what the shards keep, `life` is the number of their life.
        Raises BrokerError.
        """
        if life != self._life:
            self._known.clear()
            self._life = life
        newest: dict[Key, Record] = {}
        for generation in reversed(state.layout.generations):
            if generation.number > last.shard.generation:
                continue
            shard = generation.shard_of(last.subject)
            bound = min(upto.of(shard), state.last_of(generation.number).of(shard))
            first = state.begin_of(generation.number).of(shard) + 1
            there = last if shard.stream == last.shard.stream else None
            found, whole = await self._of_shard(shard, last.subject, there, bound, first, budget)
            newest = {**found, **newest}
            if not whole:
                # An older event may have been superseded by one that was not read.
                return list(newest.values()), False
        return list(newest.values()), True

    async def _of_shard(
        self, shard: Shard, subject: str, last: Record | None, upto: int, first: int, budget: ReadBudget
    ) -> tuple[dict[Key, Record], bool]:
        """The same of one shard up to a sequence; `last` is the newest event of the subject there, where that is known."""
        behind = last.sequence if last is not None else upto
        known = self._known.get((subject, shard.stream))
        if known is not None and known.upto >= behind and _serves(known, upto):
            # Nothing came since.
            known.upto = max(known.upto, upto)
            found, known, keep = known, None, True
        else:
            found = _Known(upto, behind - 1, _newest_of([last])) if last is not None else _Known(upto, upto)
            if last is None and known is None:
                await self._look_for_last(shard, subject, found, budget)
            # Who goes on in an older snapshot is not shown what came since; and what is known is of use to others.
            known, keep = (known, True) if known is None or known.upto < upto else (None, False)
        await self._look_back(shard, subject, found, known, first, budget)
        if keep:
            self._keep((subject, shard.stream), found)
        return self._answer(found, first)

    async def _look_for_last(self, shard: Shard, subject: str, found: _Known, budget: ReadBudget) -> None:
        """Finds where a subject ends in a former generation, of which most subjects are not."""
        if not found.upto or budget.spent:
            return
        budget.requests -= 1
        records = [
            record async for page in self._broker.shard(shard).latest_pages([subject], found.upto) for record in page
        ]
        found.newest = _newest_of(records)
        found.low = min((record.sequence for record in records), default=1) - 1

    @staticmethod
    def _answer(found: _Known, first: int) -> tuple[dict[Key, Record], bool]:
        kept = {key: record for key, record in found.newest.items() if record.sequence >= first}
        return kept, found.low < max(first, 1)

    async def _look_back(
        self, shard: Shard, subject: str, found: _Known, known: _Known | None, first: int, budget: ReadBudget
    ) -> None:
        """Reads backwards until the beginning of the shard, or until nothing may be read any more.

        Where it comes to what is known, it goes on behind that; until then a known event may have been superseded.
        """
        width = PAGE_EVENTS
        store = self._broker.shard(shard)
        while found.low >= max(first, 1):
            if known is not None and found.low <= known.upto:
                found.newest = {**known.newest, **found.newest}
                found.low, known = min(found.low, known.low), None
                continue
            low = max(found.low - width, first - 1 if known is None else known.upto, 0)
            window = await self._window(store, subject, low, found.low, budget)
            if window is None:
                return
            newest, count = window
            found.newest = {**newest, **found.newest}
            found.low = low
            width *= 16 if not count else 4 if count < SPARSE else 1

    @staticmethod
    async def _window(
        store: ShardStore, subject: str, low: int, high: int, budget: ReadBudget
    ) -> tuple[dict[Key, Record], int] | None:
        """The newest of each key behind `low` up to `high`, and how many events there are; None where not all may be read."""
        newest: dict[Key, Record] = {}
        count, after = 0, low
        while after < high:
            if budget.spent:
                return None
            page = await store.read(subject, after, upto=high)
            budget.requests -= 1
            records = [record for record in page.records if record.sequence <= high]
            budget.events -= len(page.records)
            count += len(records)
            newest |= _newest_of(records)
            if not page.more or not page.records or page.records[-1].sequence >= high:
                break
            after = page.records[-1].sequence
        return newest, count

    def _keep(self, place: tuple[str, str], known: _Known) -> None:
        self._known.pop(place, None)
        if known.size > MAX_BYTES or len(known.newest) > MAX_KEYS:
            return
        self._known[place] = known
        keys, size = 0, 0
        for kept, each in enumerate(reversed(list(self._known.values()))):
            keys, size = keys + len(each.newest), size + each.size
            if keys > MAX_KEYS or size > MAX_BYTES:
                for _ in range(len(self._known) - kept):
                    self._known.popitem(last=False)
                break


def is_named_by_key(event: Event) -> bool:
    """Whether the key is the entity of the subject, so that other keys are hardly to be expected under it."""
    key = find(event.type, event.subject.domain).key_of(event.data)
    return len(key) == 1 and isinstance(key[0], str) and escape(key[0]) == event.subject.entity


def _newest_of(records: list[Record]) -> dict[Key, Record]:
    found: dict[Key, Record] = {}
    for record in records:
        event = record.event
        if event is not None and find(event.type, event.subject.domain).delivery is Delivery.LATEST:
            found[event.type, event.test, event.conflation_key] = record
    return found


def _serves(known: _Known, upto: int) -> bool:
    """Whether what is known is of no later place: one that goes on in an older snapshot must not be shown what came since."""
    return known.upto <= upto or all(record.sequence <= upto for record in known.newest.values())
