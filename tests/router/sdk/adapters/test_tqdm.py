"""Tests of tqdm.py: real bars, told of on a real nats-server."""

from __future__ import annotations

import asyncio
import io
from typing import Any

import pytest
import tqdm as library
from tqdm.auto import trange

from router.broker import Broker
from router.sdk import Run, RunSettings, RunStopped, SyncRun
from router.sdk.adapters.context import reporting_to
from router.sdk.adapters.tqdm import reporting_bars, tqdm
from tests.router.sdk.runs import events_of

# Every progress is an event, so that a test sees each.
ALL = RunSettings(progress_interval=0.0)
# Every step is drawn.
EACH: dict[str, Any] = {"mininterval": 0, "miniters": 1, "file": io.StringIO()}


async def progress_of(broker: Broker, run: str) -> list[dict[str, Any]]:
    return [dict(event.data) for event in await events_of(broker, run) if event.type == "progress"]


async def test_a_loop_behind_the_drop_in_tells_how_far_it_is(broker: Broker, entity: str) -> None:
    async with Run(entity, broker, settings=ALL) as run:
        with reporting_to(run):
            for _ in tqdm(range(4), desc="train", unit="step", **EACH):
                await asyncio.sleep(0)

    seen = await progress_of(broker, entity)
    assert [each["progress"] for each in seen if "progress" in each] == [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]
    assert (seen[-1]["stage"], seen[-1]["current"], seen[-1]["total"], seen[-1]["unit"]) == ("train", 4, 4, "step")
    assert seen[2]["rate"] > 0


async def test_bars_in_code_that_knows_nothing_of_us_are_told_of(nats_server: str, broker: Broker, entity: str) -> None:
    def somebody_elses() -> int:
        return sum(n for n in trange(50, **EACH)) + sum(library.tqdm(range(3), **EACH))

    def program() -> None:
        with SyncRun(entity, nats_server, settings=ALL) as run, reporting_bars(run):
            assert somebody_elses() == 1228
        somebody_elses()

    refresh = library.tqdm.refresh
    await asyncio.to_thread(program)

    seen = await progress_of(broker, entity)
    assert seen[-1]["total"] == 3 and max(each.get("progress", 0) for each in seen) == 1.0
    assert len([each for each in seen if each["total"] == 50]) >= 51
    assert library.tqdm.refresh is refresh


async def test_nested_bars_make_one_progress_that_never_goes_back(broker: Broker, entity: str) -> None:
    async with Run(entity, broker, settings=ALL) as run:
        for _ in tqdm(range(3), desc="epoch", run=run, **EACH):
            for _ in tqdm(range(4), desc="batch", run=run, **EACH):
                await asyncio.sleep(0)
        for _ in tqdm(range(2), desc="save", run=run, **EACH):
            await asyncio.sleep(0)

    seen = await progress_of(broker, entity)
    shares = [each["progress"] for each in seen if "progress" in each]
    assert shares == sorted(shares) and shares[-1] == 1.0
    assert pytest.approx(1 / 3 + 1 / 12) in shares  # one epoch, and one of four batches of the next
    assert "batch 3/4" in {each.get("message") for each in seen}
    saving = [each for each in seen if each["stage"] == "save"]
    assert [each["current"] for each in saving if "progress" not in each] == [0, 1]


async def test_a_bar_of_unknown_length_tells_its_count(broker: Broker, entity: str) -> None:
    async with Run(entity, broker, settings=ALL) as run:
        with tqdm(run=run, **EACH) as bar:
            bar.update(7)

    last = (await progress_of(broker, entity))[-1]
    assert last["current"] == 7 and "progress" not in last and "total" not in last


async def test_a_bar_that_is_not_shown_is_told_of_all_the_same(broker: Broker, entity: str) -> None:
    shown = io.StringIO()
    async with Run(entity, broker, settings=ALL) as run:
        for disable in (True, None):
            for _ in tqdm(range(2), run=run, disable=disable, file=shown):
                pass

    assert (await progress_of(broker, entity))[-1]["current"] == 2 and shown.getvalue() == ""


async def test_a_fast_loop_makes_few_events(broker: Broker, entity: str) -> None:
    async with Run(entity, broker) as run:
        for _ in tqdm(range(200_000), run=run, file=io.StringIO()):
            pass

    seen = await progress_of(broker, entity)
    assert len(seen) < 100 and seen[-1]["progress"] == 1.0


async def test_a_loop_ends_where_its_run_is_asked_to_stop(broker: Broker, entity: str) -> None:
    done: list[int] = []

    with pytest.raises(RunStopped):
        async with Run(entity, broker) as run:
            for n in tqdm(range(1000), run=run, **EACH):
                done.append(n)
                if n == 3:
                    run.stopped.set()

    assert done == [0, 1, 2, 3]
    assert (await events_of(broker, entity))[-1].data["status"] == "cancelled"


async def test_without_a_run_it_is_tqdm() -> None:
    shown = io.StringIO()

    assert list(tqdm(range(3), file=shown)) == [0, 1, 2] and "3/3" in shown.getvalue()
    assert [n async for n in tqdm(_numbers(), file=shown)] == [0, 1]


async def _numbers() -> Any:
    for n in range(2):
        yield n
