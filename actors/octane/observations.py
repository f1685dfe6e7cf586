"""Lists what can be observed of an Octane, as OctaneCondition takes it down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

# What can be refused; each refusal is lifted by the observation that it works.
STREAM, STATISTICS, VERSION = "the callback stream", "the statistics", "the version"


@dataclass(frozen=True, slots=True)
class ConnectFailed:
    """No connection could be made, or it was lost."""

    reason: str


@dataclass(frozen=True, slots=True)
class OctaneIdentified:
    """A new connection was made, and an Octane of a supported version answered."""


@dataclass(frozen=True, slots=True)
class ServiceRefused:
    """Octane answered with an error; `part` is one of STREAM, STATISTICS and VERSION."""

    part: str
    reason: str


@dataclass(frozen=True, slots=True)
class StreamHeld:
    """The callback stream stays open."""


@dataclass(frozen=True, slots=True)
class StreamEnded:
    """Octane ended the callback stream, and may have forgotten the registration that went with it.

    `taken`: without an error, as it does where another client has registered.
    """

    taken: bool = True


@dataclass(frozen=True, slots=True)
class CallTimedOut:
    """A call has waited that many seconds for an answer, though connections are accepted."""

    call: str
    seconds: float


@dataclass(frozen=True, slots=True)
class CallAnswered:
    """Octane answered a call, by a result or by an error."""


@dataclass(frozen=True, slots=True)
class ImageNotified:
    """Octane said that there is a new image."""


@dataclass(frozen=True, slots=True)
class SlotAsked:
    """The callback for new images was registered (`held`), or given back or refused."""

    held: bool


@dataclass(frozen=True, slots=True)
class RenderProgress:
    """How far a render is: what makes a picture a newer one."""

    change_level: int = 0
    wipes: int = 0
    samples: float = 0.0
    region_samples: float = 0.0

    @property
    def some(self) -> bool:
        """Says whether there is anything to show."""
        return self.samples > 0 or self.region_samples > 0

    def covers(self, other: RenderProgress) -> bool:
        """Says whether a picture of this progress shows what the other has; False where the numbers do not tell."""
        return (
            self.some
            and self.change_level == other.change_level
            and self.samples >= other.samples
            and self.region_samples >= other.region_samples
        )


# Nothing to show, or a server that leaves the numbers out.
NO_PROGRESS = RenderProgress()


@dataclass(frozen=True, slots=True)
class Sampled:
    """The statistics were read."""

    progress: RenderProgress
    rendering: bool
    stopped: bool = False

    def ended(self, last: Sampled | None) -> bool:
        """Says whether the render does not go on, and did at the last look, or there was none."""
        return (not self.rendering and (last is None or last.rendering)) or (
            self.stopped and last is not None and not last.stopped
        )


@dataclass(frozen=True, slots=True)
class PictureFetched:
    """A picture of a track arrived and was decoded; `new` where it is not the one shown before."""

    track: str = "beauty"
    new: bool = True
    progress: RenderProgress = NO_PROGRESS


@dataclass(frozen=True, slots=True)
class PictureUnreadable:
    """A picture of a track arrived, and cannot be shown, or not all of it."""

    reason: str
    track: str = "beauty"


@dataclass(frozen=True, slots=True)
class TrackDropped:
    """Nobody watches a track any more, so nothing is known of its pictures."""

    track: str


@dataclass(frozen=True, slots=True)
class PictureOversized:
    """A picture is larger than one message may be."""

    reason: str


@dataclass(frozen=True, slots=True)
class TimePassed:
    """Nothing happened; time went on."""


Observation = (
    ConnectFailed
    | OctaneIdentified
    | ServiceRefused
    | StreamHeld
    | StreamEnded
    | CallTimedOut
    | CallAnswered
    | ImageNotified
    | SlotAsked
    | Sampled
    | PictureFetched
    | PictureUnreadable
    | PictureOversized
    | TrackDropped
    | TimePassed
)
# Where observations go: OctaneStanding.observe, or a test's list.
Observe = Callable[[Observation], None]
