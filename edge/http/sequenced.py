"""Publishes events whose content depends on the last stored event of their subject: progress of runs, changes of metrics.

The event is completed from the last one by a pure function, and published with that one's sequence as the expected last one of
the subject. So JetStream refuses it where somebody else has published meanwhile, another replica or a program that speaks NATS,
and it is completed anew. (ADR 0039)
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from edge.http.idempotency import Name
from router import catalogue, metrics_delta
from router.broker import PAGE_EVENTS, Broker
from router.codec import decode, encode
from router.errors import BadEvent, Conflict, NoResponders, Timeout, TooLarge
from router.event import Event
from router.last_event import LastEvent, last_event, put_behind
from router.limits import largest_event
from router.nats.headers import header
from router.nats.stream import Ack
from router.progress import forward, share
from router.shard_store import ShardStore

# The share that the run had reached, with an event of progress that does not say one.
FLOOR = "Callboard-Progress"
START = "workflow_start"

# 4,096 subjects whose last values take about 4 KiB at most: 16 MiB, and as much for each further key. Larger ones are read again
# each time.
MAX_SUBJECTS = 4096
MAX_KEPT_BYTES = 4096
# Metrics of one subject that are remembered apart.
MAX_NAMES = 16
# So many sequences of the stream back the last value of a metric is looked for that is not in the last event of its subject; one
# that is older counts as unknown. In so many reads.
LOOK_BACK = 10_000
LOOK_BACK_READS = 16
# Each conflict means that somebody else has stored an event, so that 32 in a row is a subject with too many publishers.
MAX_CONFLICTS = 32
PUBLISH_TIMEOUT = 10.0

Data = Mapping[str, Any]
Key = tuple[str, ...]


class Contended(Timeout):
    """so many others publish to the subject that no turn was found; the event is not stored"""


class Previous(NamedTuple):
    """What an event follows: the last sequence of its subject, 0 where there is none, and what it is completed from."""

    last: LastEvent
    # The last data, or the last values, that it is compared with; None where there are none, or they count no more.
    data: Data | None = None
    # The share of a run that was reached by then.
    floor: float | None = None


_NOTHING = Previous(LastEvent(0, 0))


class _Newest(NamedTuple):
    """The last event of a subject, None where there is none, and what a publisher must expect."""

    last: LastEvent
    event: Event | None

    def begins_behind(self, other: _Newest) -> bool:
        """Whether it begins the run anew, and came after the other."""
        return (
            self.event is not None and self.last.place > other.last.place and self.event.data.get("resumed") is not True
        )


@dataclass(frozen=True)
class SequenceRule:
    """How events of some types follow from the last one."""

    complete: Callable[[Event, Previous], Event]
    # What tells apart the events of a subject that are not compared with one another.
    key: Callable[[Event], Key]
    # What is known after an event, by what was known before and its data.
    remember: Callable[[str, Data | None, Data], Data]
    # Whether data have something to be compared with that is not in what is known.
    is_unknown: Callable[[str, Data | None, Data], bool]
    # Whether an event that begins the run anew makes what went before count no more.
    resets: bool = False


def _go_forward(event: Event, previous: Previous) -> Event:
    """Raises a progress that would go back."""
    return event if previous.floor is None else _with(event, forward(event.data, previous.floor))


def _compare(event: Event, previous: Previous) -> Event:
    """Works out what the producer of a metric has left out."""
    return _with(event, metrics_delta.complete(event.type, previous.data, event.data))


def _with(event: Event, data: Data) -> Event:
    return event if data is event.data else msgspec.structs.replace(event, data=data)


def _beginnings(domain: str) -> tuple[str, ...]:
    """The types after which a run's progress begins anew: of a conversation, the end of the answer before."""
    return (START, *(catalogue.terminal_types(domain) if domain == "thread" else ()))


def _metric_key(event: Event) -> Key:
    return metrics_delta.key_of(event.type, event.data, event.subject.domain)


PROGRESS = SequenceRule(_go_forward, lambda _: (), lambda _type, _known, data: data, lambda *_: False, resets=True)
METRIC = SequenceRule(_compare, _metric_key, metrics_delta.remember, metrics_delta.is_unknown)


def rule_of(event: Event) -> SequenceRule | None:
    """The rule that an event is completed by; None for an event that depends on no other."""
    domain = event.subject.domain
    if domain in catalogue.RUN_DOMAINS and catalogue.find(event.type, domain).progress:
        return PROGRESS
    # Where nothing is missing, nothing has to be compared.
    if metrics_delta.is_incomplete(event.type, event.data):
        return METRIC
    return None


