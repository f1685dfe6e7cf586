"""Reads the order to begin a run, as the command `start` is given it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from router.catalogue import RUN_DOMAINS
from router.errors import BadInput
from router.event import new_id
from router.subject import Subject

# Part of the ids of events, of which the run and a number are the others (router/sdk/encoder.py).
_INCARNATION = re.compile(r"[A-Za-z0-9_-]{1,40}")


class StartOrder(NamedTuple):
    """What a process is asked to begin: the next life of a run."""

    run: str
    domain: str
    incarnation: str
    input: Any

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> StartOrder:
        """An incarnation that no id of an event may have is replaced. Raises BadInput."""
        run, domain, life = given.get("run"), given.get("domain", "agent"), given.get("incarnation")
        if not isinstance(run, str) or not run:
            raise BadInput("a start needs run, the name of a run or thread")
        if domain not in RUN_DOMAINS:
            raise BadInput(f"domain must be one of {', '.join(RUN_DOMAINS)}")
        if not isinstance(life, str) or not _INCARNATION.fullmatch(life):
            life = new_id()
        Subject.of(domain, run, "workflow_start")
        return cls(run, domain, life, given.get("input"))

    def begun(self) -> dict[str, str]:
        """The answer, once the run has begun."""
        return {"run": self.run, "domain": self.domain, "incarnation": self.incarnation}
