"""Delivers a run's outbox: sends its first events again and again until they are stored, and spools them while that fails."""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import time
from collections.abc import Callable
from pathlib import Path

from router.errors import RouterError, RunSuperseded
from router.sdk.connect import sender_to
from router.sdk.emitter import Emitter
from router.sdk.encoder import RunEncoder
from router.sdk.outbox import RunOutbox
from router.sdk.queued import Kind, Queued
from router.sdk.recovery import deliver
from router.sdk.sender import EventSender
from router.sdk.spool import SpoolFile, default_folder, left_behind, new_header
from router.sdk.values import RunOver, RunSettings
from router.timing import full_jitter

log = logging.getLogger(__name__)

# 256 events or 512 KiB on their way at once: a round trip is shared by many, and what fails is sent again from there on.
MAX_BATCH = 256
MAX_BATCH_BYTES = 512 * 1024
# Between two attempts while the server is away, in seconds.
MIN_PAUSE, MAX_PAUSE = 0.1, 1.0
# A minute: JetStream forgets an id after two. What was sent before that and not acknowledged is looked up before it is sent again.
RECHECK_SECONDS = 60.0
# What is spooled is forced to the disk so often, as nats-server of `callboard up` does with what it has acknowledged.
SYNC_SECONDS = 1.0


