"""Derives the runs of one Octane's renders from what was observed of its film. Pure: no I/O, no clock.

A film that has stood for some seconds begins a run; it ends once: `finished`, `failed`, or `stopped`. A film that is wiped ends the run of
the one before as stopped, and begins another only when it has stood itself, so that moving the camera makes no runs. Where Octane is
away the run stays open for a time of grace, and goes on with a film that can only be the same.

Times: `now` in seconds of one monotonic clock, `wall` in seconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

# So much may the render time differ from the time that passed while nobody watched: what is shown lags a little, and
# clocks of two machines run apart.
SLACK_SECONDS = 5.0
SLACK_SHARE = 0.1
# How long the end of a film that is off waits for the reason of a failure: a device that failed stops the render first.
STOP_SECONDS = 2.0
STOPPED = "the render was stopped"
# 2,000 characters of a reason: what devices say, and that comes from outside.
MAX_REASON = 2000


@dataclass(frozen=True, slots=True)
class RenderSettings:
    """When a render is a run, how often it reports, and where its picture can be read. Times in seconds."""

    # How long a film must have stood before it is a run: a drag of the camera wipes it ten times a second.
    settle: float = 3.0
    # How long a run stays open while its Octane, or this actor, is away. It then fails.
    grace: float = 120.0
    # Between two progress events that say a percent more; and between two where there is less to say.
    progress: float = 1.0
    progress_idle: float = 10.0
    # Between two times that the last picture is stored while it changes.
    picture: float = 10.0
    # How long the link to a run's picture is valid, and the edge's address in it; without one the link is a path.
    link: float = 30 * 86400.0
    public_url: str = ""

    def __post_init__(self) -> None:
        for name in ("settle", "progress", "progress_idle", "picture"):
            if not 0 <= getattr(self, name) <= 3600:
                raise ValueError(f"{name} must be 0 to 3600")
        if not 1 <= self.grace <= 86400:
            raise ValueError("grace must be 1 to 86400")
        if not 60 <= self.link <= 366 * 86400:
            raise ValueError("link must be 60 s to 366 days")
        if self.public_url and not self.public_url.startswith(("http://", "https://")):
            raise ValueError("public_url must begin with http:// or https://")


class RenderOutcome(StrEnum):
    """How a run of a render ended."""

    FINISHED = "finished"
    FAILED = "failed"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class FilmReport:
    """What the statistics say of the film."""

    state: str
    samples: int
    max_samples: int
    wipes: int
    render_time: float
    width: int
    height: int
    project: str = ""
    target: int = 0
    # Named for people: devices, speed, estimate.
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_film(self) -> bool:
        """Whether there is something on the film, or will be at once."""
        return self.state in ("rendering", "paused", "finished")

    @property
    def progress(self) -> float | None:
        return min(1.0, self.samples / self.max_samples) if self.max_samples else None


@dataclass(frozen=True, slots=True)
class RenderRecord:
    """A run of a render, as far as the next incarnation of the actor must know it."""

    run: str
    status: str  # running, paused, or a RenderOutcome
    began: float  # wall
    seen: float  # wall: when the report came
    report: FilmReport

    @property
    def open(self) -> bool:
        return self.status in ("running", "paused")


@dataclass(frozen=True, slots=True)
class RenderBegun:
    """A run began."""

    record: RenderRecord


@dataclass(frozen=True, slots=True)
class RenderAdvanced:
    """A run has come further."""

    record: RenderRecord
    progress: float | None


@dataclass(frozen=True, slots=True)
class RenderPaused:
    """A run was paused, or goes on after a pause."""

    record: RenderRecord


@dataclass(frozen=True, slots=True)
class RenderEnded:
    """A run is over."""

    record: RenderRecord
    outcome: RenderOutcome
    reason: str


RenderChange = RenderBegun | RenderAdvanced | RenderPaused | RenderEnded


class RenderRuns:
    """The present run of one Octane, and the film that may become the next one."""

    def __init__(self, instance: str, settings: RenderSettings = RenderSettings()) -> None:
        self._instance, self._settings = instance, settings
        self.record: RenderRecord | None = None
        self._film: FilmReport | None = None
        self._follows = (
            False  # whether the film was followed up to now: what is finished at first sight was so long ago
        )
        self._settling: float | None = None  # since when the film stands that has no run yet
        self._begun = float("-inf")  # when the last run began
        self._stopping: float | None = None  # since when the film is off; a reason may follow
        self._stop_reason = ""
        self._lost: float | None = None
        self._lost_reason = ""
        self._told = 0.0  # when progress was reported last
        self._told_progress = 0.0
        self._told_samples = -1

    @property
    def open(self) -> RenderRecord | None:
        """The run that goes on."""
        return self.record if self.record is not None and self.record.open else None

    @property
    def away(self) -> bool:
        """Whether Octane is away, or was not seen yet: then it is not known what becomes of the run."""
        return self._lost is not None

    def restore(self, record: RenderRecord, now: float) -> None:
        """Goes on with the run that the incarnation before has left open, or remembers the last one."""
        self.record, self._film = record, record.report
        self._told_progress = record.report.progress or 0.0
        if record.open:
            self._lost, self._lost_reason = now, ""

    def saw(self, report: FilmReport, now: float, wall: float) -> list[RenderChange]:
        """Takes a report of the film."""
        changes: list[RenderChange] = []
        if self._lost is not None:
            changes += self._regained(report, now, wall)
        film = self._film
        follows, self._follows = self._follows, True
        if report.state == "stopped":
            return [*changes, *self._off(now)]
        if film is not None and (report.wipes != film.wipes or report.samples < film.samples):
            reason = "the film was restarted" if self._stopping is None else self._stop_reason or STOPPED
            changes += self._end(RenderOutcome.STOPPED, reason, now)
            film = None
        self._stopping = None
        if film is None:
            self._settling = now if follows or report.state != "finished" else None
        elif self._goes_on_after_its_end(report, film):
            self._settling = now
        self._film = report
        changes += self._on(report, now, wall)
        return changes

    def failed(self, reason: str, now: float, wall: float) -> list[RenderChange]:
        """Takes the reason for which Octane stopped rendering."""
        changes: list[RenderChange] = []
        if self.open is None and self._settling is not None and self._film is not None and self._may_begin(now):
            changes += self._begin(self._film, now, wall)
        changes += self._end(RenderOutcome.FAILED, reason, now)
        self._settling = self._stopping = None
        return changes

    def stop_asked(self, reason: str) -> None:
        """Takes note of why the film is about to be stopped."""
        self._stop_reason = reason

    def lost(self, reason: str, now: float) -> None:
        """Takes note that Octane is away."""
        if self._settling is not None:
            self._film = self._settling = None
        self._follows = False
        if self._lost is None:
            self._lost = now
        self._lost_reason = reason

    def passed(self, now: float) -> list[RenderChange]:
        """Takes note of the time: ends what has waited long enough."""
        if self._lost is not None and self.open is not None and now - self._lost >= self._settings.grace:
            reason = self._lost_reason or "octane does not answer"
            changes = self._end(RenderOutcome.FAILED, f"octane was away for {self._settings.grace:g} s: {reason}", now)
            self._film = None
            return changes
        if self._stopping is not None and now - self._stopping >= STOP_SECONDS:
            self._stopping = None
            return self._end(RenderOutcome.STOPPED, self._stop_reason or STOPPED, now)
        return []

    def over(self, status: str) -> None:
        """Takes note that the run is over already: somebody else has ended it."""
        if self.open is not None:
            assert self.record is not None
            self.record = replace(self.record, status=status)

    def _regained(self, report: FilmReport, now: float, wall: float) -> list[RenderChange]:
        """Octane answers again: with the same film, or not."""
        reason, self._lost, self._lost_reason = self._lost_reason, None, ""
        record = self.open
        if record is None:
            # Nothing goes on; a film that was over before may still be the same.
            if self._film is not None and not is_same(self._film, report, None):
                self._film = None
            return []
        gap = max(0.0, wall - record.seen)
        if report.state == "stopped" and report.wipes == record.report.wipes and not reason:
            return []
        if report.state != "stopped" and is_same(record.report, report, gap):
            return []
        self._film = None
        if reason:
            return self._end(RenderOutcome.FAILED, f"octane lost the render: {reason}", now)
        return self._end(RenderOutcome.STOPPED, "another render took its place", now)

    def _goes_on_after_its_end(self, report: FilmReport, film: FilmReport) -> bool:
        """Whether a film whose run is over renders again: more samples were asked for, or it was started again."""
        return (
            self.open is None
            and self._settling is None
            and report.state == "rendering"
            and (report.samples > film.samples or film.state != "rendering")
        )

    def _on(self, report: FilmReport, now: float, wall: float) -> list[RenderChange]:
        changes: list[RenderChange] = []
        if self.open is None:
            stands = self._settling is not None and now - self._settling >= self._settings.settle
            if not (stands and report.is_film and self._may_begin(now)):
                return []
            changes += self._begin(report, now, wall)
        record = self.open
        assert record is not None
        status = "paused" if report.state == "paused" else "running"
        turned = status != record.status
        record = self.record = replace(record, status=status, seen=wall, report=report)
        if turned:
            changes.append(RenderPaused(record))
        if report.state == "finished":
            if report.samples > self._told_samples:
                changes.append(self._advance(record, now))
            changes += self._end(RenderOutcome.FINISHED, "", now)
        elif self._is_due(report, now):
            changes.append(self._advance(record, now))
        return changes

    def _is_due(self, report: FilmReport, now: float) -> bool:
        passed = now - self._told
        further = (report.progress or 0.0) - self._told_progress
        if passed < self._settings.progress or report.samples <= self._told_samples:
            return False
        return further >= 0.01 or passed >= self._settings.progress_idle

    def _advance(self, record: RenderRecord, now: float) -> RenderAdvanced:
        self._told, self._told_samples = now, record.report.samples
        progress = record.report.progress
        if progress is not None:
            # More samples may be asked for while it renders; what was shown is not taken back.
            progress = self._told_progress = max(progress, self._told_progress)
        return RenderAdvanced(record, progress)

    def _off(self, now: float) -> list[RenderChange]:
        """The film is off. A failure ends it so, too, and its reason comes a moment later."""
        self._settling = None
        if self.open is None:
            self._film = None
        elif self._stopping is None:
            self._stopping = now
        return []

    def _may_begin(self, now: float) -> bool:
        return now - self._begun >= self._settings.settle

    def _begin(self, report: FilmReport, now: float, wall: float) -> list[RenderChange]:
        stamp = datetime.fromtimestamp(wall, UTC)
        run = f"octane-{self._instance}-{stamp:%Y%m%d-%H%M%S}-{stamp.microsecond // 1000:03}"
        if self.record is not None and self.record.run == run:
            run += "-2"
        self.record = RenderRecord(run, "running", wall, wall, report)
        self._settling, self._begun = None, now
        self._told, self._told_progress, self._told_samples = float("-inf"), 0.0, -1
        return [RenderBegun(self.record)]

    def _end(self, outcome: RenderOutcome, reason: str, now: float) -> list[RenderChange]:
        record = self.open
        if record is None:
            return []
        self.record = replace(record, status=outcome.value)
        self._stopping, self._stop_reason = None, ""
        return [RenderEnded(self.record, outcome, reason[:MAX_REASON])]


def is_same(before: FilmReport, after: FilmReport, gap: float | None) -> bool:
    """Whether a film that is seen again after `gap` seconds must be the one seen before; None where the gap does not matter.

    An Octane that was restarted counts wipes, samples and time from nothing, and may open the same project; what it has rendered
    for is then less than what must have passed.
    """
    if (before.wipes, before.project, before.target) != (after.wipes, after.project, after.target):
        return False
    if (before.width, before.height) != (after.width, after.height):
        return False
    if after.samples < before.samples or after.render_time < before.render_time - 0.5:
        return False
    if gap is None or not (before.state == after.state == "rendering"):
        return True
    slack = max(SLACK_SECONDS, SLACK_SHARE * gap)
    return abs(after.render_time - before.render_time - gap) <= slack
