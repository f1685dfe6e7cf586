"""Installations of tests whose events are in several streams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from router.broker import Broker
from router.codec import decode
from router.nats.settings import BrokerSettings
from router.nats.stream import StoredMessage, Stream, stored, stream_names
from router.reshard import BadReshard, Reshard
from router.topology import TopologySettings, is_of_events

# A repeat is looked for in the former generation for twice as long as this, and no further reshard may begin meanwhile.
SHORT = TopologySettings(dedup_window=0.2)


@asynccontextmanager
async def broker_of(url: str, topology: TopologySettings = SHORT) -> AsyncIterator[Broker]:
    """A broker of a server that no other test uses."""
    async with Broker(BrokerSettings(url=url, request_timeout=60.0), "test", topology) as broker:
        yield broker


async def reshard(broker: Broker, shards: int) -> list[str]:
    """Puts the events into so many streams; returns what was told."""
    told: list[str] = []
    await Reshard(broker, shards, told.append).run()
    return told


async def reshard_soon(broker: Broker, shards: int) -> None:
    """Puts the events into so many streams, as soon as the last time is long enough ago."""
    while True:
        try:
            await reshard(broker, shards)
            return
        except BadReshard:
            await asyncio.sleep(0.05)


async def all_stored(broker: Broker) -> Mapping[str, list[StoredMessage]]:
    """Every message of each stream of events."""
    found: dict[str, list[StoredMessage]] = {}
    for name in sorted(filter(is_of_events, await stream_names(broker.connection))):
        messages = found[name] = []
        while True:
            after = messages[-1].sequence if messages else 0
            request = {"seq": after + 1, "next_by_subj": ">", "batch": 1000}
            run = await Stream(broker.connection, name).read_run(request, stored)
            messages += run.messages
            if not run.left or not run.messages:
                break
    return found


def ids(messages: list[StoredMessage]) -> list[str]:
    """The ids of stored events."""
    return [decode(message.payload).id for message in messages]
