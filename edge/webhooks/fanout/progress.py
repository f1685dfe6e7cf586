"""How far the fan-out has come in one shard of EVENTS: the values that its parts share while this process owns the role."""

from __future__ import annotations

from dataclasses import dataclass, field

from router.cursor import UNKNOWN


@dataclass(slots=True)
class FanoutProgress:
    """Sequences in the shard, as of one ownership of the role.

    Events up to `matched` have been matched with the joined sessions; their jobs are stored up to `position`.
    """

    epoch: str = ""
    matched: int = 0
    position: int = 0
    # Up to here the predecessor had come.
    start: int = 0
    # The sequence before the oldest event that the stream keeps, as of the last look.
    oldest: int = 0
    # The newest event that was matched, and its check: what the stream must still hold at its place.
    newest: tuple[int, int] = (0, UNKNOWN)
    # Up to where sessions must be backfilled again at most, because an older state of the stream was restored; and those
    # whose own start is not in that state.
    ceiling: int | None = None
    unfit: set[str] = field(default_factory=set)
    # Whether the stream may be another than the one that was matched. Nothing is saved then.
    suspect: bool = False
