"""This file is where it is said who asks: a principal is who a token proves, with its grants and the end of both."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

from edge.auth.grants import ALL, NONE, Grants
from edge.errors import Problem


@dataclass(frozen=True)
class Principal:
    """Who a token proves. `id` is None for everybody, where no keys are configured. `expires` in seconds since the epoch."""

    id: str | None
    grants: Grants = NONE
    expires: float = math.inf

    def owns(self, owner: str | None) -> bool:
        """Whether what has this owner may be seen: by its owner, and by who operates the system."""
        return self.grants.operate or (self.id is not None and self.id == owner)

    @property
    def left(self) -> float:
        """Seconds until the token ends."""
        return self.expires - time.time()

    def require_read(self, *patterns: str) -> None:
        """Raises Problem where something under the patterns may not be read."""
        for pattern in patterns:
            if not self.grants.may_read_all(pattern):
                raise Problem("not_granted", f"reading {pattern} is not granted; {_have('read', self.grants.read)}")

    def require_publish(self, subject: str, **where: Any) -> None:
        """Raises Problem where an event of this subject may not be published."""
        if not self.grants.may_publish(subject):
            raise Problem(
                "not_granted",
                f"publishing {subject} is not granted; {_have('publish', self.grants.publish)}",
                **where,
            )

    def require_command(self, address: str) -> None:
        """Raises Problem where a command (`<actor>.<instance>.<name>`) may not be given."""
        if not self.grants.may_command(address):
            raise Problem(
                "not_granted", f"commanding {address} is not granted; {_have('command', self.grants.command)}"
            )

    def require_operator(self) -> None:
        """Raises Problem for who does not operate the system."""
        if not self.grants.operate:
            raise Problem("operator_only", "this needs a token with operate")


# Who asks where no keys are configured: somebody on this machine.
EVERYBODY = Principal(None, ALL)
# Who asks on a route that is open, where nobody looks at tokens.
NOBODY = Principal(None, NONE)


def _have(what: str, patterns: tuple[str, ...]) -> str:
    shown = ", ".join(patterns[:8]) + (", …" if len(patterns) > 8 else "")
    return f"the token's {what} has {shown}" if patterns else f"the token's {what} is empty"
