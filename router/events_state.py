"""Says how far EVENTS reaches: from where to where in each shard of each generation."""

from __future__ import annotations

from dataclasses import dataclass

from router.layout import FIRST, Layout
from router.position import Position, of_one


@dataclass(frozen=True)
class StreamState:
    """How far one stream reaches. `first` is the oldest sequence kept, `last` the newest given out.

    `is_led` says that no other server can lead the stream by now: one that was paused or cut off takes itself for the leader
    still, and tells an older state.
    """

    epoch: str
    first: int
    last: int
    messages: int
    bytes: int
    is_led: bool = True


@dataclass(frozen=True)
class EventsState:
    """How far each generation reaches, oldest first: from behind `begins` up to and with `lasts`."""

    # With the epochs of its streams.
    layout: Layout
    begins: tuple[Position, ...]
    lasts: tuple[Position, ...]
    # Whether the leaders of all streams are beyond doubt, see `StreamState`.
    is_led: bool = True

    @property
    def epoch(self) -> str:
        """Which life of the streams that take new events this is."""
        return self.layout.current.epoch

    @property
    def begin(self) -> Position:
        """The position before the oldest event that is kept."""
        return self.begins[0]

    @property
    def last(self) -> Position:
        """The position of one who has read everything."""
        return self.lasts[-1]

    def begin_of(self, number: int) -> Position:
        """The position before the oldest event that is kept of a generation."""
        return next(begin for begin in self.begins if begin.generation == number)

    def last_of(self, number: int) -> Position:
        """The position of one who has read all of a generation."""
        return next(last for last in self.lasts if last.generation == number)


def of_stream(state: StreamState) -> EventsState:
    """The state of EVENTS where it is one stream that was never resharded."""
    layout = Layout((FIRST.current.with_epochs([state.epoch]),))
    return EventsState(layout, (of_one(max(state.first - 1, 0)),), (of_one(state.last),), state.is_led)
