"""Makes sure that a session was deleted, before what waits for it is thrown away.

Sessions are read from whichever node of a cluster answers, and one that was restarted may not have them yet. Only the
bucket's leader knows that there is none.
"""

from __future__ import annotations

from edge.registry import Registry


async def is_gone(registry: Registry, session_id: str) -> bool:
    """Whether a session was deleted, or never was. Raises BrokerError where that is not known."""
    entry = await registry.bucket.latest(session_id)
    return entry is None or entry.value is None
