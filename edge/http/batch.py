"""Stores the events of one request, in their order, and tells what became of each.

Events that depend on nothing are sent one behind the other without waiting. One that depends on the last event of its subject
(`edge.http.sequenced`) is stored before the next of its entity is sent; one that begins or ends a run (`router.runs`) once all
before it are stored, and before any that follows is sent. So what is stored of a batch that is refused is its beginning.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from edge import metrics
from edge.errors import Problem, from_fault
from edge.http.idempotency import Name, require_same
from edge.http.lives import Lives
from edge.http.sequenced import START, Sequenced, complete_alone, rule_of
from router import catalogue, metrics_delta
from router.batch import EncodedEvent, store_all
from router.broker import Broker
from router.codec import encode
from router.cursor import check_of
from router.dedup import of_event
from router.errors import BrokerError, Forbidden, Refused, RouterError, RunConflict, StoreFailed, Timeout
from router.event import Event
from router.nats.publisher import Answers
from router.nats.stream import Ack
from router.run_entry import incarnation_of
from router.runs import RunLedger
from router.store_health import StoreHealth
from router.topology import EVENTS

# As in `router.sdk.over_nats`: a start that comes later than this does not supersede a life that has begun since.
LATE_SECONDS = 10.0


class Accepted(NamedTuple):
    """An event that may be stored, and its bytes."""

    event: Event
    payload: bytes


class Receipt(NamedTuple):
    """That an event is stored, with the check of its bytes (`router.cursor`), and the incarnation that it began, if any."""

    ack: Ack
    check: int
    incarnation: str | None = None


class EventDoor:
    """Takes the events that come by HTTP. One per edge process."""

    def __init__(self, broker: Broker, health: StoreHealth) -> None:
        self.ledger = RunLedger(broker, health)
        self._lives = Lives(self.ledger)
        self._broker = broker
        self._health = health
        self._sequenced = Sequenced(broker)

    async def store(
        self,
        many: list[Accepted],
        names: list[Name] | None = None,
        *,
        keyed: bool = False,
        lives: list[str | None] | None = None,
    ) -> list[Receipt]:
        """Stores all, in order; returns once each is acknowledged. Raises Problem that says how many were stored.

        Where it is known that the store takes no writes, nobody waits to find that out. `names` are what the events are stored
        under, and `keyed` says that they follow from an Idempotency-Key: nothing of the request is stored where its first name
        is another request's. `lives` are the incarnations that the events are of, where not their data say that.
        """
        names = names or [Name(of_event(event), None) for event, _ in many]
        lives = lives or [incarnation_of(event) for event, _ in many]
        if len(many) == 1:
            return [await self._store_single(many[0], names[0], lives[0])]
        kept: list[Receipt] = []
        are_independent = all(is_independent(event) for event, _ in many)
        for start, end in parts(many, are_independent, alone=keyed):
            living, fault = await self._living(many[start:end], lives[start:end])
            some = slice(start, start + living)
            answers = await self._store(many[some], names[some], are_independent) if living else []
            answers += [] if fault is None else [fault]
            stored = [answer for answer in answers if isinstance(answer, Receipt)]
            kept += stored
            for place, answer in enumerate(answers, start) if len(stored) < len(answers) else ():
                if isinstance(answer, BaseException):
                    _count(kept, len(many))
                    raise _as_problem(answer, place, len(many), len(kept))
            if keyed and start == 0 and end < len(many):
                await self._require_same(names[0], kept[0], index=0, stored=0)
        _count(kept, len(many))
        repeats = [place for place, each in enumerate(kept) if each.ack.duplicate]
        for place in repeats:
            await self._require_same(names[place], kept[place], index=place, stored=len(kept) - len(repeats))
        return kept

    def store_now(self, accepted: Accepted, name: Name, settle: Callable[[Receipt | None], None]) -> bool:
        """Sends an event that comes alone, where nothing must be waited for; says no where something must, and nothing was sent.

        `settle` is called once: with the receipt of an event that is stored by this, or with None. Then `store` says what
        became of it, or does again what is to be done: under the same name it is stored once.
        """
        event, payload = accepted
        if not is_independent(event) or complete_alone(event) is not event:
            return False
        stream = self._broker.layout.shard_of(event.subject).stream
        if self._health.trouble(stream) is not None:
            return False

        def failed() -> None:
            sent.drop()
            settle(None)

        def answered(ack: Ack | None) -> None:
            guard.leave()
            if ack is None:
                settle(None)
                return
            _stored.add(1)
            settle(Receipt(ack, check_of(payload)))

        request = self._broker.put_now(event, payload, name.dedup, name.headers, answered)
        if request is None:
            return False
        sent = request
        guard = self._health.guarding_call(stream, failed)
        return True

    async def _store_single(self, accepted: Accepted, name: Name, life: str | None) -> Receipt:
        """As `store`, for an event that comes alone: in the task of its request."""
        event, payload = accepted
        try:
            if life is not None:
                await self._require_living(event, life, set())
            stream = self._broker.layout.shard_of(event.subject).stream
            self._health.require(stream)
            with self._health.guarding(stream):
                receipt = await self._store_one(event, payload, name)
        except (RouterError, Problem) as fault:
            _count([], 1)
            raise _as_problem(fault, 0, 1, 0) from None
        _count([receipt], 1)
        await self._require_same(name, receipt)
        return receipt

    async def _living(self, many: list[Accepted], lives: list[str | None]) -> tuple[int, BaseException | None]:
        """How many of the first events are of no superseded life, and what is wrong with the next one."""
        if not any(lives):
            return len(many), None
        checked: set[tuple[str, str, str, bool]] = set()
        for place, ((event, _), life) in enumerate(zip(many, lives, strict=True)):
            try:
                if life is not None:
                    await self._require_living(event, life, checked)
            except (RunConflict, BrokerError) as fault:
                return place, fault
        return len(many), None

    async def _require_living(self, event: Event, life: str, checked: set[tuple[str, str, str, bool]]) -> None:
        """Raises RunConflict where an event is of a superseded life, or BrokerError; asks once for what is not in `checked`."""
        subject = event.subject
        # A start and an end are compared with the ledger when they are stored.
        if subject.domain not in catalogue.RUN_DOMAINS or is_start(event) or is_end(event):
            return
        # Progress never goes back, also where a life was superseded a moment ago.
        now = catalogue.find(event.type, subject.domain).progress
        if (key := (subject.domain, subject.entity, life, now)) not in checked:
            checked.add(key)
            await self._lives.require(subject.domain, subject.entity, life, now=now)

    async def _require_same(self, name: Name, receipt: Receipt, **more: Any) -> None:
        try:
            await require_same(self._broker, name, receipt.ack, **more)
        except BrokerError as fault:
            raise from_fault(fault) from None

    async def _store(
        self, many: list[Accepted], names: list[Name], are_independent: bool
    ) -> list[Receipt | BaseException]:
        """What became of each event."""
        streams = self._streams(many)
        try:
            for stream in streams:
                self._health.require(stream)
        except StoreFailed as fault:
            return [fault] * len(many)
        # All are waited for together, and so is the trouble of each stream.
        waited = streams[0] if len(streams) == 1 else EVENTS
        if are_independent or all(is_independent(event) for event, _ in many):
            return await self._store_plain(many, names, waited)
        tasks = [
            asyncio.ensure_future(self._store_one(event, payload, name))
            for (event, payload), name in zip(many, names, strict=True)
        ]
        failed: StoreFailed | None = None
        try:
            with self._health.guarding(waited):
                await asyncio.wait(tasks)
        except StoreFailed as fault:
            failed = fault
        finally:
            for task in tasks:
                task.cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        return [failed if failed and isinstance(answer, asyncio.CancelledError) else answer for answer in answers]

    def _streams(self, many: list[Accepted]) -> list[str]:
        """The streams that the events go to."""
        generation = self._broker.layout.current
        if generation.only is not None:
            return [generation.only.stream]
        return list(dict.fromkeys(generation.shard_of(event.subject).stream for event, _ in many))

    async def _store_plain(self, many: list[Accepted], names: list[Name], waited: str) -> list[Receipt | BaseException]:
        """The same of events that depend on nothing: they leave in one write, and are waited for together."""
        encoded: list[EncodedEvent] = []
        for (event, payload), name in zip(many, names, strict=True):
            completed = complete_alone(event)
            bytes_ = payload if completed is event else encode(completed)
            encoded.append(EncodedEvent(completed, bytes_, name.dedup, name.headers, name.is_new))
        answers: Answers = [None] * len(many)
        failed: StoreFailed | None = None
        try:
            with self._health.guarding(waited):
                await store_all(self._broker, encoded, answers)
        except StoreFailed as fault:
            failed = fault
        return [
            Receipt(answer, check_of(each.payload)) if isinstance(answer, Ack) else answer or failed or Timeout()
            for each, answer in zip(encoded, answers, strict=True)
        ]

    async def _store_one(self, event: Event, payload: bytes, name: Name) -> Receipt:
        """Raises RunConflict, BrokerError or BadInput."""
        if is_start(event):
            return await self._begin(event, payload, name)
        rule = rule_of(event)
        if is_end(event):
            if rule and (completed := await self._sequenced.complete(rule, event)) is not event:
                event, payload = completed, encode(completed)
            ack = await self.ledger.end(event, payload, dedup=name.dedup, headers=name.headers)
            return Receipt(ack, check_of(payload))
        if rule:
            payload, ack = await self._sequenced.publish(rule, event, name)
            return Receipt(ack, check_of(payload))
        if (completed := complete_alone(event)) is not event:
            event, payload = completed, encode(completed)
        return Receipt(await self._put(event, payload, name), check_of(payload))

    async def _begin(self, event: Event, payload: bytes, name: Name) -> Receipt:
        said = event.data.get("incarnation")
        incarnation = said if isinstance(said, str) and said else event.id
        late = time.time_ns() - event.time > LATE_SECONDS * 1e9
        ack = await self.ledger.start(event, payload, incarnation, late=late, dedup=name.dedup, headers=name.headers)
        self._lives.note(event.subject.domain, event.subject.entity, incarnation)
        return Receipt(ack, check_of(payload), incarnation)

    async def _put(self, event: Event, payload: bytes, name: Name) -> Ack:
        return await self._broker.put(
            event, payload, dedup=name.dedup, headers=name.headers, await_right=False, is_new=name.is_new
        )


def is_start(event: Event) -> bool:
    """Whether an event begins a life of a run."""
    return event.type == START and event.subject.domain in catalogue.RUN_DOMAINS


def is_end(event: Event) -> bool:
    """Whether an event ends a life of a run."""
    return catalogue.ending(event.subject.domain, event.type, event.data) is not None


def is_independent(event: Event) -> bool:
    """Whether an event neither begins nor ends a life of a run, nor depends on the last event of its subject."""
    domain = event.subject.domain
    if domain in catalogue.RUN_DOMAINS:
        declared = catalogue.find(event.type, domain)
        if event.type == START or declared.progress or declared.ending(event.data) is not None:
            return False
    return not metrics_delta.is_incomplete(event.type, event.data)


def parts(many: list[Accepted], are_independent: bool, *, alone: bool) -> Iterator[tuple[int, int]]:
    """As `waves`, for events of which it is known whether all are independent."""
    if are_independent and not alone:
        return iter([(0, len(many))])
    return waves([event for event, _ in many], alone=alone)


def waves(events: list[Event], *, alone: bool = False) -> Iterator[tuple[int, int]]:
    """Cuts a batch into parts, each to be stored before the next is sent; the first event is `alone` where that is asked.

    A part is one event that begins or ends a run, or others of which none follows a sequenced one of its entity.
    """
    begun = 0
    sequenced: set[str] = set()
    closed = False
    for place, event in enumerate(events):
        entity = f"{event.subject.domain}.{event.subject.entity}"
        single = is_start(event) or is_end(event) or (alone and place == 0)
        if place > begun and (closed or single or entity in sequenced):
            yield begun, place
            begun = place
            sequenced.clear()
        closed = single
        if rule_of(event):
            sequenced.add(entity)
    if events:
        yield begun, len(events)


_stored, _duplicate, _refused = (metrics.ingested.labels(outcome) for outcome in ("stored", "duplicate", "refused"))


def _count(kept: list[Receipt], all: int) -> None:
    repeats = sum([each.ack.duplicate for each in kept])
    _stored.add(len(kept) - repeats)
    _duplicate.add(repeats)
    if len(kept) < all:
        _refused.add(all - len(kept))


def _as_problem(fault: BaseException, place: int, all: int, stored: int) -> BaseException:
    """The problem of an event that was not stored; other exceptions are returned as they are."""
    if isinstance(fault, (Forbidden, Refused, StoreFailed)):
        return from_fault(fault).with_more(index=place, stored=stored)
    if isinstance(fault, RunConflict):
        return from_fault(fault).with_more(**({} if all == 1 else {"index": place, "stored": stored}))
    if isinstance(fault, BrokerError):
        return Problem(
            "broker_unavailable",
            "not acknowledged in time; send it again with the same Idempotency-Key",
            headers={"Retry-After": "1"},
            index=place,
            stored=stored,
        )
    return fault
