"""Reaches the producers of runs: their leases, their entries in RUNS, and the request to stop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from actors.agent.leases import Lease
from router.broker import Broker
from router.codec import from_json, to_json
from router.errors import BadInput, BrokerError
from router.event import Event
from router.nats.bucket import Bucket, Entry
from router.nats.stream import Ack, Stream
from router.runs import RunEntry, RunLedger
from router.stored import decoder
from router.subject import escape
from router.topology import LEASES, RUNS

LeaseHeard = Callable[[str, Lease | None], None]
"""Called as heard(key, lease) with `<domain>.<token>`; None where the lease is gone."""

EntryHeard = Callable[[str, RunEntry | None], None]
"""Called as heard(key, entry) with `<domain>.<token>`; None where the entry has run out."""

# 2 s: how long a producer may take to answer.
STOP_SECONDS = 2.0
# 1 s: an answer of NATS that takes longer says that refreshes of leases may be late as well.
ANSWER_SECONDS = 1.0


class RunEntries(Protocol):
    """What the agent needs of `router.runs.RunLedger`."""

    async def read(self, domain: str, token: str) -> RunEntry | None: ...

    async def begin(
        self, domain: str, token: str, incarnation: str, *, resumed: bool = False, started: int | None = None
    ) -> RunEntry: ...

    async def end(
        self, event: Event, payload: bytes, *, incarnation: str | None = None, synthesized: bool = False
    ) -> Ack: ...

    async def settle(self, domain: str, token: str) -> bool: ...

    async def note_end(self, event: Event, status: str, incarnation: str | None) -> None: ...

    async def request_stop(self, domain: str, token: str, reason: str | None = None) -> RunEntry: ...


class Producers(Protocol):
    """What the agent needs to know of producers: from NATS, or a fake in tests."""

    ledger: RunEntries

    async def reachable(self) -> bool:
        """Whether NATS answers, so that a missing refresh means something."""
        ...

    async def watch_leases(self, heard: LeaseHeard) -> None:
        """Reports every lease and each change of one, until cancelled."""
        ...

    async def watch_entries(self, heard: EntryHeard) -> None:
        """Reports the entry of every run and each change of one, until cancelled."""
        ...

    async def lease(self, key: str) -> Lease | None:
        """Reads the lease of a run. Raises BrokerError."""
        ...

    async def stop(self, domain: str, run: str, reason: str | None) -> dict[str, Any]:
        """Asks one on NATS to stop. Raises NoResponders or Timeout."""
        ...


class NatsProducers:
    """Programs that use the SDK, and those that hold their leases by HTTP."""

    def __init__(self, broker: Broker) -> None:
        self.ledger: RunEntries = RunLedger(broker)
        self._connection = broker.connection
        self._leases = Bucket(broker.connection, LEASES)
        self._runs = Bucket(broker.connection, RUNS)

    async def reachable(self) -> bool:
        if not self._connection.connected:
            return False
        try:
            # JetStream itself, and not only the connection: it is what stores refreshes.
            await Stream(self._connection, self._leases.stream).info(ANSWER_SECONDS)
        except BrokerError:
            return False
        return True

    async def watch_leases(self, heard: LeaseHeard) -> None:
        def changed(entry: Entry, _ready: bool) -> None:
            heard(entry.key.removeprefix("run."), _lease(entry.key, entry.value))

        await self._leases.watch(changed, "run.>")

    async def watch_entries(self, heard: EntryHeard) -> None:
        def changed(entry: Entry, _ready: bool) -> None:
            heard(entry.key, _entry(entry.key, entry.value))

        await self._runs.watch(changed)

    async def lease(self, key: str) -> Lease | None:
        entry = await self._leases.get(f"run.{key}")
        return _lease(entry.key, entry.value) if entry is not None else None

    async def stop(self, domain: str, run: str, reason: str | None) -> dict[str, Any]:
        wish = to_json({"domain": domain, **({"reason": reason} if reason else {})})
        headers = {"Content-Type": "application/json"}
        reply = await self._connection.ask(f"cmd.run.{escape(run)}.stop", wish, headers, STOP_SECONDS)
        try:
            answer = from_json(reply.payload)
        except BadInput:
            answer = {}
        return answer if isinstance(answer, dict) else {}


_lease = decoder(Lease, LEASES)
_entry = decoder(RunEntry, RUNS)
