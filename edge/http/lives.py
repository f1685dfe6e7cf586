"""Refuses events of a life of a run that another one has superseded, where they say which life they are of."""

from __future__ import annotations

import time
from collections import OrderedDict

from router.errors import RunSuperseded
from router.runs import RunLedger

# 2 s: so long may events of a life be taken that was superseded through another edge, or over NATS.
KEPT_SECONDS = 2.0
# 4,096 runs, of 200 bytes each.
MAX_RUNS = 4096


class Lives:
    """The lives that were found not to be superseded a moment ago. One per edge process."""

    def __init__(self, ledger: RunLedger) -> None:
        self._ledger = ledger
        self._found: OrderedDict[tuple[str, str], tuple[str, float]] = OrderedDict()

    async def require(self, domain: str, token: str, incarnation: str, *, now: bool = False) -> None:
        """Raises RunSuperseded where another life has superseded this one, or BrokerError. `now`: as the ledger knows it now."""
        found = self._found.get((domain, token))
        if not now and found is not None and found[0] == incarnation and time.monotonic() < found[1]:
            return
        entry = await self._ledger.read(domain, token)
        if entry is not None and entry.was(incarnation):
            raise RunSuperseded(entry.incarnation)
        self.note(domain, token, incarnation)

    def note(self, domain: str, token: str, incarnation: str) -> None:
        """Notes that a life has begun, or goes on."""
        self._found[domain, token] = (incarnation, time.monotonic() + KEPT_SECONDS)
        self._found.move_to_end((domain, token))
        if len(self._found) > MAX_RUNS:
            self._found.popitem(last=False)
