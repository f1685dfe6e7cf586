"""Tells of an Octane's renders as runs: publishes what `render_run` derives, holds the run's lease, and links its last picture."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from actors.octane.announcing import publish, until_done
from actors.octane.last_picture import PictureKeeper
from actors.octane.render_events import facts_of, film_of, later, name_of, progress_of, record_of
from actors.octane.render_run import (
    RenderAdvanced,
    RenderBegun,
    RenderChange,
    RenderEnded,
    RenderOutcome,
    RenderPaused,
    RenderRecord,
    RenderRuns,
    RenderSettings,
)
from actors.octane.render_store import DOMAIN, RenderStore
from actors.octane.waiting import within
from actors.system.context import Context
from router.errors import BadEvent, BrokerError, RunConflict, RunEnded
from router.event import Event
from router.last_pictures import link_to
from router.subject import Subject

logger = logging.getLogger(__name__)

# 2 s: how soon a request to stop is seen, and a lease that was lost is noticed.
HOLD_SECONDS = 2.0
# 10 s: a stop that Octane refused is asked for again.
STOP_AGAIN_SECONDS = 10.0
# 32 changes: so many are made within a minute of pausing and going on. What is observed while more wait is left out, and
# seen with the next report.
MAX_CHANGES = 32
# An hour: EVENTS forgets by age, and a render may be paused for weeks.
REPEAT_SECONDS = 3600.0


class OctaneRenders:
    """The runs of one Octane's renders, from one incarnation of the actor to the next."""

    def __init__(
        self,
        ctx: Context,
        settings: RenderSettings,
        store: RenderStore,
        about: Callable[[], dict[str, Any]],
        stop: Callable[[], Awaitable[Any]],
        look: Callable[[], None],
    ) -> None:
        """`about` gives `rendered_by` and `simulated`; `stop` ends the render on its Octane; `look` has a picture fetched."""
        self._ctx, self._settings, self._store, self._stop, self._look = ctx, settings, store, stop, look
        self.runs = RenderRuns(ctx.instance, settings)
        self.pictures = PictureKeeper(ctx.instance, store.pictures, settings.picture, ctx.now, about)
        self._changes: deque[RenderChange] = deque()
        self._some = asyncio.Event()
        # What is observed before it is known which run was left open belongs to none.
        self._restored = False
        # The lives of the run that is open: more than one where it was failed while this actor was away.
        self._lives: dict[str, int] = {}
        self._held = self._repeated = self._stop_asked = float("-inf")

    def begin(self) -> None:
        """Goes on where the incarnation before has ended, and starts to publish."""
        self._ctx.source("renders", self._run, silence=None)

    def saw(self, report: Mapping[str, Any], target: int) -> None:
        """Takes the data of a statistics event."""
        if self._restored and len(self._changes) < MAX_CHANGES:
            self._take(self.runs.saw(film_of(report, target), self._ctx.now(), time.time()))

    def failed(self, reason: str) -> None:
        """Takes the reason for which Octane stopped rendering."""
        if self._restored:
            self._take(self.runs.failed(reason, self._ctx.now(), time.time()))

    def lost(self, reason: str) -> None:
        """Takes note that Octane is away, or refuses to be watched."""
        self.runs.lost(reason, self._ctx.now())

    def _take(self, changes: list[RenderChange]) -> None:
        for change in changes:
            last = self._changes[-1] if self._changes else None
            if isinstance(change, RenderAdvanced) and isinstance(last, RenderAdvanced):
                self._changes.pop()
            self._changes.append(change)
            self._some.set()

    async def _run(self, beat: Callable[[], None]) -> None:
        if not self._restored:
            await self._restore()
            self._restored = True
        while True:
            await within(0.5, self._some.wait())
            self._some.clear()
            self._take(self.runs.passed(self._ctx.now()))
            while self._changes:
                try:
                    await self._tell(self._changes[0])
                except BadEvent as fault:
                    logger.error("render cannot be told of", extra={"octane": self._ctx.instance, "reason": str(fault)})
                self._changes.popleft()
            await self.pictures.store_due()
            await self._hold()

    # What the incarnation before left

    async def _restore(self) -> None:
        event = await self._ctx.last(Subject.of("octane", self._ctx.instance, "render"))
        record = record_of(event.data) if event is not None else None
        if event is None or record is None:
            return
        self._lives = {record.run: int(event.data.get("life") or 1)}
        if record.open:
            progress = await self._ctx.last(Subject.of(DOMAIN, record.run, "progress"))
            if progress is not None:
                record = later(record, progress)
        self.runs.restore(record, self._ctx.now())

    # What is told

    async def _tell(self, change: RenderChange) -> None:
        match change:
            case RenderBegun(record=record):
                await self._remember(record)
                await self._start(record)
            case RenderAdvanced(record=record, progress=progress):
                await self._advance(record, progress)
            case RenderPaused(record=record):
                await self._remember(record)
                report = record.report
                text = f"{record.status} at {report.samples} of {report.max_samples or '?'} samples"
                stage = "paused" if record.status == "paused" else "rendering"
                data = {"status": record.status, "stage": stage, "message": text}
                await until_done(self._ctx, lambda: self._publish(record, "status", data))
            case RenderEnded(record=record, outcome=outcome, reason=reason):
                await self._end(record, outcome, reason)

    async def _start(self, record: RenderRecord, *, resumed: bool = False) -> None:
        incarnation = self._incarnation(record)
        data = {"name": name_of(record), "incarnation": incarnation, **facts_of(record, self._ctx.instance)}
        event = self._event(record, "workflow_start", data | ({"resumed": True} if resumed else {}))
        self._held = float("-inf")
        try:
            await until_done(self._ctx, lambda: self._store.start(event, incarnation, self._settings.grace))
        except RunConflict as fault:
            logger.warning("run of a render could not begin", extra={"run": record.run, "reason": str(fault)})
            return
        logger.info("render began; it is a run", extra={"octane": self._ctx.instance, "run": record.run})

    async def _advance(self, record: RenderRecord, progress: float | None) -> None:
        try:
            await self._publish(record, "progress", progress_of(record, progress))
        except BrokerError as fault:
            # The next one says more.
            logger.debug("progress of a render was not published", extra={"run": record.run, "reason": str(fault)})

    async def _end(self, record: RenderRecord, outcome: RenderOutcome, reason: str) -> None:
        picture = await self._picture(record, outcome)
        data = {
            "success": outcome is RenderOutcome.FINISHED,
            "status": outcome.value,
            **facts_of(record, self._ctx.instance),
            "total_time": round(max(0.0, record.seen - record.began), 3),
            **({"error": reason} if outcome is RenderOutcome.FAILED else {"message": reason} if reason else {}),
            **picture,
        }
        for _ in range(2):
            incarnation = self._incarnation(record)
            event = self._event(record, "completion", {**data, "incarnation": incarnation})
            try:
                await until_done(self._ctx, lambda: self._store.end(event, incarnation))  # noqa: B023
            except RunEnded as fault:
                if fault.synthesized and outcome is RenderOutcome.FINISHED:
                    # It was failed while nobody was here to tell that it goes on.
                    await self._revive(record)
                    continue
                logger.info("run of a render was over already", extra={"run": record.run, "reason": str(fault)})
            except RunConflict as fault:
                logger.warning("end of a render was refused", extra={"run": record.run, "reason": str(fault)})
            break
        await self._remember(record, picture)
        logger.info(
            "render is over",
            extra={"octane": self._ctx.instance, "run": record.run, "outcome": outcome.value, "reason": reason},
        )
        try:
            await self._store.release(record.run)
        except BrokerError as fault:
            # It runs out by itself, and the run is over.
            logger.debug("lease of a run was not released", extra={"run": record.run, "reason": str(fault)})

    async def _picture(self, record: RenderRecord, outcome: RenderOutcome) -> dict[str, Any]:
        """Stores the last picture of a run, and makes the link to it."""
        keeper = self.pictures
        last = (
            await keeper.final(record.report.samples, self._look) if outcome is RenderOutcome.FINISHED else keeper.main
        )
        since = record.began - self._settings.settle - 1.0
        kept = await until_done(self._ctx, lambda: keeper.keep_for_run(DOMAIN, record.run, since, last))
        await keeper.store()
        if kept is None:
            return {}
        expires = int(time.time() + self._settings.link)
        link = link_to(DOMAIN, record.run, kept.key, expires, self._settings.public_url)
        return {"picture": link, "picture_time": round(kept.time, 3), "picture_expires": expires}

    async def _remember(self, record: RenderRecord, picture: Mapping[str, Any] | None = None) -> None:
        """Publishes what the next incarnation goes on from; it is also what a page shows of the present run."""
        self._repeated = self._ctx.now()
        data = {
            "run": record.run,
            "status": record.status,
            "life": self._lives.get(record.run, 1),
            "began": record.began,
            "seen": record.seen,
            **facts_of(record, self._ctx.instance),
            "render_time": record.report.render_time,
            "wipes": record.report.wipes,
            "state": record.report.state,
            **(picture or {}),
        }
        await until_done(self._ctx, lambda: publish(self._ctx, "render", data, key=self._ctx.instance))

    # The lease

    async def _hold(self) -> None:
        """Says that the run goes on, and stops the render where that was asked for."""
        record, now = self.runs.open, self._ctx.now()
        if record is None or now - self._held < HOLD_SECONDS:
            return
        self._held = now
        try:
            asked = await self._store.hold(record.run, self._incarnation(record), self._settings.grace)
        except RunEnded as fault:
            if not fault.synthesized:
                self.runs.over(fault.status)
            elif not self.runs.away:
                await self._revive(record)
            return
        except RunConflict as fault:
            logger.warning("run of a render was taken over", extra={"run": record.run, "reason": str(fault)})
            self.runs.over("stopped")
            return
        except BrokerError as fault:
            logger.debug("lease of a render was not held; retrying", extra={"run": record.run, "reason": str(fault)})
            return
        if now - self._repeated >= REPEAT_SECONDS:
            await self._remember(record)
        if asked is not None and not self.runs.away and now - self._stop_asked >= STOP_AGAIN_SECONDS:
            self._stop_asked = now
            await self._ask_to_stop(record, asked.reason)

    async def _ask_to_stop(self, record: RenderRecord, reason: str | None) -> None:
        self.runs.stop_asked(f"asked to stop: {reason}" if reason else "asked to stop")
        try:
            await self._stop()
        except Exception as fault:  # noqa: BLE001
            logger.warning(
                "render could not be stopped; asked again in 10 s", extra={"run": record.run, "reason": str(fault)}
            )

    async def _revive(self, record: RenderRecord) -> None:
        """Begins the next life of a run that was failed because nobody said that it goes on."""
        self._lives = {record.run: self._lives.get(record.run, 1) + 1}
        await self._remember(record)
        await self._start(record, resumed=True)

    # Making events

    def _incarnation(self, record: RenderRecord) -> str:
        return f"{record.run}.{self._lives.get(record.run, 1)}"

    def _event(self, record: RenderRecord, kind: str, data: Mapping[str, Any]) -> Event:
        """An event whose id is the same however often it is made."""
        id = f"{self._incarnation(record)}.{kind}"
        return Event.new(Subject.of(DOMAIN, record.run, kind), data, type=kind, source=self._ctx.name, id=id)

    async def _publish(self, record: RenderRecord, kind: str, data: Mapping[str, Any]) -> None:
        said = {**data, "incarnation": self._incarnation(record)}
        await self._ctx.publish(Subject.of(DOMAIN, record.run, kind), said, type=kind)