def complete_alone(event: Event) -> Event:
    """Completes an event without a rule, by itself."""
    return _compare(event, _NOTHING)


@dataclass(slots=True)
class _Last:
    """What is known of one subject, and the lock of those that publish to it."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    previous: Previous | None = None
    # The last data or values of each key, as of `previous`.
    data: OrderedDict[Key, Data] = field(default_factory=OrderedDict)

    def keep(self, previous: Previous, key: Key) -> None:
        self.previous = previous
        if previous.data is not None:
            self.data[key] = previous.data
            self.data.move_to_end(key)
            if len(self.data) > MAX_NAMES:
                self.data.popitem(last=False)


class Sequenced:
    """Completes and publishes events. One per edge process; several may publish to one subject."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._lasts: OrderedDict[str, _Last] = OrderedDict()

    async def publish(self, rule: SequenceRule, event: Event, name: Name) -> tuple[bytes, Ack]:
        """Stores an event, completed from what it follows; returns the bytes that are stored. Raises Contended or BrokerError."""
        last = self._last(event.subject)
        try:
            async with asyncio.timeout(PUBLISH_TIMEOUT), last.lock:
                return await self._publish(rule, event, name, last)
        except TimeoutError as fault:
            if isinstance(fault, Timeout):
                raise
            raise Timeout(f"{event.subject} was not acknowledged within {PUBLISH_TIMEOUT:g} s") from None

    async def complete(self, rule: SequenceRule, event: Event) -> Event:
        """Completes an event that is published elsewhere, from what is stored now. Raises BrokerError."""
        return rule.complete(event, await self._read(rule, event, leader=True))

    async def _publish(self, rule: SequenceRule, event: Event, name: Name, last: _Last) -> tuple[bytes, Ack]:
        key = rule.key(event)
        for conflicts in range(MAX_CONFLICTS):
            # A copy of the stream may be behind; then it comes to a conflict, and the leader is asked.
            previous = await self._known(rule, event, last) or await self._read(rule, event, leader=conflicts > 0)
            completed = rule.complete(event, previous)
            if rule.resets and completed is not event and not conflicts:
                # The run may have been begun anew since, which is no conflict on this subject.
                previous = await self._read(rule, event, leader=True)
                completed = rule.complete(event, previous)
            floor = previous.floor if (said := share(completed.data)) is None else said
            payload = self._packed(completed)
            headers = name.headers
            if rule is PROGRESS and said is None and floor is not None:
                headers[FLOOR] = repr(floor)
            remembered, last.previous = last.data, None
            last.data = OrderedDict()
            try:
                ack = await put_behind(
                    self._broker,
                    previous.last,
                    completed,
                    payload,
                    PUBLISH_TIMEOUT,
                    name.dedup,
                    headers,
                    await_right=False,
                )
            except Conflict:
                continue
            now = previous.data if ack.duplicate else rule.remember(event.type, previous.data, completed.data)
            if len(payload) <= MAX_KEPT_BYTES and _size(now) <= MAX_KEPT_BYTES:
                last.data = remembered
                generation = previous.last.generation
                behind = (
                    previous.last
                    if ack.duplicate
                    else LastEvent(ack.sequence, generation, place=(generation, ack.sequence))
                )
                last.keep(Previous(behind, now, floor), key)
            return payload, ack
        raise Contended

    def _packed(self, event: Event) -> bytes:
        payload = encode(event)
        if len(payload) > (limit := largest_event(self._broker.connection.max_payload)):
            raise TooLarge(len(payload), limit, "with what is added to it the event")
        return payload

    async def _known(self, rule: SequenceRule, event: Event, last: _Last) -> Previous | None:
        """What the event follows by what is remembered of its subject; None where nothing is."""
        known = last.previous
        if known is not None and known.last.generation != self._broker.layout.current.number:
            # Since a reshard others may have published to the former streams.
            known = last.previous = None
            last.data.clear()
        if known is None or rule.resets:
            return known
        data = last.data.get(rule.key(event))
        if rule.is_unknown(event.type, data, event.data):
            before = await self._look_back(rule, event, known.last)
            data = before if data is None else rule.remember(event.type, before, data)
        return known._replace(data=data)

    async def _read(self, rule: SequenceRule, event: Event, leader: bool) -> Previous:
        """Reads what an event follows; from a copy of the stream, or from its leader."""
        if not rule.resets:
            newest = await self._read_last(event.subject, leader)
            if newest.event is None:
                return Previous(newest.last)
            data = None
            if rule.key(newest.event) == rule.key(event):
                data = rule.remember(event.type, None, newest.event.data)
            if rule.is_unknown(event.type, data, event.data):
                data = await self._look_back(rule, event, newest.last)
            return Previous(newest.last, data)
        run = f"{event.subject.domain}.{event.subject.entity}"
        newest, *begun = await asyncio.gather(
            self._read_last(event.subject, leader),
            *(self._read_last(f"{run}.{type}", leader) for type in _beginnings(event.subject.domain)),
        )
        if newest.event is None:
            return Previous(newest.last)
        if any(each.begins_behind(newest) for each in begun):
            return Previous(newest.last)
        return Previous(newest.last, newest.event.data, _floor(newest.event.data, newest.last.headers))

    async def _look_back(self, rule: SequenceRule, event: Event, last: LastEvent) -> Data | None:
        """The last values of the event's key, from the subject's events up to the last one, until all are known; read backwards.

        Where the generation of streams which has that was looked through to its beginning, those before it follow.
        """
        looking = _LookBack(rule, event)
        present, sequence = last.place
        for generation in reversed(self._broker.layout.generations):
            if generation.number > present:
                continue
            shard = generation.shard_of(event.subject)
            if generation.number == present:
                upto = sequence
            elif generation.ends is not None:
                upto = generation.ends[shard.index]
            else:
                break
            try:
                await looking.read(self._broker.shard(shard), upto)
            except NoResponders:
                if generation.number == present:
                    raise
                break  # deleted just now: its events were too old
            if looking.done:
                break
        return looking.values

    async def _read_last(self, subject: str, leader: bool) -> _Newest:
        """The last message of a subject, in whichever generation of streams it is."""
        last = await last_event(self._broker, subject, leader=leader)
        if last.ack is None:
            return _Newest(last, None)
        try:
            return _Newest(last, decode(last.payload))
        except BadEvent:
            # Published by a program that speaks NATS; readers do not get it either.
            return _Newest(last, Event.new(subject))

    def _last(self, subject: str) -> _Last:
        last = self._lasts.get(subject)
        if last is None:
            last = self._lasts[subject] = _Last()
            if len(self._lasts) > MAX_SUBJECTS:
                self._lasts.popitem(last=False)
        else:
            self._lasts.move_to_end(subject)
        return last


