"""Trials of rules are bounded: at most two back-tests run, ten are kept, and one that is ended says so."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from actors.alerts.parser import parse
from actors.alerts.rules import BadRules
from actors.alerts.trials import MAX_EVENTS, MAX_KEPT, BacktestGone, Backtests, rules_of, trial
from actors.system.actor import Reject
from actors.system.context import SourceEnded
from router.broker import Broker
from tests.actors.alerts.readings import HOT
from tests.waiting import eventually

SINCE = datetime.now(UTC) - timedelta(hours=1)


class Started:
    """A source that waits until it is let go, as one of a busy machine does."""

    def __init__(self, run: Callable[[Callable[[], None]], Any], gate: asyncio.Event) -> None:
        self._task = asyncio.ensure_future(self._keep(run, gate))

    async def _keep(self, run: Callable[[Callable[[], None]], Any], gate: asyncio.Event) -> None:
        await gate.wait()
        with contextlib.suppress(SourceEnded):
            await run(lambda: None)

    def stop(self) -> None:
        self._task.cancel()


@pytest.fixture
async def gate() -> AsyncIterator[asyncio.Event]:
    made = asyncio.Event()
    yield made
    made.set()


async def test_at_most_two_run_and_the_last_ten_are_kept(broker: Broker, entity: str, gate: asyncio.Event) -> None:
    jobs = Backtests(broker, lambda _name, run: Started(run, gate))
    rules = parse(HOT.replace("    when", f"    subjects: [metric.{entity}.*]\n    when"), "rules")
    first, second = (jobs.begin(rules, SINCE, None) for _ in range(2))
    with pytest.raises(Reject, match="too many"):
        jobs.begin(rules, SINCE, None)
    assert jobs.cancel(first.id).describe()["state"] == "cancelled"
    gate.set()
    await eventually(lambda: second.state == "done")
    for _ in range(MAX_KEPT):
        job = jobs.begin(rules, SINCE, None)
        await eventually(lambda: job.state == "done")
    with pytest.raises(BacktestGone, match="this one is older"):
        jobs.find(first.id)
    with pytest.raises(BacktestGone, match="restarted"):
        Backtests(broker, lambda _name, run: Started(run, gate)).cancel(job.id)
    with pytest.raises(Reject, match="no such"):
        jobs.find("nope")
    assert jobs.cancel(job.id).state == "done"


async def test_a_trial_takes_some_events_and_refuses_what_is_none() -> None:
    rules = rules_of(HOT)
    found = await trial(rules, [{"subject": "metric.a.temperature", "data": {"celsius": 90}, "time_ns": 1}])
    assert (found["events"], found["alerts"]) == (1, 1)
    for bad in ([{"subject": "a"}], [{"sub": "a.b.c"}], [{"subject": "a.b.c"}] * (MAX_EVENTS + 1)):
        with pytest.raises(Reject):
            await trial(rules, bad)


def test_a_text_is_one_rule_or_as_a_file_has_them() -> None:
    assert [rule.name for rule in rules_of(HOT)] == ["hot"]
    assert [rule.name for rule in rules_of("name: warm\nwhen: 'true'\n")] == ["warm"]
    for bad in ("", "[", "name: warm\nwhen: '('\n", "rules: 7"):
        with pytest.raises(BadRules):
            if not rules_of(bad):
                raise BadRules([])
