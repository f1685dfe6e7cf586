"""Keeps stills of a camera at an interval: JPEGs in full size, as one recording of the kind `stills`."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, Literal

from msgspec.structs import replace

from actors.camera.output import CameraOutput, EncodedPicture
from actors.camera.recording.session import RecordingSession, event_data, text_of
from actors.camera.recording.shelf import NoRoom, RecordingShelf
from actors.camera.report import CameraReport
from actors.system.context import Context
from router.errors import BrokerError, Refused
from router.event import new_id
from router.nats.refusals import has_no_room
from router.recording_entry import FAILED, FINISHED, STILLS, RecordedPiece, Recording
from router.rungs import JPEG
from router.subject import Subject
from router.timing import full_jitter

log = logging.getLogger(__name__)

# A camera that sleeps takes a moment to open; of one that gives no picture for so long, a still is missing.
PICTURE_SECONDS = 10.0
STORE_SECONDS = 10.0
MIN_EVERY, MAX_EVERY = 0.5, 86400.0


class StillsRefused(Exception):
    """stills cannot be kept; the text may be shown"""


def checked_every(value: float) -> float:
    """Takes an interval in seconds from outside. Raises ValueError."""
    if not MIN_EVERY <= value <= MAX_EVERY:
        raise ValueError(f"every must be from {MIN_EVERY:g} to {MAX_EVERY:g} seconds")
    return float(value)


class StillsKeeper:
    """The stills of one camera. Each is a piece of the recording, in its order from 1."""

    def __init__(self, report: CameraReport, output: CameraOutput) -> None:
        self._report = report
        self._output = output
        self._shelf: RecordingShelf | None = None
        self._entry: Recording | None = None
        self._size = 0
        self._changed = asyncio.Event()

    def begin(self, ctx: Context, shelf: RecordingShelf | None) -> None:
        """Begins a new incarnation."""
        self._ctx = ctx
        self._shelf = shelf
        if shelf is not None:
            ctx.source("stills", self._work, silence=None)

    async def start(self, every: float, seconds: float | None, label: str | None, by: str | None) -> dict[str, Any]:
        """Begins to keep stills, in place of those that are kept now. Raises StillsRefused."""
        if self._shelf is None:
            raise StillsRefused("this camera has no store of recordings")
        now = time.time() * 1000
        session = RecordingSession(
            self._ctx.instance, now, None if seconds is None else now + seconds * 1000, label, by
        )
        entry = session.entry(now)
        entry.kind, entry.every = STILLS, every
        try:
            await self._shelf.check_room()
            await self._shelf.recordings.save(entry, STORE_SECONDS / 2)
        except NoRoom as full:
            raise StillsRefused(str(full)) from None
        except Refused as refusal:
            raise StillsRefused(f"the store takes no stills: {refusal.description}") from None
        except BrokerError:
            raise StillsRefused("the store of recordings does not answer; nothing is kept") from None
        if self._entry is not None:
            await self._end(FINISHED, None, "stopped")
        self._begin(entry, 0)
        await self._publish("started", entry)
        return {"stills": self._described()}

    async def stop(self) -> dict[str, Any]:
        """Keeps no more stills; harmless where none are kept."""
        entry = self._entry
        if entry is None:
            return {"stills": None, "stopped": False}
        await self._end(FINISHED, None, "stopped")
        data = event_data("stopped", entry)
        return {"stills": {name: value for name, value in data.items() if name != "what"}, "stopped": True}

    def _begin(self, entry: Recording, size: int) -> None:
        self._entry, self._size = entry, size
        self._tell()
        self._changed.set()

    async def _work(self, beat: Callable[[], None]) -> None:
        """Takes up what an earlier process kept, then keeps a still whenever one is due, until cancelled."""
        if self._entry is None:
            await self._resume()
        while True:
            entry = self._entry
            self._changed.clear()
            now = time.time() * 1000
            if entry is None:
                await self._changed.wait()
            elif entry.until is not None and now >= entry.until:
                await self._end(FINISHED, None, "stopped")
            elif (wait := self._due(entry, now)) > 0:
                await self._until_changed(wait / 1000)
            else:
                await self._keep(entry)

    async def _until_changed(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return

    def _due(self, entry: Recording, now: float) -> float:
        """How long until the next still, in ms: on a grid from when they began, so that delays do not add up."""
        assert entry.every is not None
        every = entry.every * 1000
        last = entry.ended if entry.ended is not None else entry.began - every
        due = entry.began + every * (int((last - entry.began) // every) + 1)
        if entry.until is not None:
            due = min(due, entry.until)
        return due - now

    async def _keep(self, entry: Recording) -> None:
        """Takes one still and stores it. One that cannot be had is counted as lost."""
        picture = await self._picture()
        entry.ended = max(time.time() * 1000, entry.began)
        if picture is None:
            entry.lost += 1
            return
        assert self._shelf is not None
        # A picture that is not fresh is what the camera shows now: its source lives and has given nothing else since.
        at, size = float(picture.header["time"]) if picture.header["fresh"] else entry.ended, len(picture.body)
        entry.width, entry.height = picture.header["width"], picture.header["height"]
        entry.source, entry.simulated = picture.header.get("source"), bool(picture.header.get("simulated"))
        piece = RecordedPiece(n=entry.frames + 1, at=self._size, size=size, time=at, until=at, frames=entry.frames + 1)
        try:
            await self._shelf.recordings.add_still(entry, piece, picture.body, STORE_SECONDS)
        except Refused as refusal:
            await self._end(FAILED, "quota" if has_no_room(refusal) else refusal.description, "failed")
            return
        except BrokerError as fault:
            log.warning("still could not be stored", extra={"fault": str(fault)})
            entry.lost += 1
            return
        entry.frames += 1
        self._size += size

    async def _picture(self) -> EncodedPicture | None:
        """One picture in full size; the camera is woken for it where it sleeps. None where the source gives none."""
        taken: asyncio.Future[EncodedPicture] = asyncio.get_running_loop().create_future()

        def take(picture: EncodedPicture) -> None:
            if not taken.done():
                taken.set_result(picture)

        release = self._output.tap(JPEG, take)
        try:
            async with asyncio.timeout(PICTURE_SECONDS):
                return await taken
        except TimeoutError:
            return None
        finally:
            release()

    async def _end(self, status: Literal["finished", "failed"], reason: str | None, what: str) -> None:
        entry, self._entry = self._entry, None
        self._tell()
        if entry is None or self._shelf is None:
            return
        entry.status, entry.reason = status, reason
        entry.ended = entry.ended if entry.ended is not None else entry.began
        entry.pieces, entry.bytes = entry.frames, self._size
        try:
            await self._shelf.recordings.save(replace(entry), STORE_SECONDS)
        except BrokerError as fault:
            log.warning("end of stills could not be stored", extra={"fault": str(fault)})
        await self._publish(what, entry)
        self._changed.set()

    async def _resume(self) -> None:
        """Goes on with the stills that an earlier process kept, in the same recording."""
        assert self._shelf is not None
        failures = 0
        while True:
            try:
                for entry in await self._shelf.left_open():
                    if entry.kind == STILLS:
                        last = await self._shelf.recordings.last_piece(entry)
                        entry.frames, size = (last.n, last.at + last.size) if last is not None else (0, 0)
                        entry.ended = last.time if last is not None else None
                        self._begin(entry, size)
                return
            except BrokerError as fault:
                failures += 1
                log.debug("stills cannot be read yet; retrying", extra={"fault": str(fault)})
                await self._ctx.sleep(full_jitter(failures, 0.1, 2.0))

    def _described(self) -> dict[str, Any] | None:
        entry = self._entry
        if entry is None:
            return None
        return {
            "id": entry.id,
            "since": text_of(entry.began),
            "until": text_of(entry.until) if entry.until is not None else None,
            "every": entry.every,
            "label": entry.label,
            "by": entry.started_by,
        }

    def _tell(self) -> None:
        self._report.stills = self._described()
        self._report.note()

    async def _publish(self, what: str, entry: Recording) -> None:
        subject = Subject.of("camera", self._ctx.instance, "recording")
        try:
            await self._ctx.publish(subject, event_data(what, entry), id=new_id())
        except BrokerError as fault:
            log.warning("event of stills could not be published", extra={"fault": str(fault)})
