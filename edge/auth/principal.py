"""Principal: the identity that a token proves, with its grants and their expiry."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

from edge.auth.grants import ALL, NONE, Grants
from edge.errors import Problem


@dataclass(frozen=True)
class Principal:
    """The identity behind a request. `id` is None where authentication is off. `expires` in seconds since the epoch."""

    id: str | None
    grants: Grants = NONE
    expires: float = math.inf

    @property
    def user(self) -> str | None:
        """The `sub` of the token; None where authentication is off."""
        return self.id.partition(" ")[2] if self.id is not None else None

    def owns(self, owner: str | None) -> bool:
        """Whether it may see what belongs to `owner`: its own, and with `operate` everything."""
        if self.confined:
            return False
        return self.grants.operate or (self.id is not None and self.id == owner)

    @property
    def confined(self) -> bool:
        """Whether its token is for single sessions: it is refused by all routes but those of `Access.SESSION`."""
        return bool(self.grants.sessions)

    def manages(self, session_id: str, owner: str | None) -> bool:
        """Whether it may see a session's endpoint and manage it: its own, or one that its token names."""
        return session_id in self.grants.sessions or self.owns(owner)

    @property
    def left(self) -> float:
        """Seconds until the token ends."""
        return self.expires - time.time()

    def require_read(self, *patterns: str) -> None:
        """Raises Problem where a pattern is not fully covered by the read grants."""
        for pattern in patterns:
            if not self.grants.may_read_all(pattern):
                raise Problem("not_granted", f"reading {pattern} is not granted; {_have('read', self.grants.read)}")

    def require_publish(self, subject: str, **where: Any) -> None:
        """Raises Problem where publishing to this subject is not granted."""
        if not self.grants.may_publish(subject):
            raise Problem(
                "not_granted",
                f"publishing {subject} is not granted; {_have('publish', self.grants.publish)}",
                **where,
            )

    def require_command(self, address: str) -> None:
        """Raises Problem where a command (`<actor>.<instance>.<name>`) is not granted."""
        if not self.grants.may_command(address):
            raise Problem(
                "not_granted", f"commanding {address} is not granted; {_have('command', self.grants.command)}"
            )

    def require_operator(self) -> None:
        """Raises Problem without `operate`."""
        if not self.grants.operate:
            raise Problem("operator_only", "this needs a token with operate")


# The principal of every request where no keys are configured, which come from this machine.
EVERYBODY = Principal(None, ALL)
# The principal on open routes, where tokens are not read.
NOBODY = Principal(None, NONE)


def _have(what: str, patterns: tuple[str, ...]) -> str:
    shown = ", ".join(patterns[:8]) + (", …" if len(patterns) > 8 else "")
    return f"the token's {what} has {shown}" if patterns else f"the token's {what} is empty"
