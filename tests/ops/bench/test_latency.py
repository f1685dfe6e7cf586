"""A run of the latency benchmark reports the delays of its events and how late the producer was."""

from __future__ import annotations

import pytest

from ops.bench import latency
from ops.bench.delivery import crowd
from ops.bench.stand import stand


async def test_a_paced_run_measures_every_event_from_producer_to_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "REST", 0.0)
    async with stand() as place, crowd(place, "sse", 3) as readers:
        said, busy = await latency._paced(readers, rate=1000.0, seconds=0.01)

    assert said["samples"] >= 100
    assert 0 < said["p50"] <= said["p99"] <= said["worst"]
    assert said["late"] >= 0 and set(busy) == {"edge", "nats", "readers", "producer"}
