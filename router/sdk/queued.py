"""Defines what waits between a run and the server: one encoded event, its place in the run, and what it does to the run's life."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple


class Kind(IntEnum):
    """What an event does to its run."""

    EVENT = 0
    START = 1  # begins a life: the first of the run, or one that goes on after its lease ran out
    END = 2  # the completion


class Queued(NamedTuple):
    """An event on its way. `number` counts up within a run; `dedup` is its Nats-Msg-Id."""

    kind: Kind
    number: int
    subject: str
    dedup: str
    payload: bytes
    key: str | None = None  # events of one key supersede each other

    @property
    def size(self) -> int:
        return len(self.payload)


class Life(NamedTuple):
    """Whose events they are: a run, and which of its lives."""

    domain: str
    run: str
    token: str
    incarnation: str
    source: str
