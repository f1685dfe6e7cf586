"""Defines what is kept of each run in the bucket RUNS: its living incarnation, that one's end, and the lives before."""

from __future__ import annotations

import msgspec

from router.codec import encode
from router.errors import RunBusy, RunEnded, RunSuperseded
from router.event import Event

# Why a run failed whose producer's lease ran out.
GONE = "the producer vanished"
# 32 KiB of a claimed event are kept for the case that its finisher dies; of a larger one, its outcome (`outcome`).
MAX_CLAIM = 32 * 1024
# The newest lives before the present one; a repeat of one of their ends is told from a late end by them.
MAX_EARLIER = 8
# Characters of a text in what is kept of an event that is too large.
MAX_TEXT = 500

_OUTCOME = (
    "success", "status", "error", "error_type", "exit_code", "message", "tokens_used", "cost", "total_time", "cancelled",
    "incarnation", "synthesized", "progress",
)  # fmt: skip


class RunEnd(msgspec.Struct, frozen=True, omit_defaults=True):
    """The end of one life of a run: first claimed, then stored as an event."""

    event: str  # its id
    type: str
    status: str  # completed, failed or cancelled
    at: int  # when it was claimed, in ns
    synthesized: bool = False  # by the agent actor, for a producer that was gone
    dedup: str = ""  # the `Nats-Msg-Id`
    after: int = 0  # the newest sequence of its subject when it was claimed
    generation: int = 0  # of the streams of events, in which that was read
    payload: bytes = b""  # the encoded event, until it is stored
    stored: bool = False
    sequence: int = 0  # in its stream; 0 where that is not known
    stream: str = ""  # where it is not EVENTS


class StopRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """That somebody wants a run to stop, for a producer that asks by its heartbeat."""

    at: int  # ns
    reason: str | None = None
    by: str | None = None


class EarlierLife(msgspec.Struct, frozen=True, omit_defaults=True):
    """A life that is superseded, and the name of its end, where it has one."""

    incarnation: str | None = None
    dedup: str = ""
    sequence: int = 0
    stream: str = ""


class RunEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is agreed on about a run: which life it is in, and whether that is over."""

    incarnation: str | None = None  # None where a run was ended or stopped without having been begun
    started: int = 0  # when this life began, in ns
    resumed: bool = False  # it goes on with the progress of the life before
    lease: float | None = None  # seconds: the ttl of the lease that its producer holds
    ended: RunEnd | None = None
    stop: StopRequest | None = None
    earlier: tuple[EarlierLife, ...] = ()  # oldest first

    def was(self, incarnation: str | None) -> bool:
        """Whether a life of this name is superseded."""
        return incarnation is not None and any(life.incarnation == incarnation for life in self.earlier)


def next_life(entry: RunEntry, incarnation: str, started: int, resumed: bool, lease: float | None) -> RunEntry:
    """The entry of a run whose present life is superseded. A request to stop is for a life, and those that resume it."""
    stop = entry.stop if resumed else None
    return RunEntry(incarnation, started, resumed, lease, stop=stop, earlier=with_former(entry))


def take(entry: RunEntry | None, incarnation: str, started: int, lease: float) -> RunEntry | None:
    """The entry once a life has begun that waits for the end of the one before; None where this very call has begun it.

    Raises RunBusy where a life goes on, as far as its lease tells anything of it: also one of this name, which another call has
    begun (`started` tells them apart); and RunSuperseded where there was one of this name.
    """
    if entry is None:
        return RunEntry(incarnation, started, lease=lease)
    if entry.incarnation == incarnation:
        if entry.started == started:
            return None
        if entry.ended is None:
            raise RunBusy(incarnation)
        raise RunSuperseded(incarnation)
    if entry.was(incarnation):
        raise RunSuperseded(entry.incarnation)
    if entry.ended is None and entry.lease is not None:
        raise RunBusy(entry.incarnation)
    return next_life(entry, incarnation, started, False, lease)


def with_former(entry: RunEntry) -> tuple[EarlierLife, ...]:
    """The earlier lives once the present one is over."""
    end = entry.ended
    former = EarlierLife(entry.incarnation)
    if end is not None:
        former = EarlierLife(entry.incarnation, end.dedup, end.sequence, end.stream)
    return (*entry.earlier, former)[-MAX_EARLIER:]


def is_conversation(event: Event, entry: RunEntry) -> bool:
    """Whether each end is that of one answer in a thread: of those nothing says when the next one begins."""
    ended = entry.ended
    return event.subject.domain == "thread" and entry.incarnation is None and ended is not None and ended.stored


class AlreadyStored(Exception):
    """The event is the end of an earlier life, which was stored then."""

    def __init__(self, sequence: int, stream: str) -> None:
        self.sequence = sequence
        self.stream = stream


def claim(entry: RunEntry | None, event: Event, life: str | None, end: RunEnd) -> RunEntry | None:
    """The entry once an event has ended a life of the run; None where that event has it ended already.

    Raises AlreadyStored, RunSuperseded or RunEnded.
    """
    if entry is None:
        return RunEntry(life, event.time, ended=end)
    if entry.ended is not None and entry.ended.dedup == end.dedup:
        return None
    for former in entry.earlier:
        if former.dedup == end.dedup:
            raise AlreadyStored(former.sequence, former.stream)
    if life is not None and entry.incarnation is not None and life != entry.incarnation:
        raise RunSuperseded(entry.incarnation)
    if entry.ended is None:
        return msgspec.structs.replace(entry, incarnation=entry.incarnation or life, ended=end)
    if life is None and is_conversation(event, entry):
        return msgspec.structs.replace(entry, ended=end, earlier=with_former(entry))
    raise run_ended(entry.ended)


def run_ended(end: RunEnd) -> RunEnded:
    """The error for who comes after this end."""
    return RunEnded(end.event, end.type, end.status, end.at, end.synthesized)


def incarnation_of(event: Event) -> str | None:
    """The life that an event says it is of; None where it says none."""
    said = event.data.get("incarnation")
    return said if isinstance(said, str) and said else None


def bounded(event: Event, payload: bytes) -> bytes:
    """What an entry holds of a terminal event: all of it, or its outcome where it is too large."""
    return payload if len(payload) <= MAX_CLAIM else encode(outcome(event))


def outcome(event: Event) -> Event:
    """A terminal event with what it says of the outcome, and nothing else (`truncated`): about 5 KiB at most."""
    said: dict[str, object] = {}
    for name in _OUTCOME:
        value = event.data.get(name)
        if isinstance(value, str):
            said[name] = value[:MAX_TEXT]
        elif isinstance(value, (bool, int, float)):
            said[name] = value
    return msgspec.structs.replace(event, data={**said, "truncated": True})
