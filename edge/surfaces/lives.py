"""Finds the life of a run that a stream is of: where it begins in the store, whether it is over, and what belongs to it.

A run is a life: it begins at its last `workflow_start`, or where that resumes another one, at the first of these. A thread that
nobody began is a conversation: its life is the answer behind the last `done`. One turn of a thread has an address of its own,
`<thread>:<incarnation>`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from edge.errors import Problem
from edge.http.body import edge_of
from edge.http.credentials import principal_of
from edge.http.ingest import door_of
from edge.surfaces.client_place import client_place
from edge.surfaces.surface import Reading
from router.catalogue import RUN_DOMAINS, ending
from router.cursor import Start
from router.event import Event
from router.event_place import BEFORE_ALL, PlaceNumber, place_in, place_of
from router.layout import ORIGINAL_STREAM
from router.record import Record
from router.run_entry import RunEntry, incarnation_of
from router.subject import Subject, escape

START = "workflow_start"
# What the agent actor makes of the events of a run; it may come behind the end.
DERIVED = frozenset({"state", "stages"})
# More turns of a thread, and restarts of a run, than anybody looks back at.
MAX_STARTS = 200


@dataclass(frozen=True, kw_only=True)
class RunLife:
    """One life of a run, by places of events; `end` is `BEFORE_ALL` while it goes on."""

    domain: str
    name: str
    # Before its first event.
    begin: PlaceNumber = BEFORE_ALL
    # Its own start, which may be behind `begin` where it resumes; `BEFORE_ALL` where nothing says when it began.
    started: PlaceNumber = BEFORE_ALL
    incarnation: str | None = None
    end: PlaceNumber = BEFORE_ALL
    start: Event | None = None
    final: Event | None = None
    state: Mapping[str, Any] | None = None
    # The newest event of each type.
    newest: Mapping[str, Event] = field(default_factory=dict)

    @property
    def over(self) -> bool:
        return self.end > BEFORE_ALL

    @property
    def status(self) -> str:
        """running, stopping, completed, failed or cancelled."""
        if self.final is not None:
            return ending(self.domain, self.final.type, self.final.data) or "completed"
        if self.over:
            return "completed" if self.state is None else str(self.state.get("status"))
        return "stopping" if self.state is not None and self.state.get("status") == "stopping" else "running"


class LifeEnding:
    """Says of each event of a life's run, in order, whether the life ends with it; None for one of another life.

    Who follows a run follows its next life, too; a turn of a thread ends where the next one begins. What comes before the start of
    a turn that has not begun yet is of the one before.
    """

    # Not the life itself: it holds events, and there is one of these for each reader.
    __slots__ = ("_awaited", "_begin", "_current", "_incarnation", "_started")

    def __init__(self, life: RunLife) -> None:
        self._begin, self._started, self._incarnation = life.begin, life.started, life.incarnation
        # That of the life which goes on just now, also for who reads from behind its start on.
        self._current = life.incarnation
        if self._current is None and life.start is not None:
            self._current = incarnation_of(life.start) or life.start.id
        # Whether a turn has not begun yet.
        self._awaited = life.incarnation is not None and not life.started

    def __eq__(self, other: object) -> bool:
        """Whether both say the same of all that comes."""
        return isinstance(other, LifeEnding) and self._place == other._place

    __hash__ = None  # type: ignore[assignment]

    @property
    def _place(self) -> tuple[bool, PlaceNumber, PlaceNumber, str | None, str | None]:
        return self._awaited, self._begin, self._started, self._incarnation, self._current

    def __call__(self, record: Record) -> bool | None:
        event = record.event
        assert event is not None
        place = place_in(record.shard, record.sequence)
        if place <= self._begin:
            return None
        if self._awaited:
            starts = event.type == START
            said = incarnation_of(event) or (event.id if starts else None)
            if said != self._incarnation:
                return None
            self._awaited = False
            # A process that dies before it has begun a run is failed for it.
            return not starts and _ends(record, event)
        if event.type == START:
            return self._begun(place, event)
        if not _ends(record, event):
            return False
        if place < self._started:
            # The end of a life that this one resumes.
            return None
        return None if incarnation_of(event) not in (None, self._current) and self._current else True

    def _begun(self, place: PlaceNumber, event: Event) -> bool:
        said = incarnation_of(event) or event.id
        # `_started` is where the life's last start is, where it has been found.
        if self._incarnation is not None and not _resumes(event) and place > self._started:
            return said != self._incarnation
        self._current = said
        return False


def _resumes(event: Event) -> bool:
    return event.data.get("resumed") is True


def _ends(record: Record, event: Event) -> bool:
    """Whether an event ends a life of its run; found once for all readers."""
    found: bool | None = record.encoded.get("ends")
    if found is None:
        found = record.encoded["ends"] = ending(event.subject.domain, event.type, event.data) is not None
    return found


def patterns_of(domain: str, name: str) -> tuple[str, ...]:
    """The subjects of a run. Raises BadSubject for a name that is too long for one."""
    Subject.of(domain, name, START)
    return (f"{domain}.{escape(name)}.>",)


def granted_domains(request: HTTPConnection, name: str, domains: Iterable[str]) -> list[str]:
    """The domains in which the principal may read the run of this name."""
    grants = principal_of(request.scope).grants
    return [each for each in domains if grants.may_read_all(patterns_of(each, name)[0])]


async def find_life(request: HTTPConnection, name: str, domains: Iterable[str] = RUN_DOMAINS) -> RunLife | None:
    """The last life of the run of this name that was heard of last, or a turn of a thread; None where there is none.

    Raises Problem where the principal may read none of these domains, and BrokerError.
    """
    principal, domains = principal_of(request.scope), tuple(domains)
    granted = granted_domains(request, name, domains)
    turn = await _turn(request, name) if "thread" in domains else None
    if turn is not None:
        return turn
    if not granted:
        principal.require_read(patterns_of(domains[0], name)[0])
    found = await edge_of(request).broker.latest([patterns_of(each, name)[0] for each in granted])
    records = [record for record in found if record.event is not None]
    if not records:
        return None
    domain = records[-1].event.subject.domain  # type: ignore[union-attr]
    mine = [record for record in records if record.subject.startswith(f"{domain}.")]
    entry = await door_of(request).ledger.read(domain, escape(name))
    return await _last_life(request, domain, name, mine, entry)


async def _last_life(
    request: HTTPConnection, domain: str, name: str, records: list[Record], entry: RunEntry | None
) -> RunLife:
    start = _newest(record for record in records if record.event and record.event.type == START)
    final = _newest(
        record
        for record in records
        if record.event is not None and ending(domain, record.event.type, record.event.data) is not None
    )
    states = [record.event.data for record in records if record.event is not None and record.event.type == "state"]
    state = states[-1] if states else None
    if start is None:
        end = max(_place(final) if final else BEFORE_ALL, _stored_end(entry))
        said = [_place(record) for record in records if record.event and record.event.type not in DERIVED]
        over = end > BEFORE_ALL and end >= max(said, default=BEFORE_ALL)
        begin = end if not over else _former_end(entry, end)
        return RunLife(
            domain=domain, name=name, begin=begin, end=end if over else BEFORE_ALL,
            final=final.event if over and final else None, state=state, newest=_by_type(records, begin),
        )  # fmt: skip
    assert start.event is not None
    begin, started = _before(await _first_start(request, start)), _place(start)
    end, event = _stored_end(entry), None
    if final is not None and _place(final) > started:
        end, event = _place(final), final.event
    return RunLife(
        domain=domain,
        name=name,
        begin=begin,
        started=started,
        end=end if end > started else BEFORE_ALL,
        start=start.event,
        final=event,
        state=state,
        newest=_by_type(records, begin),
    )


def _place(record: Record) -> PlaceNumber:
    return place_in(record.shard, record.sequence)


def _before(place: PlaceNumber) -> PlaceNumber:
    return PlaceNumber(place - 1)


def _by_type(records: Iterable[Record], after: PlaceNumber) -> dict[str, Event]:
    return {record.event.type: record.event for record in records if record.event and _place(record) > after}


def _newest(records: Iterable[Record]) -> Record | None:
    return max(records, key=_place, default=None)


def _stored_end(entry: RunEntry | None) -> PlaceNumber:
    """The place of the end that the ledger knows: an event after it may hide it, where both have one subject."""
    end = entry.ended if entry is not None else None
    return _end_at(end.stream, end.sequence) if end is not None and end.stored else BEFORE_ALL


def _former_end(entry: RunEntry | None, end: PlaceNumber) -> PlaceNumber:
    """The end of the answer before the last one of a conversation."""
    life = entry.earlier[-1] if entry is not None and entry.earlier else None
    former = _end_at(life.stream, life.sequence) if life is not None else BEFORE_ALL
    return former if former < end else BEFORE_ALL


def _end_at(stream: str, sequence: int) -> PlaceNumber:
    # The ledger may know of an end and not where it is stored.
    return place_of(stream or ORIGINAL_STREAM, sequence) if sequence else BEFORE_ALL


async def _first_start(request: HTTPConnection, start: Record) -> PlaceNumber:
    """The start of the life that this one resumes; its own where it resumes none."""
    assert start.event is not None
    first = _place(start)
    if not _resumes(start.event):
        return first
    earlier = await edge_of(request).hub.recovery.last((start.subject,), MAX_STARTS)
    for record in reversed([record for record in earlier if _place(record) <= first]):
        first = _place(record)
        if record.event is not None and not _resumes(record.event):
            break
    return first


# Turns of a thread


async def find_turns(request: HTTPConnection, thread: str) -> list[RunLife]:
    """The turns of a thread that are still stored, oldest first. Raises Problem and BrokerError."""
    principal_of(request.scope).require_read(*patterns_of("thread", thread))
    token = escape(thread)
    edge = edge_of(request)
    starts, finals = await asyncio.gather(
        edge.hub.recovery.last((f"thread.{token}.{START}",), MAX_STARTS),
        edge.hub.recovery.last(
            tuple(f"thread.{token}.{kind}" for kind in ("completion", "complete", "done")), MAX_STARTS
        ),
    )
    groups: list[list[Record]] = []
    for start in starts:
        if start.event is None:
            continue
        if groups and _resumes(start.event):
            groups[-1].append(start)
        else:
            groups.append([start])
    return [
        _turn_of(thread, group, _place(groups[nth + 1][0]) if nth + 1 < len(groups) else BEFORE_ALL, finals)
        for nth, group in enumerate(groups)
    ]


def _turn_of(thread: str, starts: list[Record], next: PlaceNumber, finals: list[Record]) -> RunLife:
    """The turn that one start begins and others resume; `next` is where the one behind it begins, `BEFORE_ALL` for the last."""
    events = [start.event for start in starts if start.event is not None]
    lives = {incarnation_of(event) or event.id for event in events}
    last = _place(starts[-1])
    final = None
    for record in finals:
        if last < _place(record) and (not next or _place(record) < next) and record.event is not None:
            said = incarnation_of(record.event)
            if said is None or said in lives:
                final = record
                break
    return RunLife(
        domain="thread",
        name=thread,
        begin=_before(_place(starts[0])),
        started=last,
        incarnation=incarnation_of(events[0]) or events[0].id,
        end=_place(final) if final is not None else next,
        start=events[0],
        final=final.event if final is not None else None,
    )


async def _turn(request: HTTPConnection, name: str) -> RunLife | None:
    """The turn that `<thread>:<incarnation>` names; None where it names none."""
    thread, colon, incarnation = name.rpartition(":")
    if not (thread and colon and incarnation):
        return None
    if not principal_of(request.scope).grants.may_read_all(patterns_of("thread", thread)[0]):
        return None
    return next((turn for turn in await find_turns(request, thread) if turn.incarnation == incarnation), None)


# Where a client goes on


async def read_life(
    request: Request, life: RunLife, parameters: Mapping[str, str], subjects: tuple[str, ...] = ()
) -> Reading | Response:
    """What a stream of this life reads; 204 for a client that has read its end: an EventSource then stays away."""
    subjects = subjects or patterns_of(life.domain, life.name)
    place = await client_place(request, subjects)
    if life.over and place.has(life.end):
        return Response(status_code=204)
    whole = whole_life(request, life, parameters, subjects)
    return replace(whole, start=replace(whole.start, foreign=place.foreign), after=place.after, had=place.had)


def whole_life(
    request: HTTPConnection, life: RunLife, parameters: Mapping[str, str], subjects: tuple[str, ...] = ()
) -> Reading:
    """What a stream of this life reads from its beginning, whatever its client has had."""
    patterns = patterns_of(life.domain, life.name)
    return Reading(
        subjects=subjects or patterns,
        start=begin_of(request, life),
        parameters=parameters,
        ending=LifeEnding(life),
    )


def begin_of(request: HTTPConnection, life: RunLife) -> Start:
    """Where the events of a life begin."""
    return Start(cursor=edge_of(request).hub.recovery.places.cursor(life.begin)) if life.begin else Start(earliest=True)


def unknown_run(name: str) -> Problem:
    """Refuses a run of which nothing is stored."""
    return Problem("run_not_found", f"no run {name[:60]!r} is known")
