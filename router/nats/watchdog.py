"""Watches a connection to NATS that may be dead without nats-py noticing, and forces it to reconnect."""

from __future__ import annotations

import contextlib
import logging

import nats.errors

from router.coalescing import coalesced_sleep
from router.nats.client import NatsClient
from router.nats.counters import figures

log = logging.getLogger(__name__)

# How often the connection is examined. nats-py ends its read loop silently where its parser raises.
WATCH_SECONDS = 2.0
# The server's answer to a ping may take so long; after two that were not answered the connection is dead.
PING_TIMEOUT = 5.0
MAX_MISSED_PINGS = 2


async def watch(wire: NatsClient) -> None:
    """Forces a reconnect where nats-py reports a connection that receives nothing; until cancelled."""
    missed = 0
    while True:
        await coalesced_sleep(WATCH_SECONDS)
        if wire.is_closed or not wire.is_connected:
            continue
        reading = wire._reading_task
        try:
            if reading is None or reading.done():
                raise TimeoutError
            await wire.round_trip(PING_TIMEOUT)
            missed = 0
        except (TimeoutError, nats.errors.Error):
            missed += 1
            if missed >= MAX_MISSED_PINGS or reading is None or reading.done():
                figures.silences += 1
                log.error("NATS does not answer; reconnecting")
                missed = 0
                with contextlib.suppress(nats.errors.Error, OSError):
                    await wire.force_reconnect()
