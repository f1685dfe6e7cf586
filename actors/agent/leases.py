"""Tracks which producers of runs are alive, by their leases."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

# A producer that dies is failed within 20 s, at the default ttl of 10 s: its last lease runs out after 10 s at most, gets
# 5 s more for a producer that was only cut off, and is looked for every second.
MAX_GRACE_SECONDS = 5.0


class Lease(msgspec.Struct, frozen=True):
    """What a producer's lease says: its ttl in seconds, the life it is for, and how the producer is reached."""

    ttl: float
    incarnation: str | None = None
    via: str = "nats"  # or http: the producer asks by its heartbeats whether to stop


class Expected(NamedTuple):
    """A lease that was taken or is expected, and when it runs out on the actor's clock."""

    until: float
    lease: Lease


class LeaseWatch:
    """The leases of all runs, by `<domain>.<token>` and incarnation."""

    def __init__(self) -> None:
        self._leases: dict[str, dict[str | None, Expected]] = {}

    def __contains__(self, key: str) -> bool:
        return key in self._leases

    def __len__(self) -> int:
        return len(self._leases)

    def saw(self, key: str, lease: Lease | None, now: float) -> None:
        """Notes that a lease was taken or refreshed, or is gone (None)."""
        if lease is not None:
            self._leases.setdefault(key, {})[lease.incarnation] = Expected(now + lease.ttl, lease)
            return
        held = self._leases.get(key, {})
        for incarnation, (until, known) in held.items():
            # Which life gave it back is not known; one that goes on refreshes it within its grace.
            held[incarnation] = Expected(min(until, now), known)

    def expect(self, key: str, lease: Lease, now: float) -> None:
        """Waits for a lease of a life of which none was seen."""
        if self.of(key, lease.incarnation) is None:
            self.saw(key, lease, now)

    def of(self, key: str, incarnation: str | None) -> Lease | None:
        """The lease of a life: its own, or one that says for no life in particular."""
        held = self._leases.get(key)
        if held is None:
            return None
        found = held.get(incarnation) or held.get(None)
        if found is None and incarnation is None:
            found = max(held.values(), key=lambda expected: expected.until, default=None)
        return found.lease if found is not None else None

    def forgive(self, now: float) -> None:
        """Restarts the time of all leases: while the connection was down, a missing refresh proves nothing."""
        for held in self._leases.values():
            for incarnation, (_, lease) in held.items():
                held[incarnation] = Expected(now + lease.ttl, lease)

    def forget(self, key: str) -> None:
        self._leases.pop(key, None)

    def take_lost(self, now: float) -> list[tuple[str, Lease]]:
        """The runs and their leases that ran out; they are forgotten here."""
        lost = [
            (key, lease)
            for key, held in self._leases.items()
            for until, lease in held.values()
            if now > until + min(lease.ttl / 2, MAX_GRACE_SECONDS)
        ]
        for key, lease in lost:
            held = self._leases[key]
            del held[lease.incarnation]
            if not held:
                del self._leases[key]
        return lost