class RunDelivery:
    """The sending side of one run, on one event loop."""

    def __init__(
        self,
        emitter: Emitter,
        outbox: RunOutbox,
        encoder: RunEncoder,
        sender: EventSender,
        settings: RunSettings,
        on_away: Callable[[], None],
    ) -> None:
        """`on_away` is called when nothing can be stored for now."""
        self.over: RouterError | None = None  # why the completion was refused
        self.revived = False
        self.stop_reason: str | None = None
        self.stopped = asyncio.Event()
        self.lost_for_good = asyncio.Event()  # nothing of this run is stored any more
        self._emitter = emitter
        self._outbox = outbox
        self._encoder = encoder
        self._sender = sender
        self._settings = settings
        self._on_away = on_away
        self._folder = settings.spool_dir or default_folder()
        self._changed = asyncio.Event()
        self._ticked = asyncio.Event()
        self._settled = asyncio.Event()
        self._away_since: float | None = None
        self._lost = False  # the start of another incarnation is to be sent, in front of what waits
        self._start: Queued | None = None
        self._incarnations = {encoder.incarnation}

    # What the sender reports (router.sdk.sender.Host)

    def asked_to_stop(self, reason: str | None) -> None:
        """Notes the first request to stop, and tells readers of it."""
        if self.stopped.is_set():
            return
        self.stop_reason = reason
        self.stopped.set()
        self._emitter.stop(reason)

    def lost(self) -> None:
        """Begins another incarnation, since this one was ended when its lease ran out: before anything else is delivered."""
        if not self._settings.revive:
            self._give_up(RunOver("the run was ended as failed, since its lease ran out"))
        elif not self._emitter.over or len(self._outbox):
            self._lost = True
            self.wake()

    def revive(self) -> Queued:
        """Begins another incarnation for a completion that is on its way; returns its start. Raises RunOver where none is wanted."""
        if not self._settings.revive:
            raise RunOver("the run was ended as failed, since its lease ran out")
        start = self._emitter.resumed_start()
        self._tell_revived()
        return start

    def adopted(self, incarnation: str) -> None:
        """Goes on as an incarnation that the server has begun, since the one before was ended when its lease ran out."""
        self._encoder.incarnation = incarnation
        self._tell_revived()

    def superseded(self, by: RunSuperseded) -> None:
        """Notes that another process has begun this run anew: what this one still says is not stored any more."""
        if isinstance(self.over, RunSuperseded):
            return
        self._give_up(by)
        log.warning(
            "run %s was begun anew by another process; what this one says is refused: %s",
            self._encoder.life.run,
            by,
        )

    def _give_up(self, why: RouterError) -> None:
        self.over = self.over or why
        self.lost_for_good.set()
        self.wake()

    def _tell_revived(self) -> None:
        self.revived = True
        self._incarnations.add(self._encoder.incarnation)
        self._outbox.note_life(self._encoder.incarnation)
        log.warning(
            "lease of run %s ran out and the run was ended as failed; it goes on as a new incarnation, %s",
            self._encoder.life.run,
            self._encoder.incarnation,
        )

    def limited(self, size: int) -> None:
        """Notes the largest event that the server takes."""
        self._encoder.limit = size

    # The tasks of an open run

    def wake(self) -> None:
        """Notes that there is something to deliver, or to time; from the loop's thread."""
        self._changed.set()
        self._ticked.set()

    async def tick(self) -> None:
        """Emits what was held back when it is due, and spools what has waited too long, until cancelled."""
        synced = -math.inf
        while True:
            self._ticked.clear()
            pause = self._emitter.due - time.monotonic()
            if len(self._outbox) and not self._outbox.spooling:
                pause = min(pause, max(0.05, self._settings.spool_after / 2))
            if self._outbox.must_sync:
                pause = min(pause, synced + SYNC_SECONDS - time.monotonic())
            if pause > 0:
                try:
                    async with asyncio.timeout(None if pause == math.inf else pause):
                        await self._ticked.wait()
                except TimeoutError:
                    pass
            self._emitter.flush_due()
            if self._outbox.waited() > self._settings.spool_after and not self._outbox.spooling:
                self._spool()
            if self._outbox.must_sync and time.monotonic() - synced > SYNC_SECONDS:
                # Beside this: a slow disk holds up nothing that is due.
                asyncio.get_running_loop().run_in_executor(None, self._outbox.sync)
                synced = time.monotonic()

    async def deliver(self) -> None:
        """Sends what is in the outbox, until cancelled; before that, what an earlier process of the run left behind."""
        await self._deliver_left_behind()
        failures = 0
        skip = 0  # events up to this number are known to be stored
        while True:
            items = self._outbox.take(MAX_BATCH, MAX_BATCH_BYTES)
            if items and items[0].kind is not Kind.START and not self._lost:
                await self._sender.check()
            if self._lost and not self.lost_for_good.is_set():
                if not await self._restart():
                    failures += 1
                    await asyncio.sleep(MIN_PAUSE + full_jitter(failures, MIN_PAUSE, MAX_PAUSE))
                continue
            if not items:
                self._changed.clear()
                if not len(self._outbox) and not self._lost:
                    await self._changed.wait()
                continue
            if known := _count_stored(items, skip):
                self._settle(known)
                continue
            if self.lost_for_good.is_set():
                self._settle(0, len(items))
                continue
            sent = await self._sender.send(items, self.revive)
            if isinstance(sent.over, RunSuperseded):
                self.superseded(sent.over)
            self.over = sent.over or self.over
            if sent.stored or sent.refused:
                self._settle(sent.stored, sent.refused)
            if sent.away is None:
                failures = 0
                if self._back() > RECHECK_SECONDS:
                    skip = await self._sender.last_stored(frozenset(self._incarnations))
                continue
            self._away(sent.away)
            failures += 1
            await asyncio.sleep(MIN_PAUSE + full_jitter(failures, MIN_PAUSE, MAX_PAUSE))

    async def _restart(self) -> bool:
        """Sends the start of another incarnation; False where the server is away."""
        self._start = self._start or self.revive()
        sent = await self._sender.send([self._start], self.revive)
        if sent.away is not None:
            self._away(sent.away)
            return False
        if isinstance(sent.over, RunSuperseded):
            self.superseded(sent.over)
        self.over = sent.over or self.over
        self._lost, self._start = False, None
        return True

    def _settle(self, stored: int, refused: int = 0) -> None:
        self._outbox.settle(stored, refused)
        self._settled.set()

    async def drain(self) -> None:
        """Waits until everything is stored, for as long as the server answers and `drain` lasts; then spools the rest."""
        deadline = time.monotonic() + self._settings.drain
        while len(self._outbox) and (left := deadline - time.monotonic()) > 0:
            away = self._away_since is not None and time.monotonic() - self._away_since > self._settings.spool_after
            if away and self._settings.spool and self._outbox.spill():
                break
            self._settled.clear()
            try:
                async with asyncio.timeout(min(left, 0.2)):
                    await self._settled.wait()
            except TimeoutError:
                pass

    async def _deliver_left_behind(self) -> None:
        life = self._encoder.life
        for path in left_behind(self._folder, life.domain, life.run):
            file = SpoolFile.open(path)
            if file is None:
                continue  # of another process that lives
            if file.header.url != self._sender.url:
                file.close()
                continue
            log.warning(
                "earlier process of run %s left events in %s; they are delivered first",
                life.run,
                path,
            )
            try:
                await self._deliver_file(file)
            finally:
                file.close()

    async def _deliver_file(self, file: SpoolFile) -> None:
        # Of its own: what it learns of that life is not true of ours.
        sender = sender_to(self._sender.shared, file.header.life, self._settings.ttl, None)
        failures = 0
        try:
            while (told := await deliver(file, sender)).away is not None:
                self._away(told.away)
                failures += 1
                await asyncio.sleep(MIN_PAUSE + full_jitter(failures, MIN_PAUSE, MAX_PAUSE))
            self._back()
            file.remove()
        finally:
            await sender.release()

    @property
    def is_away(self) -> bool:
        """Whether nothing can be stored for now."""
        return self._away_since is not None or self._outbox.spooling

    def _away(self, why: str) -> None:
        if self._away_since is None:
            self._away_since = time.monotonic()
            self._on_away()
            log.warning(
                "events of run %s cannot be stored at %s now; they are kept and sent again: %s",
                self._encoder.life.run,
                self._sender.url,
                why,
            )

    def _back(self) -> float:
        """Notes that the server answers; returns for how many seconds it did not."""
        if self._away_since is None:
            return 0.0
        away, self._away_since = time.monotonic() - self._away_since, None
        log.warning("events of run %s are stored again, after %.1f s", self._encoder.life.run, away)
        return away

    def _spool(self) -> None:
        if self._settings.overflow.spools and self._outbox.spill() and (path := self._outbox.spool_path):
            self._on_away()
            log.warning(
                "events of run %s that are not stored yet wait on disk in %s",
                self._encoder.life.run,
                path,
            )


def make_spool(encoder: RunEncoder, url: str, folder: Path | None) -> SpoolFile:
    """Makes the file for the incarnation that lives now. Raises SpoolFailed."""
    return SpoolFile.create(folder or default_folder(), new_header(encoder.life, url))


def _count_stored(items: list[Queued], last: int) -> int:
    """How many of the first items are stored already: those up to a number, but for a completion, which the ledger knows."""
    return sum(1 for _ in itertools.takewhile(lambda item: item.number <= last and item.kind is not Kind.END, items))
