"""Derives the condition of one Octane, and of its picture, from what was observed. Pure: no I/O, no clock.

Times are seconds of one monotonic clock.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from actors.octane.observations import (
    NO_PROGRESS,
    STATISTICS,
    STREAM,
    VERSION,
    CallAnswered,
    CallTimedOut,
    ConnectFailed,
    ImageNotified,
    Observation,
    OctaneIdentified,
    PictureFetched,
    PictureOversized,
    PictureUnreadable,
    RenderProgress,
    Sampled,
    ServiceRefused,
    SlotAsked,
    StreamEnded,
    StreamHeld,
    TimePassed,
    TrackDropped,
)


class OctaneStatus(StrEnum):
    """Whether an Octane can be worked with."""

    ABSENT = "absent"  # no connection
    REFUSED = "refused"  # it answers, and refuses what Callboard needs
    BUSY = "busy"  # it accepts connections, and calls time out
    CONNECTED = "connected"


class PictureStatus(StrEnum):
    """Whether the picture on screen is the newest."""

    NONE = ""  # there was none yet
    LIVE = "live"
    STALE = "stale"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class ConditionLimits:
    """How long what may last before it is called what. Seconds."""

    # Samples grow, and no new picture comes.
    stale: float = 3.0
    # Samples grow, and nobody says that there is an image: the callback is registered again.
    slot: float = 2.0
    # The same, while somebody else takes the slot again and again: two who insist would only take it from each other.
    contested_slot: float = 10.0
    # So many losses within so many seconds make a slot contested; so long without one clears it.
    losses: int = 3
    losses_within: float = 60.0
    held: float = 15.0
    # How long after an oversized picture images are fetched one by one instead.
    oversized: float = 60.0


# Why there is no connection before one was tried.
NOT_TRIED = "not connected yet"

# 32 tracks at most have pictures.
_MOST_TRACKS = 32


@dataclass(frozen=True, slots=True)
class OctaneCondition:
    """What is known of one Octane."""

    since: float
    picture_since: float
    status: OctaneStatus = OctaneStatus.ABSENT
    reason: str = NOT_TRIED
    picture: PictureStatus = PictureStatus.NONE
    picture_reason: str = ""
    contested: bool = False
    limits: ConditionLimits = ConditionLimits()

    # What the above follows from.
    absence: str = NOT_TRIED  # why there is no connection; empty where there is one
    overdue: str = ""  # which call waits
    refusals: tuple[tuple[str, str], ...] = ()  # part → Octane's words
    pictured: bool = False  # some picture was shown, by this connection or one before
    confirmed: bool = False  # a picture came over this connection
    unreadable: tuple[tuple[str, str], ...] = ()  # track → why
    oversized: str = ""
    oversized_at: float | None = None
    shown: RenderProgress = NO_PROGRESS  # that of the newest picture
    sampled: Sampled | None = None
    grown_at: float | None = None  # first growth that no picture shows
    registered: bool = False
    unnotified_at: float | None = None  # first growth since the last notification
    fetched_at: float | None = None  # when the last new picture came
    losses: tuple[float, ...] = ()  # when the slot was lost

    def wants_slot(self, now: float) -> bool:
        """Says whether the callback for images should be registered again: samples grow, and nobody says so."""
        if not self.registered or self.unnotified_at is None:
            return False
        return now - self.unnotified_at >= (self.limits.contested_slot if self.contested else self.limits.slot)

    def wants_grab(self, now: float) -> bool:
        """Says whether a picture should be fetched unasked: samples grew, and no notification came."""
        if self.grown_at is None and self.confirmed:
            return False
        # 0.5 s: a notification is on its way that long at most.
        return not self.registered or (self.unnotified_at is not None and now - self.unnotified_at >= 0.5)

    @property
    def takes_embedded(self) -> bool:
        """Says whether images may come along with notifications; not where they are larger than a message."""
        return self.oversized_at is None


def observe(before: OctaneCondition, observation: Observation, now: float) -> OctaneCondition:
    """The condition after an observation at that time."""
    after = _derive(_note(before, observation, now), now)
    if after.status != before.status:
        after = replace(after, since=now)
    if after.picture != before.picture:
        # A stale picture is so since the samples went on without it.
        after = replace(after, picture_since=_stale_since(after, now))
    return before if after == before else after


def _note(condition: OctaneCondition, observation: Observation, now: float) -> OctaneCondition:
    """Takes down the facts of an observation."""
    match observation:
        case ConnectFailed(reason=reason):
            return replace(
                _disconnected(condition), absence=reason, refusals=(), contested=False, losses=(), oversized_at=None
            )
        case OctaneIdentified():
            return replace(_disconnected(condition), absence="", refusals=_without(condition.refusals, VERSION))
        case ServiceRefused(part=part, reason=reason):
            # Who refuses has answered.
            refusals = (*_without(condition.refusals, part), (part, reason))
            return replace(condition, absence="", overdue="", refusals=refusals)
        case StreamHeld():
            return replace(condition, refusals=_without(condition.refusals, STREAM))
        case CallTimedOut(call=call, seconds=seconds):
            # The first text stays, so that a long wait does not publish a state each time that it is looked at.
            text = f"{call} was not answered within {seconds:.1f} s; Octane may be compiling, or waiting in a dialog"
            return replace(condition, absence="", overdue=condition.overdue or text)
        case CallAnswered():
            return replace(condition, overdue="") if condition.overdue else condition
        case StreamEnded() | ImageNotified() | SlotAsked():
            return _note_slot(condition, observation, now)
        case Sampled():
            return _note_sample(condition, observation, now)
        case PictureFetched() | PictureUnreadable() | PictureOversized():
            return _note_picture(condition, observation, now)
        case TrackDropped(track=track):
            return replace(condition, unreadable=_without(condition.unreadable, track))
        case TimePassed():
            if condition.oversized_at is not None and now - condition.oversized_at >= condition.limits.oversized:
                return replace(condition, oversized_at=None)
            return condition


def _note_slot(
    condition: OctaneCondition, observation: StreamEnded | ImageNotified | SlotAsked, now: float
) -> OctaneCondition:
    match observation:
        case ImageNotified():
            settled = not condition.losses or now - condition.losses[-1] >= condition.limits.held
            return replace(condition, unnotified_at=None, contested=condition.contested and not settled)
        case SlotAsked(held=held):
            # Nobody said that there is an image, and there was one: somebody else was told.
            since = condition.unnotified_at
            missed = since is not None and condition.fetched_at is not None and condition.fetched_at > since
            if condition.wants_slot(now) and missed:
                condition = _lost(condition, now)
            return replace(condition, registered=held, unnotified_at=None)
        case StreamEnded(taken=taken):
            condition = _lost(condition, now) if taken and condition.registered else condition
            return replace(condition, registered=False)


def _lost(condition: OctaneCondition, now: float) -> OctaneCondition:
    limits = condition.limits
    losses = (*(at for at in condition.losses if now - at <= limits.losses_within), now)[-limits.losses :]
    return replace(condition, losses=losses, contested=condition.contested or len(losses) >= limits.losses)


def _note_sample(condition: OctaneCondition, sample: Sampled, now: float) -> OctaneCondition:
    last, progress = condition.sampled, sample.progress
    # Statistics are read over a connection that was identified, so one that seemed lost is not.
    condition = replace(condition, absence="", sampled=sample, refusals=_without(condition.refusals, STATISTICS))
    grown = (
        last is not None
        and sample.rendering
        and progress.some
        and progress != last.progress
        and not condition.shown.covers(progress)
    )
    if not grown:
        return condition
    return replace(
        condition,
        grown_at=now if condition.grown_at is None else condition.grown_at,
        unnotified_at=now if condition.unnotified_at is None else condition.unnotified_at,
    )


def _note_picture(
    condition: OctaneCondition, observation: PictureFetched | PictureUnreadable | PictureOversized, now: float
) -> OctaneCondition:
    match observation:
        case PictureFetched(track=track, new=new, progress=progress):
            condition = replace(
                condition, confirmed=True, pictured=True, unreadable=_without(condition.unreadable, track), oversized=""
            )
            if new:
                return replace(condition, grown_at=None, fetched_at=now, shown=progress)
            # Octane has nothing newer; while it renders, that is what makes a picture stale.
            rendering = condition.sampled is not None and condition.sampled.rendering
            return condition if rendering else replace(condition, grown_at=None)
        case PictureUnreadable(track=track, reason=reason):
            unreadable = (*_without(condition.unreadable, track), (track, reason))[-_MOST_TRACKS:]
            return replace(condition, unreadable=unreadable, oversized="")
        case PictureOversized(reason=reason):
            return replace(condition, oversized=reason, oversized_at=now)


def _disconnected(condition: OctaneCondition) -> OctaneCondition:
    """Forgets what was true of one connection."""
    return replace(
        condition,
        overdue="",
        confirmed=False,
        unreadable=(),
        oversized="",
        shown=NO_PROGRESS,
        sampled=None,
        grown_at=None,
        registered=False,
        unnotified_at=None,
        fetched_at=None,
    )


def _without(pairs: tuple[tuple[str, str], ...], key: str) -> tuple[tuple[str, str], ...]:
    return tuple(pair for pair in pairs if pair[0] != key)


def _derive(condition: OctaneCondition, now: float) -> OctaneCondition:
    """Says what the facts come to."""
    status, reason = _status(condition)
    picture, picture_reason = _picture(condition, status, reason, now)
    return replace(condition, status=status, reason=reason, picture=picture, picture_reason=picture_reason)


def _status(condition: OctaneCondition) -> tuple[OctaneStatus, str]:
    if condition.absence:
        return OctaneStatus.ABSENT, condition.absence
    if condition.overdue:
        return OctaneStatus.BUSY, condition.overdue
    if condition.refusals:
        return OctaneStatus.REFUSED, "; ".join(f"{part}: {reason}" for part, reason in condition.refusals)
    return OctaneStatus.CONNECTED, ""


def _picture(condition: OctaneCondition, status: OctaneStatus, reason: str, now: float) -> tuple[PictureStatus, str]:
    if condition.oversized:
        return PictureStatus.UNREADABLE, condition.oversized
    if condition.unreadable:
        return PictureStatus.UNREADABLE, "; ".join(
            why if track == "beauty" else f"{track}: {why}" for track, why in condition.unreadable
        )
    if condition.pictured and status in (OctaneStatus.ABSENT, OctaneStatus.BUSY):
        return PictureStatus.STALE, f"Octane is {status}: {reason}"
    if condition.grown_at is not None and now - condition.grown_at >= condition.limits.stale:
        return PictureStatus.STALE, "the samples grow, and no new picture comes"
    if condition.pictured and not condition.confirmed:
        return PictureStatus.STALE, "no picture has come since Octane was connected again"
    return (PictureStatus.LIVE, "") if condition.pictured else (PictureStatus.NONE, "")


def _stale_since(condition: OctaneCondition, now: float) -> float:
    if condition.picture is PictureStatus.STALE and condition.grown_at is not None:
        return condition.grown_at
    return now
