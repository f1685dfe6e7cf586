"""Reads the control messages that WebSocket clients send, and makes the answers: resume, refresh and ping.

In what form a client says them, and is answered, its dialect knows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from edge.dialects.callback import CALLBACK
from edge.dialects.dialect import Dialect, control_object
from edge.errors import Problem
from edge.hub.reader import Reader
from edge.types import State
from router.codec import rfc3339
from router.cursor import Start
from router.errors import BadEvent, BadInput

# Reads where a client wants to begin from a message, with the fields of a query. Raises Problem or BadInput.
Opening = Callable[[Mapping[str, str]], Start]

# 10 s: for a client's first message, which says where it begins.
OPENING_TIMEOUT = 10.0


def read_opening(raw: str | bytes, opening: Opening, dialect: Dialect = CALLBACK) -> Start | dict[str, Any]:
    """Reads where a client wants to begin from its first message; or makes the answer to one that does not say it.

    An answer that is an error ends the connection.
    """
    try:
        message = dialect.hears(raw)
    except BadEvent:
        message = None
    control = message.get("control") if isinstance(message, dict) else None
    if control == "ping":
        return _pong(message)
    if control != "resume":
        return control_error("resume_expected", 'say {"control":"resume","cursor":…} first')
    try:
        return opening({name: str(value) for name, value in message.items() if value is not None})
    except (Problem, BadInput) as refusal:
        detail = refusal.detail if isinstance(refusal, Problem) else str(refusal)
        return control_error(refusal.code, detail)


def control_error(code: str, detail: str | None) -> dict[str, Any]:
    """A refusal, as a message on a WebSocket."""
    return control_object("error", {"code": code, "detail": detail, "timestamp": rfc3339(time.time_ns())})


def _pong(ping: Mapping[str, Any]) -> dict[str, Any]:
    now = rfc3339(time.time_ns())
    return {"control": "pong", "server_time": now, "timestamp": now, "id": ping.get("id")}


def refresh(token: object, reader: Reader) -> dict[str, Any]:
    """The answer to a client that sends a new token over its connection."""
    if reader.authorization is None:
        return control_error("bad_token", "this server has no keys and needs no token")
    said = reader.authorization.refresh(token)
    if said["control"] == "error":
        return control_error(said["code"], said["detail"])
    return {**said, "timestamp": rfc3339(time.time_ns())}


def answer(raw: str | bytes, reader: Reader, dialect: Dialect = CALLBACK) -> dict[str, Any]:
    """The answer to a client's message."""
    try:
        message = dialect.hears(raw)
    except BadEvent as fault:
        return control_error("bad_json", str(fault))
    control = message.get("control") or message.get("type") if isinstance(message, dict) else None
    if control == "refresh":
        return refresh(message.get("token"), reader)
    if control != "ping":
        return control_error("unknown_control", "known controls: ping, refresh")
    pong = _pong(message)
    # Before `ready` no place is known.
    return pong if reader.state is State.CONNECTING else {**pong, "cursor": reader.cursor}
