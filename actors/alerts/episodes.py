"""Holds the open episodes of alerts: per rule and dedup key, what was seen and whether it fires."""

from __future__ import annotations

import hashlib
from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

NS = 1_000_000_000


@dataclass(slots=True)
class Episode:
    """One thing that one rule watches. Times are ns since the epoch, as the events say them."""

    rule: str
    key: str
    seen: deque[tuple[int, str]] = field(default_factory=deque)  # what matched lately: when, and the event's id
    alert: str | None = None  # the id of the alert, while it fires
    since: int = 0
    last: int = 0  # the newest match
    told: int | None = None  # when it was last published as firing
    count: int = 0  # matches since it fires
    said: dict[str, Any] = field(default_factory=dict)  # the data of the event that was published last
    ending: bool = False  # that event said that it is resolved

    def saw(self, time: int, id: str, count: int, within: float) -> bool:
        """Notes a match; False for one that was noted before."""
        if any(id == known for _, known in self.seen):
            return False
        self.seen.append((time, id))
        while len(self.seen) > count or abs(time - self.seen[0][0]) > within * NS:
            self.seen.popleft()
        self.last = time
        return True

    def rested(self, time: int, cooldown: float) -> bool:
        """Says whether the cooldown is over; measured both ways, so that one event from the future blocks nothing."""
        return self.told is None or abs(time - self.told) >= cooldown * NS


def alert_id(rule: str, key: str, cause: str) -> str:
    """Names an alert after the event that began it, so that a second run gives it the same name."""
    digest = hashlib.sha256(f"{key}\n{cause}".encode()).hexdigest()
    return f"{rule}-{digest[:16]}"


class Episodes:
    """All episodes; when there are too many, the one that was quiet for longest is forgotten."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._all: OrderedDict[tuple[str, str], Episode] = OrderedDict()

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Episode]:
        return iter(list(self._all.values()))

    def find(self, rule: str, key: str) -> Episode | None:
        """The episode of a rule and a key, if there is one."""
        return self._all.get((rule, key))

    def touch(self, rule: str, key: str) -> tuple[Episode, Episode | None]:
        """The episode of a rule and a key, made if need be; and the one that was forgotten for it."""
        found = self._all.get((rule, key))
        if found:
            self._all.move_to_end((rule, key))
            return found, None
        found = self._all[rule, key] = Episode(rule, key)
        return found, self._all.popitem(last=False)[1] if len(self._all) > self._capacity else None

    def forget(self, episode: Episode) -> None:
        """Removes an episode."""
        self._all.pop((episode.rule, episode.key), None)
