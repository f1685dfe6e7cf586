"""Moves one viewer along the ladder of rungs: down where it cannot keep up for some seconds, and up again later.

It looks once a second at how many pictures there were and how many of them the viewer has missed.
"""

from __future__ import annotations

from typing import Any

from router.rungs import HEIGHTS, Rung, rungs_of

# A viewer that misses more than that share does not keep up; one that misses less than the other does.
MANY_MISSED, FEW_MISSED = 0.3, 0.05
# Seconds of not keeping up before it moves down.
SLOW_SECONDS = 4
# Seconds of keeping up before it moves up. Each attempt that fails within as long doubles the wait for the next.
GOOD_SECONDS, MOST_GOOD_SECONDS = 10, 320
# Fewer pictures than that in a second say nothing.
FEW_PICTURES = 3


class RungLadder:
    """Where one viewer stands below the rung that it has asked for."""

    def __init__(self, asked: Rung) -> None:
        self.asked = asked
        self.rung = asked
        self._slow = self._good = 0
        self._patience = GOOD_SECONDS
        # Looks since it moved up; None where it did not, or has stayed there.
        self._since_up: int | None = None

    def look(self, sent: int, missed: int, height: int | None) -> str | None:
        """Takes one second into account; says why the rung has changed (`slow`, `recovered`), None where it has not.

        `height` is that of the source where it is known: a rung that is no lower changes nothing.
        """
        if self._since_up is not None and (waited := self._since_up + 1):
            self._since_up = waited if waited < self._patience else None
        if sent + missed < FEW_PICTURES:
            return None
        share = missed / (sent + missed)
        self._slow = self._slow + 1 if share > MANY_MISSED else 0
        self._good = self._good + 1 if share < FEW_MISSED else 0
        if self._slow >= SLOW_SECONDS:
            return self._move(lower(self.rung, height), "slow")
        if self.rung != self.asked and self._good >= self._patience:
            return self._move(higher(self.rung, self.asked, height), "recovered")
        return None

    def _move(self, rung: Rung | None, reason: str) -> str | None:
        self._slow = self._good = 0
        if rung is None or rung == self.rung:
            return None
        if reason == "recovered":
            self._since_up = 0
        elif self._since_up is not None:
            self._patience = min(2 * self._patience, MOST_GOOD_SECONDS)
            self._since_up = None
        self.rung = rung
        return reason


def described(rung: Rung | None) -> dict[str, Any]:
    """A rung, and those that may be had beside it; nothing for a source without a ladder."""
    if rung is None:
        return {}
    return {"rung": rung.token, "rungs": [each.token for each in rungs_of(rung.codec)]}


def lower(rung: Rung, height: int | None) -> Rung | None:
    """The next rung below; None where there is none."""
    top = rung.height or height or max(HEIGHTS) + 1
    below = [each for each in HEIGHTS if each < top]
    return Rung(rung.codec, max(below)) if below else None


def higher(rung: Rung, asked: Rung, height: int | None) -> Rung:
    """The next rung above, up to the one that was asked for."""
    if rung.height is None:
        return rung
    above = [each for each in HEIGHTS if each > rung.height]
    most = asked.height or height
    fitting = [each for each in above if most is None or each < most]
    return Rung(rung.codec, min(fitting)) if fitting else asked
