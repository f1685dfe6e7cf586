"""Says which of this machine's cores the measured process has, and which the rest of the benchmark."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Cores:
    """One core for the server that is measured, and others for all else; the same where there is only one."""

    server: frozenset[int]
    others: frozenset[int]

    @staticmethod
    def here() -> Cores:
        first, *others = sorted(os.sched_getaffinity(0))
        return Cores(frozenset({first}), frozenset(others or {first}))

    @contextlib.contextmanager
    def for_server(self) -> Iterator[None]:
        """What is started meanwhile finds one core only, as Go's runtime looks for them at its start."""
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, self.server)
        try:
            yield
        finally:
            os.sched_setaffinity(0, before)
