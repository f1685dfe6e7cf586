"""The reasons to end a connection, as values whose codes tell the client whether to reconnect."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Disconnect:
    """Why a connection ends. 4000–4499: reconnect at the cursor; 4500–4999: do not reconnect."""

    code: int
    reason: str
    delay: float = 0.0

    @property
    def reconnect(self) -> bool:
        return self.code < 4500


SHUTDOWN = Disconnect(4001, "shutdown", delay=1.0)
ROTATED = Disconnect(4002, "rotated")
# Reconnect with a new token.
EXPIRED = Disconnect(4003, "token_expired")
SILENT = Disconnect(4007, "silent")
SLOW = Disconnect(4008, "slow")
TOO_OLD = Disconnect(4009, "cursor_too_old")
LOST_STORE = Disconnect(4010, "event_store_lost", delay=2.0)
FAILED = Disconnect(4011, "internal_error", delay=2.0)
# Events before the last one written were missed: reconnect at the cursor that `bye` names.
MISSED = Disconnect(4012, "events_missed")
# Rate limit, or a server that is temporarily unable: nothing was read, so there is no position to resume.
REFUSED = Disconnect(4013, "refused_for_now", delay=2.0)
# What the address is about is over, and the client has all of it.
COMPLETED = Disconnect(4500, "completed")
BAD_FRAME = Disconnect(4501, "bad_frame")
FORBIDDEN = Disconnect(4503, "not_permitted")
DELETED = Disconnect(4504, "session_deleted")
NO_SESSION = Disconnect(4505, "session_not_found")
BAD_CURSOR = Disconnect(4506, "bad_cursor")
