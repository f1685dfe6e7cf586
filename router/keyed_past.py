"""Reads the newest event of each key of a subject, for types whose events share a subject (`campaign_metrics` of many campaigns).

JetStream finds the newest event of a subject, and knows no key inside an event. So the past of the subject is read backwards, in
windows of the stream, within bounds. What was found is remembered: next time what came since is read, and further back where the
bounds ended it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field

from router.broker import PAGE_EVENTS, Broker
from router.catalogue import Delivery, find
from router.event import Event
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
    """The newest event of each key of a subject as of the sequence `upto`; all events behind `low` were looked through."""

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
        # By subject, in the shard of its newest event; the one that was asked for last at the end.
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._life = 0

    async def newest(
        self, last: Record, upto: int, first: int, life: int, budget: ReadBudget
    ) -> tuple[list[Record], bool]:
        """The newest event of each key of a subject as of a sequence, and whether all keys were looked for.

        `last` is the newest event of the subject as of then, `first` the oldest sequence that its shard keeps, `life` the number of
        its life; what older generations hold is not looked through. Raises BrokerError.
        """
        if life != self._life:
            self._known.clear()
            self._life = life
        known = self._known.get(last.subject)
        if known is not None and known.upto >= last.sequence and _serves(known, upto):
            # Nothing came since.
            known.upto = max(known.upto, upto)
            found, known, keep = known, None, True
        else:
            found = _Known(upto, last.sequence - 1, _newest_of([last]))
            # Who goes on in an older snapshot is not shown what came since; and what is known is of use to others.
            known, keep = (known, True) if known is None or known.upto < upto else (None, False)
        await self._look_back(last, found, known, first, budget)
        if keep:
            self._keep(last.subject, found)
        return self._answer(found, first)

    def _answer(self, found: _Known, first: int) -> tuple[list[Record], bool]:
        return [record for record in found.newest.values() if record.sequence >= first], found.low < max(first, 1)

    async def _look_back(
        self, last: Record, found: _Known, known: _Known | None, first: int, budget: ReadBudget
    ) -> None:
        """Reads backwards until the beginning of the shard, or until nothing may be read any more.

        Where it comes to what is known, it goes on behind that; until then a known event may have been superseded.
        """
        width = PAGE_EVENTS
        store = self._broker.shard(last.shard)
        while found.low >= max(first, 1):
            if known is not None and found.low <= known.upto:
                found.newest = {**known.newest, **found.newest}
                found.low, known = min(found.low, known.low), None
                continue
            low = max(found.low - width, first - 1 if known is None else known.upto, 0)
            window = await self._window(store, last.subject, low, found.low, budget)
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

    def _keep(self, subject: str, known: _Known) -> None:
        self._known.pop(subject, None)
        if known.size > MAX_BYTES or len(known.newest) > MAX_KEYS:
            return
        self._known[subject] = known
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
