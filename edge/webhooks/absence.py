"""This file is where it is made sure that a session is no more, before what waits for it is thrown away.

Sessions are read from whichever node of a cluster answers, and one that was restarted may not have them yet. Only the
bucket's leader knows that there is none.
"""

from __future__ import annotations

import base64

from edge.registry import Registry
from router.errors import Refused
from router.nats.connection import Connection
from router.nats.error_codes import ErrorCode

_ENDED = (b"KV-Operation: DEL", b"KV-Operation: PURGE", b"Nats-Marker-Reason")


async def is_gone(connection: Connection, registry: Registry, session_id: str) -> bool:
    """Whether a session was deleted, or never was. Raises BrokerError where that is not known."""
    bucket = registry.bucket
    try:
        answer = await connection.api(
            f"STREAM.MSG.GET.{bucket.stream}", {"last_by_subj": f"$KV.{bucket.name}.{session_id}"}
        )
    except Refused as refusal:
        if refusal.err_code == ErrorCode.NO_MESSAGE_FOUND:
            return True
        raise
    headers = base64.b64decode(answer["message"].get("hdrs") or "")
    return any(mark in headers for mark in _ENDED)
