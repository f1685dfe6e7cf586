"""The data of a session's test event, and what became of it: for a webhook, its first attempt."""

from __future__ import annotations

import asyncio
from typing import Any

from edge.sessions.registry import Session
from edge.webhooks.history.attempt import Attempt
from edge.webhooks.history.attempts import Attempts
from edge.webhooks.service import Webhooks
from router.catalogue import find

# How often the attempt log is asked, in seconds: it is written within a quarter of a second.
_LOOKS = (0.1, 0.5)
# States of an endpoint in which nothing is posted until a person changes that.
_HELD = frozenset({"disabled", "pending"})


def data_for(kind: str) -> dict[str, Any]:
    """The data of a test event of some type where none is given.

    They have every field that the documents show for a type, so that a receiver made after these takes the event.
    """
    return {"message": "test", **(find(kind, "session").example or {})}


async def watch(webhooks: Webhooks, attempts: Attempts, session: Session, event: str, wait: float) -> dict[str, Any]:
    """Waits for the first attempt of a test event, at most `wait` seconds, and describes its outcome.

    `success` is None where that is not known yet. Raises BrokerError.
    """
    loop = asyncio.get_running_loop()
    deadline, pause = loop.time() + wait, _LOOKS[0]
    while True:
        attempt = await _attempt_of(attempts, session.id, event) if wait else None
        state = _state(webhooks, session)
        if attempt is not None or state in _HELD or loop.time() >= deadline:
            return _answer(attempt, state)
        await asyncio.sleep(min(pause, max(0.0, deadline - loop.time())))
        pause = min(2 * pause, _LOOKS[1])


def not_matched(session: Session) -> dict[str, Any]:
    """The answer where the session's own subjects or filter leave its test events out."""
    left_out = "filter does" if session.spec.filter and not session.spec.subjects else "subjects and filter do"
    detail = f"the session's {left_out} not match its test events, which are session.{session.id}.<event_type>"
    return {"status": "not_matched", "success": False, "detail": detail}


async def _attempt_of(attempts: Attempts, session: str, event: str) -> Attempt | None:
    found = await attempts.page(session, event=event, limit=1)
    return found.attempts[0] if found.attempts else None


def _state(webhooks: Webhooks, session: Session) -> str:
    endpoint = session.spec.webhook
    if endpoint is not None and not endpoint.active:
        return "pending"
    return str(webhooks.health(session.id)["state"])


def _answer(attempt: Attempt | None, state: str) -> dict[str, Any]:
    if attempt is not None:
        status, success = ("delivered", True) if attempt.ok else ("failed", False)
    elif state in _HELD:
        status, success = "held", False
    else:
        return {"status": "published", "success": None, "endpoint": state, "attempt": None}
    return {
        "status": status,
        "success": success,
        "endpoint": state,
        "attempt": attempt.describe() if attempt is not None else None,
    }
