"""Tracks which producers of runs are alive, and asks one to stop a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from router.codec import from_json, to_json
from router.errors import BadInput
from router.nats.bucket import Bucket, Entry
from router.nats.connection import Connection
from router.stored import decoder
from router.subject import escape
from router.topology import LEASES

Heard = Callable[[str, float | None], None]
"""Called as heard(key, ttl) with `<domain>.<token>`; ttl is None where the lease is gone."""

# 2 s: how long a producer may take to answer.
STOP_SECONDS = 2.0


class Producers(Protocol):
    """What the agent needs to know of producers: from NATS, or a fake in tests."""

    @property
    def connected(self) -> bool:
        """Whether leases are received at all."""
        ...

    async def watch(self, heard: Heard) -> None:
        """Reports every lease and each change of one, until cancelled."""
        ...

    async def stop(self, domain: str, run: str, reason: str | None) -> dict[str, Any]:
        """Asks one to stop. Raises NoResponders or Timeout."""
        ...


class NatsProducers:
    """Programs that use the SDK."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @property
    def connected(self) -> bool:
        return self._connection.connected

    async def watch(self, heard: Heard) -> None:
        def entry(entry: Entry, _ready: bool) -> None:
            heard(entry.key.removeprefix("run."), _ttl(entry.value))

        await Bucket(self._connection, LEASES).watch(entry, "run.>")

    async def stop(self, domain: str, run: str, reason: str | None) -> dict[str, Any]:
        wish = to_json({"domain": domain, **({"reason": reason} if reason else {})})
        headers = {"Content-Type": "application/json"}
        reply = await self._connection.ask(f"cmd.run.{escape(run)}.stop", wish, headers, STOP_SECONDS)
        try:
            answer = from_json(reply.payload)
        except BadInput:
            answer = {}
        return answer if isinstance(answer, dict) else {}


class _Lease(msgspec.Struct):
    ttl: float


_lease = decoder(_Lease, LEASES)


def _ttl(value: bytes | None) -> float | None:
    lease = _lease("run", value)
    return lease.ttl if lease is not None else None


class LeaseWatch:
    """Which producers are alive, by their leases. A lease that ran out gets its ttl once more, for a producer that was only cut off."""

    def __init__(self) -> None:
        self._until: dict[str, tuple[float, float]] = {}  # key -> when it runs out, and its ttl

    def __contains__(self, key: str) -> bool:
        return key in self._until

    def __len__(self) -> int:
        return len(self._until)

    def saw(self, key: str, ttl: float | None, now: float) -> None:
        """Notes that a lease was taken or refreshed, or is gone (None)."""
        if ttl is not None:
            self._until[key] = (now + ttl, ttl)
        elif key in self._until:
            until, known = self._until[key]
            self._until[key] = (min(until, now), known)

    def forgive(self, now: float) -> None:
        """Restarts the time of all leases: while the connection was down, a missing refresh proves nothing."""
        for key, (_, ttl) in self._until.items():
            self._until[key] = (now + ttl, ttl)

    def forget(self, key: str) -> None:
        self._until.pop(key, None)

    def lost(self, now: float) -> list[str]:
        """The producers whose lease ran out."""
        return [key for key, (until, ttl) in self._until.items() if now > until + ttl]
