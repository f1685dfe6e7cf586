"""Tries rules for people: on events that they send, at once, and on stored history, as jobs beside the actor."""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from actors.alerts.backtest import BacktestReport, backtest, history
from actors.alerts.marked import BadYaml, load
from actors.alerts.parser import parse
from actors.alerts.rulebook import API, parse_one
from actors.alerts.rules import Rule
from actors.system.actor import Reject
from actors.system.context import SourceEnded
from router.broker import Broker
from router.errors import BadInput, BrokerError
from router.event import Event, new_id

log = logging.getLogger(__name__)

_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")

MAX_RUNNING = 2
# Back-tests whose outcome can still be read.
MAX_KEPT = 10
# Of what would have fired, as many as an answer shows.
MAX_SHOWN = 1000
MAX_EVENTS = 1000
# Seconds of one back-test: the actor has its own events to judge beside it.
MAX_SECONDS = 600.0


@dataclass
class Backtest:
    """One back-test, and how far it has come."""

    id: str
    rules: Sequence[Rule]
    since: datetime
    until: datetime | None
    state: str = "running"
    report: BacktestReport = field(default_factory=BacktestReport)
    error: str | None = None
    stop: Callable[[], None] = lambda: None

    def describe(self) -> dict[str, Any]:
        """As JSON."""
        return {"id": self.id, "state": self.state, "error": self.error, **shown(self.report)}


class BacktestGone(Exception):
    """A back-test that was begun and is not known any more; the text says why."""


class Backtests:
    """The back-tests of one incarnation of the actor: the last ten."""

    def __init__(self, broker: Broker, start: Callable[[str, Callable[[Callable[[], None]], Any]], Any]) -> None:
        """`start(name, run)` runs a source of the actor."""
        self._broker = broker
        self._start = start
        self._all: OrderedDict[str, Backtest] = OrderedDict()
        # Begins the ids, so that those of an incarnation before this one are known as such.
        self._name = secrets.token_hex(4)

    def begin(self, rules: Sequence[Rule], since: datetime, until: datetime | None) -> Backtest:
        """Starts one. Raises Reject where too many run."""
        if sum(each.state == "running" for each in self._all.values()) >= MAX_RUNNING:
            raise Reject(f"too many back-tests run; at most {MAX_RUNNING} at a time")
        id = f"{self._name}-{new_id()}"
        made = self._all[id] = Backtest(id, rules, since, until)
        while len(self._all) > MAX_KEPT:
            self._all.pop(next(each.id for each in self._all.values() if each.state != "running"))

        async def run(_beat: Callable[[], None]) -> None:
            await self._run(made)
            raise SourceEnded

        made.stop = self._start(f"backtest {id}", run).stop
        return made

    def find(self, id: str) -> Backtest:
        """Gives one. Raises BacktestGone for one that is not kept any more, and Reject for one that never was."""
        found = self._all.get(id)
        if found is not None:
            return found
        if not _ID.match(id):
            raise Reject("no such back-test")
        if id.startswith(self._name):
            raise BacktestGone(f"the last {MAX_KEPT} back-tests are kept, and this one is older; begin it again")
        raise BacktestGone("the alerts actor was restarted since, which ended its back-tests; begin it again")

    def cancel(self, id: str) -> Backtest:
        """Ends one. Raises as `find`."""
        found = self.find(id)
        if found.state == "running":
            found.state = "cancelled"
            found.stop()
        return found

    async def _run(self, job: Backtest) -> None:
        def progress(report: BacktestReport) -> None:
            job.report = report

        try:
            async with asyncio.timeout(MAX_SECONDS):
                events = history(self._broker, job.rules, job.since, job.until)
                job.report = await backtest(job.rules, events, progress=progress)
            job.state = "done"
        except TimeoutError:
            job.state, job.error = "failed", f"it took longer than {MAX_SECONDS:g} s; give fewer rules or less history"
        except BrokerError as fault:
            log.warning("back-test could not read the history", extra={"fault": str(fault)})
            job.state, job.error = "failed", "the history could not be read"


def rules_of(text: str) -> tuple[Rule, ...]:
    """The rules of a text as a file has them, or the one rule that it is. Raises BadRules."""
    try:
        document = load(text)
    except BadYaml:
        document = None
    if isinstance(document, dict) and "rules" not in document:
        return (parse_one(text),)
    return parse(text, API)


async def trial(rules: Iterable[Rule], given: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What rules would say to some events. Raises Reject for one that is none."""
    if len(given) > MAX_EVENTS:
        raise Reject(f"at most {MAX_EVENTS} events are tried at a time")
    try:
        events = [Event.new(**each) for each in given]
    except (BadInput, TypeError) as fault:
        raise Reject(str(fault)) from None
    return shown(await backtest(rules, _each(events)))


async def _each(events: Iterable[Event]) -> AsyncIterator[Event]:
    for event in events:
        yield event


def shown(report: BacktestReport) -> dict[str, Any]:
    """A report as an answer has it."""
    described = report.describe()
    return {**described, "fired": described["fired"][:MAX_SHOWN]}
