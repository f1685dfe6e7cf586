"""Tests that the statistics of all edge processes are added up."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping

from edge.sessions.cluster_stats import ClusterStats
from edge.stats import Stats
from router.broker import Broker
from tests.waiting import eventually, unhurried


def measured(_stats: Mapping[str, Stats]) -> None:
    """Nothing changes here without being counted."""


@contextlib.asynccontextmanager
async def running(*processes: ClusterStats) -> AsyncIterator[None]:
    tasks = [asyncio.ensure_future(process.run()) for process in processes]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_the_statistics_of_every_process_are_added_up(own_nats: str) -> None:
    async with Broker(unhurried(own_nats), "one") as one, Broker(unhurried(own_nats), "two") as two:
        here, there = (ClusterStats(broker.connection, measured, lambda: 2) for broker in (one, two))
        async with running(here, there):
            here.of("a").served, there.of("a").served = 2, 3
            there.of("b").served = 5

            async def served(*asked: str) -> dict[str, int]:
                return {known: stats.served for known, stats in (await here.gather(*asked)).items()}

            # Who does not listen yet, or is slow to answer, is left out.
            async def all_are_added_up() -> bool:
                return await served("a") == {"a": 5} and await served() == {"a": 5, "b": 5}

            await eventually(all_are_added_up)


async def test_a_process_that_is_alone_asks_nobody(broker: Broker) -> None:
    alone = ClusterStats(broker.connection, measured, lambda: 1)
    alone.of("a").served = 1

    assert alone.size == 1
    assert (await alone.gather("a"))["a"].served == 1
    alone.forget("a")
    assert await alone.gather("a") == {}
