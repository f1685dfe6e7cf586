"""Holds what is known of one dedup key of one rule: what its condition remembers, and whether its alert fires."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Episode:
    """One key that one rule watches. Times are ns since the epoch, as the events say them."""

    key: str
    memory: Any
    alert: str | None = None  # the id of the alert, while it fires
    since: int = 0
    last: int = 0  # the newest match
    told: int | None = None  # when it was last said that it fires
    count: int = 0  # matches since it fires
    met: int | None = None  # since when a condition that holds for some time has held
    began: str = ""  # the event with which it began to hold
    held: bool = False  # it would fire, if no other alert inhibited it
    scope: dict[str, Any] = field(default_factory=dict)  # of the newest match, where a deadline may have to show it
    labels: dict[str, str] = field(default_factory=dict)  # what inhibition compares, of the newest alert
    scheduled: int | None = None  # the timer that is set
    cause: tuple[object, ...] = ()  # subject, id and time of the event that an adopted alert was said with

    def dump(self, memory: Any) -> dict[str, Any]:
        """All of it as JSON, without what says nothing; `memory` is what the condition wrote of its own."""
        found: dict[str, Any] = {"memory": memory}
        for name in ("alert", "since", "last", "told", "count", "met", "began", "held", "scope", "labels"):
            if value := getattr(self, name):
                found[name] = value
        return {name: value for name, value in found.items() if value is not None}

    @classmethod
    def load(cls, key: str, memory: Any, raw: dict[str, Any]) -> Episode:
        """The episode that `dump` wrote. Raises ValueError or TypeError for anything else."""
        episode = cls(key, memory, count=int(raw.get("count", 0)), since=int(raw.get("since", 0)))
        episode.last = int(raw.get("last", 0))
        episode.told, episode.met = (None if raw.get(name) is None else int(raw[name]) for name in ("told", "met"))
        episode.alert = None if raw.get("alert") is None else str(raw["alert"])
        episode.began, episode.held = str(raw.get("began", "")), bool(raw.get("held", False))
        episode.scope, episode.labels = dict(raw.get("scope", {})), dict(raw.get("labels", {}))
        return episode


def alert_id(rule: str, key: str, cause: str) -> str:
    """Names an alert after the event that began it, so that a second run gives it the same name."""
    digest = hashlib.sha256(f"{key}\n{cause}".encode()).hexdigest()
    return f"{rule}-{digest[:16]}"
