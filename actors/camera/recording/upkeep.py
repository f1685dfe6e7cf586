"""Does what a recorder has to do beside the pictures: ends on time, begins what shall always go on, keeps room in the store."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import Any, Protocol

from actors.camera.recording.session import RecordingRefused, RecordingSession
from actors.camera.recording.shelf import RecordingShelf
from actors.camera.report import CameraReport
from actors.system.context import Context
from router.errors import BrokerError
from router.recording_entry import Recording

log = logging.getLogger(__name__)

# How often it looks whether a recording's time is over, or whether no picture has come for a while.
CHECK_SECONDS = 0.25
# How long it waits for a picture behind the end of a recording's time, and before it stores what is gathered.
SILENT_SECONDS = 1.0
# A recording that shall always go on begins at most so often, also where it fails at once.
ALWAYS_SECONDS = 5.0
# Within 2 s sixteen cameras of 1 MB/s write less than the reserve of 2 GiB (see `RESERVE`).
ROOM_SECONDS = 2.0
PRUNE_SECONDS = 3600.0


class UpkeptRecorder(Protocol):
    """What the upkeep needs of a recorder."""

    @property
    def session(self) -> RecordingSession | None:
        """The recording that goes on."""

    @property
    def touched(self) -> float:
        """When the last picture came."""

    async def start(
        self, seconds: float | None, label: str | None, by: str | None, continuous: bool = False
    ) -> dict[str, Any]:
        """Begins to record. Raises RecordingRefused."""

    def finish(self, what: str) -> Recording | None:
        """Ends the session."""

    def tell_fault(self, fault: str | None) -> None:
        """Says why a recording that shall always go on does not; None where it does."""


class RecordingUpkeep:
    """The tasks beside the pictures of one recorder."""

    def __init__(
        self, ctx: Context, recorder: UpkeptRecorder, shelf: RecordingShelf, report: CameraReport, always: bool
    ) -> None:
        self._ctx = ctx
        self._recorder = recorder
        self._shelf = shelf
        self._report = report
        self._always = always

    async def run(self) -> None:
        """Works until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._look_after())
            group.create_task(self._keep_room())

    async def _look_after(self) -> None:
        tried = -ALWAYS_SECONDS
        while True:
            session, now = self._recorder.session, self._ctx.now()
            if session is None:
                if self._always and now - tried >= ALWAYS_SECONDS:
                    tried = now
                    await self._begin()
            elif session.until is not None and time.time() * 1000 >= session.until + SILENT_SECONDS * 1000:
                self._recorder.finish("stopped")
            elif session.file is not None and now - self._recorder.touched >= SILENT_SECONDS:
                session.file.flush()
            await self._ctx.sleep(CHECK_SECONDS)

    async def _begin(self) -> None:
        try:
            await self._recorder.start(None, "always", None, continuous=True)
        except RecordingRefused as refusal:
            self._recorder.tell_fault(str(refusal))
        else:
            self._recorder.tell_fault(None)

    async def _keep_room(self) -> None:
        """Deletes recordings that have come of age, and while something is recorded, those that may be overwritten."""
        pruned = -PRUNE_SECONDS
        while True:
            # NATS being away changes nothing: recordings wait for it, too.
            with contextlib.suppress(BrokerError):
                if self._ctx.now() - pruned >= PRUNE_SECONDS:
                    await self._shelf.prune()
                    pruned = self._ctx.now()
                if self._report.recording is not None or self._report.stills is not None:
                    await self._shelf.make_room()
            await self._ctx.sleep(ROOM_SECONDS)