def _floor(data: Data, headers: bytes) -> float | None:
    said = share(data)
    if said is not None:
        return said
    try:
        return float(header(headers, FLOOR.encode()) or "")
    except ValueError:
        return None


def _size(data: Data | None) -> int:
    """About the bytes of values that were put together from several events; those of one event are within its own."""
    values = data.get("metrics") if data is not None else None
    return sum(len(str(name)) + 9 for name in values) if isinstance(values, Mapping) else 0


class _LookBack:
    """Looks for the last values of an event's key, in the events of its subject, read backwards within bounds."""

    def __init__(self, rule: SequenceRule, event: Event) -> None:
        self.values: Data | None = None
        self._rule, self._event, self._key = rule, event, rule.key(event)
        # Those of the key that were found, oldest first.
        self._later: list[Event] = []
        self._sequences, self._reads = LOOK_BACK, LOOK_BACK_READS

    @property
    def done(self) -> bool:
        """Whether all is known, or nothing more may be read."""
        known = not self._rule.is_unknown(self._event.type, self.values, self._event.data)
        return known or self._sequences <= 0 or self._reads <= 0

    async def read(self, store: ShardStore, upto: int) -> None:
        """Reads the events of a shard from a sequence on, backwards. Raises BrokerError."""
        width = PAGE_EVENTS
        while upto > 0 and not self.done:
            after = max(0, upto - min(width, self._sequences))
            self._reads -= 1
            page = await store.read(self._event.subject, after, upto=upto)
            if page.more and page.records and page.records[-1].sequence < upto and width > 1:
                width //= 2
                continue
            self._take(record.event for record in page.records if record.sequence <= upto)
            self._sequences -= upto - after
            upto, width = after, width * 4

    def _take(self, found: Iterable[Event | None]) -> None:
        of_key = [event for event in found if event is not None and self._rule.key(event) == self._key]
        self._later = [*of_key, *self._later]
        self.values = None
        for each in self._later:
            self.values = self._rule.remember(each.type, self.values, each.data)
