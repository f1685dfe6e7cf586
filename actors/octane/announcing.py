"""Publishes the events of one Octane."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from actors.system.context import Context
from router.errors import BrokerError, Refused
from router.event import new_id
from router.subject import Subject
from router.timing import full_jitter

logger = logging.getLogger(__name__)


async def publish(
    ctx: Context,
    kind: str,
    data: dict[str, Any],
    key: str | None = None,
    id: str | None = None,
    ttl: float | None = None,
) -> None:
    """Publishes one event of this Octane, which is kept for `ttl` seconds where that is given. Raises BrokerError."""
    await ctx.publish(Subject.of("octane", ctx.instance, kind), data, type=kind, key=key, id=id, ttl=ttl)


async def tell(ctx: Context, beat: Callable[[], None], kind: str, data: dict[str, Any], key: str | None = None) -> None:
    """Publishes an event, retrying until it is stored; all tries have one id, so JetStream drops a repeat."""
    id = new_id()
    while True:
        beat()
        try:
            return await publish(ctx, kind, data, key, id)
        except Refused:
            raise
        except BrokerError as fault:
            logger.warning("Octane event could not be published; retrying", extra={"type": kind, "reason": str(fault)})
            await ctx.sleep(0.5)


async def until_done(ctx: Context, act: Callable[[], Awaitable[Any]]) -> Any:
    """Does something as often as it takes until NATS has done it; what NATS refuses for good is logged, and gives None."""
    failures = 0
    while True:
        try:
            return await act()
        except Refused as fault:
            logger.error("NATS refused what tells of a render", extra={"octane": ctx.instance, "reason": str(fault)})
            return None
        except BrokerError as fault:
            failures += 1
            # Also a right that is missing: whoever set up NATS finds it here.
            level = logging.WARNING if failures % 50 == 5 else logging.DEBUG
            logger.log(
                level, "render could not be told of; retrying", extra={"reason": str(fault), "failures": failures}
            )
            await ctx.sleep(0.1 + full_jitter(failures, 0.2, 2.0))
