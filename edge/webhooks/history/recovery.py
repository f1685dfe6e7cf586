"""Recoveries: orders to deliver again, one delivery, all that failed since a time, or a range of past events.

A recovery is a background job in the bucket JOBS. Whichever process holds the role works them; where it dies, the next one
takes them over. What a recovery redelivers is fixed when it is created, and each delivery is stored under an id of the
recovery and its own: what a crash left unsaved is stored again, and JetStream drops the repeat.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from edge.errors import Problem
from edge.filters.evaluation import Filtering
from edge.jobs import ENDED, Jobs, new_id
from edge.sessions.registry import Registry, Session
from edge.webhooks.client.payload import Payload, build_payload
from edge.webhooks.history.attempt import Attempt
from edge.webhooks.history.attempts import Attempts
from edge.webhooks.history.recovery_job import Kind, Recovery, RecoverySettings, text_of
from edge.webhooks.history.recovery_run import RecoveryRun
from edge.webhooks.history.redelivery import Redelivery
from router.beginning import Beginnings
from router.broker import Broker
from router.clock import wall
from router.cluster.departures import Departures
from router.codec import rfc3339
from router.cursor import Start
from router.event_place import place_in
from router.events_state import EventsState
from router.nats.bucket import WriteGuard
from router.place import cursor_of
from router.position import Position
from router.replay import Replay

ROLE = "role.recoveries"
# Recoveries of one session that are not over; more are refused.
MAX_RUNNING = 4
# Pages of dead letters that one resend searches for its own.
RESEND_PAGES = 20
# Events of a batch that are shown with an attempt.
SHOWN_EVENTS = 20


class Recoveries:
    """The recoveries of a deployment: every process knows them, the one that holds the role works them."""

    def __init__(
        self,
        broker: Broker,
        registry: Registry,
        partitions: int,
        settings: RecoverySettings | None = None,
        filtering: Filtering | None = None,
        guard: WriteGuard | None = None,
        departures: Departures | None = None,
    ) -> None:
        self.settings = settings or RecoverySettings()
        self.broker = broker
        self.attempts = Attempts(broker)
        self._redelivery = Redelivery(broker, registry, partitions, filtering)
        self._jobs: Jobs[Recovery, RecoveryRun] = Jobs(
            broker.connection, "recovery", ROLE, Recovery, self._begin, self.settings, guard, departures
        )

    @property
    def known(self) -> Mapping[str, Recovery]:
        """The recoveries and replays of the last week, by their ids."""
        return self._jobs.known

    async def run(self) -> None:
        """Knows the recoveries, and works them whenever this process holds the role; until cancelled."""
        await self._jobs.run()

    # For the API

    async def resend(self, session: Session, delivery: str, unique: str | None = None) -> int:
        """Redelivers one delivery now, and gives how many events it carries. The same `unique` twice is one.

        Raises Problem `attempt_not_found` or `event_gone`, or BrokerError.
        """
        attempts = await self.attempts.of(session.id, delivery)
        if not attempts:
            raise Problem("attempt_not_found", f"no delivery {delivery[:60]!r} of this session is known")
        parts = attempts[-1].deliveries
        # A batch as a whole, or the one of it that is meant.
        wanted = [parts[delivery]] if delivery in parts else list(parts.values())
        records = [await self._redelivery.record(part, session) for part in wanted]
        if all(record is None for record in records):
            raise Problem("event_gone", "the event is older than what is kept")
        unique = unique or secrets.token_hex(8)
        letters: Mapping[int, tuple[int, ...]] = {}
        if failed := [attempt.begun for attempt in attempts if not attempt.ok]:
            # Its dead letter was stored right after the last attempt that failed.
            places = {part.sequence for part in wanted}
            letters = await self._redelivery.sent_again.find(session.id, places, failed[-1] / 1e9, RESEND_PAGES)
        for record in records:
            if record is not None:
                await self._redelivery.enqueue(
                    session.id,
                    record,
                    f"resend.{delivery}.{unique}",
                    letters.get(place_in(record.shard, record.sequence), ()),
                )
        return sum(record is not None for record in records)

    async def posted(self, session: Session, attempt: Attempt, epoch: str) -> Payload | None:
        """What an attempt posted, of a batch its first events; None where none of them is kept. Raises BrokerError."""
        # The event by which a receiver is asked for its consent is in no stream.
        stored = [part for part in attempt.deliveries.values() if part.sequence > 0][:SHOWN_EVENTS]
        found = [await self._redelivery.record(part, session) for part in stored]
        records = [record for record in found if record is not None]
        if not records:
            return None
        batch = session.spec.webhook is not None and session.spec.webhook.batch is not None
        return build_payload(records, epoch, session.id, session.spec.dialect, batch or bool(attempt.parts))

    async def recover(self, session: Session, since: datetime, until: datetime | None, rate: float) -> Recovery:
        """Creates a recovery of all deliveries that failed for good since a time. Raises Problem or BrokerError."""
        first = await self.attempts.after(since)
        last = (await self.attempts.span())[1] if until is None else await self.attempts.after(until)
        return await self._start(
            session,
            "recover",
            first=first,
            last=last,
            rate=rate,
            since=text_of(since),
            until=text_of(until or datetime.fromtimestamp(wall.now(), UTC)),
        )

    async def replay(self, session: Session, start: Start, end: Start | None, rate: float) -> Recovery:
        """Creates a replay of a range of past events, as far as it is kept. Raises Problem or BrokerError."""
        state = await self.broker.events_state()
        patterns, replay = session.view.patterns, self._redelivery.replay
        places = Beginnings(self.broker, replay)
        first = (await places.place(start, patterns, state)).after
        last = state.last if end is None else (await places.place(end, patterns, state)).after
        spans = _spans(state, patterns, first, last)
        return await self._start(
            session,
            "replay",
            first=spans[0][0],
            last=spans[-1][1],
            after=spans[0][0],
            spans=spans if len(spans) > 1 else (),
            rate=rate,
            since=_cursor(state, first, replay),
            until=_cursor(state, last, replay),
        )

    async def _start(self, session: Session, kind: Kind, **more: Any) -> Recovery:
        if sum(each.state not in ENDED for each in await self.of(session.id)) >= MAX_RUNNING:
            raise Problem("too_many_recoveries", f"{MAX_RUNNING} of this session are not over yet")
        return await self._jobs.create(
            Recovery(id=new_id(), session=session.id, kind=kind, created=wall.now_ns(), **more)
        )

    async def of(self, session: str) -> list[Recovery]:
        """The recoveries of a session, the newest first. Raises Timeout where a process that has just started cannot read them."""
        known = await self._jobs.all()
        return sorted((each for each in known if each.session == session), key=lambda each: each.id)[::-1]

    async def find(self, session: str, id: str) -> Recovery:
        """Gives a recovery, from the bucket where this process has not received it yet. Raises Problem 404."""
        recovery = await self._jobs.find(id)
        if recovery is None or recovery.session != session:
            raise Problem("recovery_not_found", f"no recovery {id[:60]!r} of this session; they are kept for a week")
        return recovery

    async def cancel(self, session: str, id: str) -> Recovery:
        """Cancels a recovery; what was stored again stays so. Raises Problem where it is unknown or over."""
        recovery = await self.find(session, id)
        if recovery.state in ENDED:
            raise Problem("recovery_ended", f"it is {recovery.state} since {rfc3339(recovery.ended)}")
        await self._jobs.cancel(id)
        return recovery

    def _begin(self, recovery: Recovery, revision: int) -> RecoveryRun:
        # A copy of its own: what the watch reports of it must not change it under the work.
        copy = msgspec.structs.replace(recovery)
        return RecoveryRun(self._redelivery, self.attempts, self.settings, self._jobs, copy, revision)


def _spans(state: EventsState, patterns: Sequence[str], first: Position, last: Position) -> tuple[tuple[int, int], ...]:
    """The parts of each shard between two positions that may hold events of some patterns; one that is empty where none does."""
    found: list[tuple[int, int]] = []
    for generation in state.layout.generations:
        number = generation.number
        if first.generation <= number <= last.generation:
            low = first if number == first.generation else state.begin_of(number)
            high = last if number == last.generation else state.last_of(number)
            shards = generation.shards_of(patterns)
            found += [(place_in(shard, low.of(shard)), place_in(shard, high.of(shard))) for shard in shards]
    return tuple(span for span in found if span[0] < span[1]) or tuple(found[:1]) or ((0, 0),)


def _cursor(state: EventsState, position: Position, replay: Replay) -> str:
    generation = state.layout.generation(position.generation)
    assert generation is not None
    return str(cursor_of(position, generation.epoch, replay.checks.newest_of(position, generation.shards)))
