"""The reasons to end a connection, as values: the code of each says whether to come back."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Disconnect:
    """Why a connection ends. 4000–4499 come back (at the cursor), 4500–4999 stay away."""

    code: int
    reason: str
    delay: float = 0.0

    @property
    def reconnect(self) -> bool:
        return self.code < 4500


SHUTDOWN = Disconnect(4001, "shutdown", delay=1.0)
ROTATED = Disconnect(4002, "rotated")
# Come back with a new token: what may be read is not less for it.
EXPIRED = Disconnect(4003, "token_expired")
SILENT = Disconnect(4007, "silent")
SLOW = Disconnect(4008, "slow")
TOO_OLD = Disconnect(4009, "cursor_too_old")
LOST_STORE = Disconnect(4010, "event_store_lost", delay=2.0)
FAILED = Disconnect(4011, "internal_error", delay=2.0)
# Some events before the last one written were not heard in time: come back at the cursor that `bye` names.
MISSED = Disconnect(4012, "events_missed")
# Too much at once, or a server that cannot just now: nothing was read, so nothing is to be resumed elsewhere.
REFUSED = Disconnect(4013, "refused_for_now", delay=2.0)
BAD_FRAME = Disconnect(4501, "bad_frame")
FORBIDDEN = Disconnect(4503, "not_permitted")
DELETED = Disconnect(4504, "session_deleted")
NO_SESSION = Disconnect(4505, "session_not_found")
BAD_CURSOR = Disconnect(4506, "bad_cursor")
