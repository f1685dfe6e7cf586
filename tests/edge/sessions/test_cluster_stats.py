"""Tests that the statistics of all edge processes are added up."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping

import pytest

from edge.sessions.cluster_stats import ClusterStats
from edge.stats import Stats
from router.broker import Broker
from router.cluster import peers
from tests.waiting import PATIENCE, eventually, unhurried


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


async def test_the_statistics_of_every_process_are_added_up(own_nats: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Who is slow to answer is left out.
    monkeypatch.setattr(peers, "TIMEOUT", PATIENCE)
    async with Broker(unhurried(own_nats), "one") as one, Broker(unhurried(own_nats), "two") as two:
        here, there = (ClusterStats(broker.connection, measured) for broker in (one, two))
        async with running(here, there):
            await eventually(lambda: here.size == there.size == 2)
            here.of("a").served, there.of("a").served = 2, 3
            there.of("b").served = 5

            assert (await here.gather("a"))["a"].served == 5
            assert {known: stats.served for known, stats in (await here.gather()).items()} == {"a": 5, "b": 5}


async def test_a_process_that_is_alone_asks_nobody(broker: Broker) -> None:
    alone = ClusterStats(broker.connection, measured)
    alone.of("a").served = 1

    assert alone.size == 1
    assert (await alone.gather("a"))["a"].served == 1
    alone.forget("a")
    assert await alone.gather("a") == {}
