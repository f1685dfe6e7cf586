"""Keeps the state of every entity that has metrics: a snapshot now and then, and the changes since, at a bounded rate.

See `router.entity` for what it publishes. Readers of changes know by their versions whether they have missed a snapshot.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from actors.metrics.metrics import KNOWN, STATES
from actors.metrics.record import TYPES, EntityRecord
from actors.system.actor import Actor, Reject, command
from actors.system.context import Context
from router.entity import CHANGED, STATE, names_of, token_of, token_of_state
from router.entity import token as token_named
from router.errors import BadSubject
from router.event import Event
from router.subject import Subject

DOMAIN = "metric"

# 100 events a tick, 1,000 a second: states must not crowd out the metrics themselves.
EVENTS_A_TICK = 100
# With domain and type it is within what a subject may have.
MAX_TOKEN = 200


@dataclass(frozen=True)
class MetricsSettings:
    """How often states are published, and how many entities are kept in memory. Times in seconds."""

    interval: float = 0.25  # between two events of one entity
    snapshot_every: float = 5.0  # between two snapshots of an entity that changes
    most_entities: int = 10_000


class Metrics(Actor):
    """Keeps the latest metrics of every entity."""

    name = "metrics"
    subjects = (f"{DOMAIN}.*.*",)
    every = 0.1

    def __init__(self, settings: MetricsSettings = MetricsSettings()) -> None:
        self.settings = settings
        # By token, the one that was heard of last at the end.
        self._known: OrderedDict[str, EntityRecord] = OrderedDict()
        # Those whose snapshot is not what they are, in the order they changed.
        self._behind: dict[str, EntityRecord] = {}
        self._ctx: Context

    async def start(self, ctx: Context) -> None:
        self._ctx = ctx
        # Of the one that was heard of last the events are at the end.
        found: dict[str, list[Event]] = {}
        for event in await ctx.latest(f"{DOMAIN}.*.*", f"{DOMAIN}.*.*.*"):
            if (of := _token(event)) is not None:
                found[of] = [*found.pop(of, []), event]
        for token, events in found.items():
            self._keep(EntityRecord.recalled(token, events))
        KNOWN.set(len(self._known))

    async def receive(self, event: Event, ctx: Context) -> None:
        if event.type not in TYPES:
            return  # our own event, or one that is no metric
        token = token_of(event)
        if len(token) > MAX_TOKEN:
            raise Reject(f"the names of an entity and its part have at most {MAX_TOKEN} characters")
        record = self._known.get(token) or await self._recall(token, ctx)
        record.fold(event)
        self._keep(record)

    async def tick(self, ctx: Context) -> None:
        """Publishes; not when an event is received, for an event that is delivered again must lead to the same events."""
        now, left = ctx.now(), EVENTS_A_TICK
        for token, record in list(self._behind.items()):
            if not left:
                break
            if record.pending and now - record.told < self.settings.interval:
                continue
            if now - record.snapped >= self.settings.snapshot_every:
                self._tell(token, STATE, record.snapshot(now), ctx)
            elif record.pending:
                self._tell(token, CHANGED, record.changed(now), ctx)
            else:
                continue
            left -= 1
            # Behind the others; it stays for its snapshot.
            del self._behind[token]
            if record.behind:
                self._behind[token] = record
        KNOWN.set(len(self._known))

    async def stop(self, ctx: Context) -> None:
        """Publishes what is not yet, as far as that is allowed here; after a crash it is folded again."""
        for token, record in list(self._behind.items()):
            if record.pending:
                self._tell(token, STATE, record.snapshot(ctx.now()), ctx)

    @command
    async def entities(self, limit: int = 100) -> dict[str, Any]:
        """The entities in memory with their versions, those heard of last first."""
        shown = list(reversed(self._known.values()))[: max(1, min(limit, 1000))]
        named = [(*names_of(record.token), record.version) for record in shown]
        return {"entities": [{"entity": entity, "part": part, "version": version} for entity, part, version in named]}

    @command
    async def snapshot(self, entity: str, part: str | None = None) -> dict[str, Any]:
        """Publishes the whole state of an entity, or of a part of it, now, and returns its version."""
        token = token_named(entity, part)
        try:
            Subject.check(f"{DOMAIN}.{token}.{CHANGED}")
        except BadSubject:
            raise Reject("no entity has such a name") from None
        record = self._known.get(token) or await self._recall(token, self._ctx)
        if not (record.version or record.pending):
            raise Reject(f"nothing is known of {entity[:60]!r}")
        self._tell(token, STATE, record.snapshot(self._ctx.now()), self._ctx)
        self._behind.pop(token, None)
        return {"entity": entity, "part": part, "version": record.version}

    async def _recall(self, token: str, ctx: Context) -> EntityRecord:
        """Rebuilds an entity that is not in memory."""
        entity = token.partition(".")[0]
        patterns = dict.fromkeys((f"{DOMAIN}.{entity}.*", f"{DOMAIN}.{token}.*"))
        stored = await ctx.latest(*patterns)
        return EntityRecord.recalled(token, [event for event in stored if _token(event) == token])

    def _keep(self, record: EntityRecord) -> None:
        self._known[record.token] = record
        self._known.move_to_end(record.token)
        if record.behind:
            self._behind.setdefault(record.token, record)
        while len(self._known) > self.settings.most_entities:
            # What is not published yet is published all the same: it stays in the other map until then.
            self._known.popitem(last=False)

    def _tell(self, token: str, kind: str, data: Any, ctx: Context) -> None:
        STATES.labels(kind).inc()
        ctx.emit(f"{DOMAIN}.{token}.{kind}", data, type=kind)


def _token(event: Event) -> str | None:
    """The token of the entity that a stored event is of; None for one that says nothing of any."""
    if event.type in (STATE, CHANGED):
        return token_of_state(event.subject)
    # Figures are received of three tokens only.
    return token_of(event) if event.type in TYPES and event.subject.count(".") == 2 else None
