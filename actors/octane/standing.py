"""Keeps the condition of one Octane, across its connections, and publishes it as the event `state`."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from prometheus_client import Gauge

from actors.octane.announcing import tell
from actors.octane.client import Identity, OctaneClient
from actors.octane.condition import NOT_TRIED, ConditionLimits, OctaneCondition, OctaneStatus, PictureStatus, observe
from actors.octane.observations import CallTimedOut, ConnectFailed, Observation, TimePassed
from actors.octane.waiting import within
from actors.system.context import Context
from router.codec import rfc3339
from router.cursor import parse_time
from router.errors import BadCursor
from router.subject import Subject

logger = logging.getLogger(__name__)

STATE = Gauge("actors_octane_state", "1 for what an Octane is now, 0 for what it is not.", ["state"])
PICTURE = Gauge("actors_octane_picture", "1 for what an Octane's picture is now, 0 for what it is not.", ["state"])

# How often time is looked at, in seconds: with the beat of the statistics, a fault is seen within 3 s.
TICK = 0.25
# How long a connection to the port may take, and the longest time between two tries of a hung Octane: each one
# waits in its listen queue, which is finite.
PROBE_TIMEOUT = 1.0
LONGEST_PROBE_PAUSE = 60.0


class OctaneStanding:
    """What one Octane is now: connected or why not, and whether its picture is the newest."""

    def __init__(self, address: str, ctx: Context, limits: ConditionLimits, changed: Callable[[], None]) -> None:
        self.identity: Identity | None = None
        self.failure: str | None = None  # why the render failed; None once it renders again
        self._address, self._ctx = address, ctx
        now = ctx.now()
        self.condition = OctaneCondition(since=now, picture_since=now, limits=limits)
        self._on_change = changed  # called at each change, before it is published
        self._changed = asyncio.Event()
        self._told: dict[str, Any] = {}
        self._dates: dict[float, str] = {}
        self._probed = 0.0
        self._probe_pause = TICK

    async def recall(self) -> None:
        """Takes up what an earlier incarnation has published: its last picture is still on screen, and not new."""
        event = await self._ctx.last(Subject.of("octane", self._ctx.instance, "state"))
        if event is not None:
            told, condition = event.data, self.condition
            if told.get("status") == OctaneStatus.ABSENT:
                condition = replace(condition, since=self._recalled(told.get("since"), condition.since))
            if told.get("picture"):
                stale = told.get("picture") == PictureStatus.STALE
                since = self._recalled(told.get("picture_since") if stale else None, condition.picture_since)
                condition = replace(condition, pictured=True, picture=PictureStatus.STALE, picture_since=since)
            self.condition = condition

    def _recalled(self, date: object, otherwise: float) -> float:
        """When that date was on the monotonic clock."""
        try:
            ago = time.time() - parse_time(str(date)).timestamp() if date else 0.0
        except BadCursor:
            return otherwise
        at = otherwise - max(0.0, ago)
        if date:
            self._dates[at] = str(date)
        return at

    def observe(self, observation: Observation) -> None:
        """Takes down an observation; a change is published soon, by `run`."""
        before, self.condition = self.condition, observe(self.condition, observation, self._ctx.now())
        if self.condition is before:
            return
        for metric, states, state in (
            (STATE, OctaneStatus, self.condition.status),
            (PICTURE, PictureStatus, self.condition.picture),
        ):
            for each in states:
                metric.labels(each.value or "none").set(each is state)
        self._on_change()
        self._changed.set()

    async def run(self, beat: Callable[[], None], client: Callable[[], OctaneClient | None]) -> None:
        """Publishes each change, and looks at what time and unanswered calls make of the Octane."""
        self._told = {}  # a run that begins anew tells anew
        while True:
            await within(TICK, self._changed.wait())
            self._changed.clear()
            await self._look(client())
            if (state := self.untold()) is not None:
                logger.info("Octane state changed", extra={"octane": self._ctx.instance, "state": state})
                await tell(self._ctx, beat, "state", state, key=self._ctx.instance)
                self._told = state

    def state(self) -> dict[str, Any]:
        """The data of the event `state`."""
        condition, identity = self.condition, self.identity
        state: dict[str, Any] = {
            "status": condition.status.value,
            "since": self._date(condition.since),
            "address": self._address,
            "name": identity.name if identity else "",
            "version": identity.version if identity else "",
            "simulated": identity.simulated if identity else False,
        }
        if condition.reason:
            state["reason"] = condition.reason
        if condition.picture is not PictureStatus.NONE:
            state |= {"picture": condition.picture.value, "picture_since": self._date(condition.picture_since)}
            if condition.picture_reason:
                state["picture_reason"] = condition.picture_reason
        if condition.contested:
            state["callback_slot"] = "contested"
        return state

    def untold(self) -> dict[str, Any] | None:
        """The state, where it has not been published; None, too, before the first attempt to connect."""
        state = self.state()
        return None if state == self._told or self.condition.absence == NOT_TRIED else state

    async def _look(self, client: OctaneClient | None) -> None:
        overdue = client.overdue() if client is not None else None
        now = self._ctx.now()
        if not self.condition.overdue:
            self._probe_pause = TICK
        elif now - self._probed < self._probe_pause:
            overdue = None
        if overdue is None:
            self.observe(TimePassed())
            return
        self._probed, self._probe_pause = now, min(LONGEST_PROBE_PAUSE, 2 * self._probe_pause)
        if (fault := await connection_fault(self._address)) is None:
            self.observe(CallTimedOut(*overdue))
        else:
            self.observe(ConnectFailed(fault))

    def _date(self, at: float) -> str:
        """The date of a time of the monotonic clock, which stays the same once it was told."""
        if at not in self._dates:
            if len(self._dates) > 8:
                self._dates.clear()
            self._dates[at] = rfc3339(time.time_ns() - int((self._ctx.now() - at) * 1e9))
        return self._dates[at]


async def connection_fault(address: str) -> str | None:
    """Why no TCP connection to an address can be made; None where one can."""
    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout(PROBE_TIMEOUT):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    except TimeoutError:
        return f"{address} does not answer"
    except OSError as fault:
        return str(fault)
    writer.close()
    return None
