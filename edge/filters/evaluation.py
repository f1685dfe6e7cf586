"""Decides which events the CEL filters of sessions let through, within a time budget for each principal.

What is cheap is evaluated on the event loop, for as long as the principal's allowance lasts. Whatever is over it is taken
off the live path and evaluated in a process of its own (see `edge.filters.process`) when its readers read it from the store,
so that the filters of one principal delay no other.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable

from edge import metrics
from edge.filters.process import FilterProcess
from edge.settings import FilterSettings
from edge.view import View
from router.event import Event
from router.filter import NOTHING, Activation
from router.filter_scan import Needs
from router.rates import TokenBucket
from router.record import Record

log = logging.getLogger(__name__)

# Allowances that are full again are forgotten where there are more than so many.
MAX_ALLOWANCES = 1024
# Events that stay converted, so that the filters of many sessions read the same page and convert each event once. An event of
# 7 KiB takes some 100 KB so.
MAX_EVENTS = 512
MAX_BYTES = 2 * 1024 * 1024
# Told once a minute for each process, however many feeds are over their budget.
WARN_EVERY = 60.0


class Allowance(TokenBucket):
    """The seconds that the filters of one principal may still take of the event loop; they grow back by a share of the time."""

    __slots__ = ()

    def __init__(self, settings: FilterSettings, now: float) -> None:
        super().__init__(settings.share, settings.burst, now)


class Wanted:
    """What the filters of several views look at together, so that an event is converted once for all of them."""

    __slots__ = ("any", "needs", "whole")

    def __init__(self, views: Iterable[View] = (), needs: Iterable[Needs] = ()) -> None:
        """Takes views, and what the filters of others look at."""
        self.needs = NOTHING
        self.whole = False
        found = {view.filter.needs for view in views if view.filter is not None}
        found.update(needs)
        self.any = bool(found)
        for each in found:
            self.whole = self.whole or each.fields is None
            self.needs |= each if each.fields is not None else Needs(each.variables, frozenset())


class Converted:
    """Events as filters see them, with what filters said of them: those that were asked about last."""

    def __init__(self, most: int = MAX_EVENTS, most_bytes: int = MAX_BYTES) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._bytes = 0
        self._known: OrderedDict[Record, Activation] = OrderedDict()

    def of(self, record: Record, event: Event) -> Activation:
        """The activation of a record and its event: always the same one, for as long as it is kept."""
        found = self._known.get(record)
        if found is not None:
            self._known.move_to_end(record)
            return found
        found = self._known[record] = Activation(event)
        self._bytes += len(record.payload)
        while len(self._known) > self._most or (self._bytes > self._most_bytes and len(self._known) > 1):
            self._bytes -= len(self._known.popitem(last=False)[0].payload)
        return found


class Filtering:
    """The filters of all sessions of one process."""

    def __init__(
        self,
        settings: FilterSettings | None = None,
        clock: Callable[[], float] = time.perf_counter,
        process: FilterProcess | None = None,
    ) -> None:
        self.settings = settings or FilterSettings()
        self.process = process or FilterProcess()
        self._clock = clock
        self._converted = Converted()
        self._allowances: dict[str | None, Allowance] = {}
        self._warned = -WARN_EVERY

    async def close(self) -> None:
        """Ends the process that evaluates what is over budget, if there is one."""
        await self.process.close()

    def prepare(self, record: Record, event: Event, wanted: Wanted) -> Activation:
        """Gets an event ready for the filters of several views."""
        seen = self._converted.of(record, event)
        seen.prepare(wanted.needs, wanted.whole, self.settings.items)
        return seen

    def look(self, view: View, seen: Activation) -> bool | None:
        """Says whether a view's filter lets an event through; None where to find out would be over the principal's budget."""
        wanted = view.filter
        if wanted is None:
            return True
        known = seen.verdict(wanted.key)
        if known is not None:
            return known
        begun = self._clock()
        allowance = self._allowance(view.owner, begun)
        if allowance.left(begun) <= 0.0 or not wanted.is_cheap(seen, self.settings.items, self.settings.steps):
            return None
        verdict = wanted.matches(seen)
        allowance.take(self._clock() - begun)
        return verdict

    async def select(self, view: View, records: Iterable[Record]) -> list[Record]:
        """The records that a view shows, in their order; others have their turn meanwhile. Raises BrokerError."""
        fit = [
            record
            for record in records
            if (event := record.event) is not None and view.admits(record.subject, event.type, event.partial)
        ]
        if view.filter is None:
            return fit
        shown: set[int] = set()
        rest: list[Record] = []
        begun = self._clock()
        for record in fit:
            assert record.event is not None
            verdict = self.look(view, self._converted.of(record, record.event))
            if verdict is None:
                rest.append(record)
            elif verdict:
                shown.add(id(record))
            if self._clock() - begun >= self.settings.slice:
                await asyncio.sleep(0)
                begun = self._clock()
        if rest:
            self.warn(view)
            verdicts = await self.process.ask(view.owner, view.filter.text, [record.payload for record in rest])
            shown.update(id(record) for record, verdict in zip(rest, verdicts, strict=True) if verdict)
        return [record for record in fit if id(record) in shown]

    def select_now(self, view: View, records: Iterable[Record]) -> list[Record] | None:
        """The same without a pause; None where that would be over the principal's budget."""
        shown: list[Record] = []
        for record in records:
            event = record.event
            if event is None or not view.admits(record.subject, event.type, event.partial):
                continue
            if view.filter is not None:
                verdict = self.look(view, self._converted.of(record, event))
                if verdict is None:
                    return None
                if not verdict:
                    continue
            shown.append(record)
        return shown

    def warn(self, view: View) -> None:
        """Logs that a principal's filters are over their budget, now and then."""
        metrics.filters_deferred.inc()
        if (now := self._clock()) - self._warned >= WARN_EVERY:
            self._warned = now
            log.warning(
                "filters of a principal are over their time budget; its sessions get these events later, from the event store",
                extra={"principal": view.owner, "filter": (view.filter_text or "")[:200]},
            )

    def _allowance(self, owner: str | None, now: float) -> Allowance:
        found = self._allowances.get(owner)
        if found is None:
            if len(self._allowances) >= MAX_ALLOWANCES:
                full = self.settings.burst
                spent = {key: each for key, each in self._allowances.items() if each.left(now) < full}
                # Of more principals at a time than that, those that came first are given a new allowance.
                self._allowances = dict(list(spent.items())[-MAX_ALLOWANCES // 2 :])
            found = self._allowances[owner] = Allowance(self.settings, now)
        return found
