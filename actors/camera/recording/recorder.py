"""Records a camera for as long as a command says, over restarts of its process and of nats-server."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from actors.camera.output import CameraOutput, EncodedPicture
from actors.camera.recording.file import RecordingFile
from actors.camera.recording.session import EARLY_MS, RecordingRefused, RecordingSession, event_data
from actors.camera.recording.shelf import NoRoom, RecordingShelf
from actors.camera.recording.upkeep import RecordingUpkeep
from actors.camera.recording.writes import PendingWrite, WriteQueue
from actors.camera.report import CameraReport
from actors.camera.settings import CameraSettings
from actors.system.context import Context
from router.errors import BrokerError, Refused
from router.event import new_id
from router.nats.refusals import has_no_room
from router.recording_entry import FAILED, FINISHED, INTERRUPTED, Recording
from router.recordings import MISSING
from router.rungs import Rung
from router.subject import Subject
from router.timing import full_jitter

log = logging.getLogger(__name__)

H264 = Rung("h264")
STORE_SECONDS = 4.0


class CameraRecorder:
    """The recordings of one camera."""

    def __init__(self, report: CameraReport, output: CameraOutput, settings: CameraSettings) -> None:
        self._report = report
        self._output = output
        self._always = settings.record == "always"
        self._overwrites = settings.record_when_full == "overwrite"
        self._file_ms = settings.record_file_seconds * 1000
        self._early_ms = min(EARLY_MS, self._file_ms / 4)
        self._shelf: RecordingShelf | None = None
        self.session: RecordingSession | None = None
        self._starting = asyncio.Lock()
        self._release: Callable[[], None] | None = None
        self._queue = WriteQueue(self._refused)
        self._resumed = asyncio.Event()
        # Files of an earlier process that are not closed yet; None until they are known.
        self._left_open: list[Recording] | None = None
        self._missing = False
        self.touched = 0.0
        # How far apart the last two keys are, and when the last one was captured, in ms.
        self._key_interval = self._key_at = 0.0
        # Files that were ended, until that is stored.
        self._ending: dict[str, RecordingFile] = {}

    def begin(self, ctx: Context, shelf: RecordingShelf | None) -> None:
        """Begins a new incarnation; without a store nothing can be recorded."""
        self._ctx = ctx
        self._shelf = shelf
        if shelf is not None:
            shelf.on_deleted = partial(self._publish, "deleted")
            ctx.source("recording", self._work, silence=None)

    async def end(self) -> None:
        """Stores what is gathered. The file stays open: the next incarnation closes it and goes on."""
        if self.session is not None and self.session.file is not None:
            self.session.file.flush()
            await self._queue.drain(STORE_SECONDS)

    async def start(
        self, seconds: float | None, label: str | None, by: str | None, continuous: bool = False
    ) -> dict[str, Any]:
        """Begins to record, or lets a recording that goes on last longer. Raises RecordingRefused.

        One that somebody asks for takes the place of one that always goes on, whose files may be overwritten.
        """
        shelf = await self._ready()
        async with self._starting:
            now = time.time() * 1000
            until = None if seconds is None else now + seconds * 1000
            before = self.session
            if before is not None and (continuous or not before.continuous):
                if before.until is not None and not continuous:
                    self._extend(before, until)
                return {"recording": before.described(), "already": True}
            session = RecordingSession(
                self._ctx.instance, now, until, label, by, continuous, continuous and self._overwrites
            )
            entry = session.entry(now)
            await _claim(shelf, entry)
            if self.session is not None:
                self.finish("stopped")
            self._open(session, entry)
            self._publish("started", entry)
            return {"recording": session.described(), "already": False}

    def _extend(self, session: RecordingSession, until: float | None) -> None:
        assert session.until is not None
        session.until = None if until is None else max(session.until, until)
        if session.file is not None:
            session.file.entry.until = session.until
            session.file.save()
        self._tell()

    async def stop(self) -> dict[str, Any]:
        """Ends the recording that goes on; harmless where none does. Raises RecordingRefused."""
        await self._ready()
        session = self.session
        if session is None:
            return {"recording": None, "stopped": False}
        entry = self.finish("stopped")
        await self._queue.drained(STORE_SECONDS)
        data = event_data("stopped", entry) if entry is not None else {"session": session.id}
        return {"recording": {name: value for name, value in data.items() if name != "what"}, "stopped": True}

    async def _ready(self) -> RecordingShelf:
        if self._shelf is None:
            raise RecordingRefused("this camera has no store of recordings")
        try:
            async with asyncio.timeout(STORE_SECONDS):
                await self._resumed.wait()
        except TimeoutError:
            if self._missing:
                raise RecordingRefused(MISSING) from None
            raise RecordingRefused("the store of recordings does not answer; nothing was changed") from None
        return self._shelf

    # Pictures

    def _take(self, picture: EncodedPicture) -> None:
        """Takes a picture of the H.264 rung, in the event loop."""
        session, header = self.session, picture.header
        if session is None or session.file is None:
            return
        self.touched = self._ctx.now()
        at = float(header["time"])
        if session.until is not None and at >= session.until:
            self.finish("stopped")
            return
        file = session.file
        if header.get("key"):
            self._key_interval, self._key_at = at - (self._key_at or at), at
        if file.has_pictures:
            old = at - file.entry.began
            # A source that gives its own H.264 may have keys that are further apart, and takes no wish for one.
            early = max(self._early_ms, min(self._key_interval, self._file_ms / 2))
            ends = old >= self._file_ms - early or file.size >= self._largest(session)
            if header.get("key") and (ends or old < 0 or not file.fits(header, picture.body)):
                file = self._next_file(session, at)
            elif ends:
                self._output.ask_key(H264)
                if old >= self._file_ms:
                    file = self._next_file(session, at)
        if file.needs_key and not header.get("key"):
            self._output.ask_key(H264)
        file.add(header, picture.body)

    def _largest(self, session: RecordingSession) -> float:
        """How large a file may become: where files are overwritten, there must be several to have one to delete."""
        assert self._shelf is not None
        return self._shelf.share if session.overwritable else math.inf

    def _next_file(self, session: RecordingSession, at: float) -> RecordingFile:
        """Begins a new file, then ends the one before, so that a process that dies in between leaves one open."""
        assert self._shelf is not None and session.file is not None
        before = session.file
        entry = session.entry(at)
        session.file = RecordingFile(entry, self._shelf.recordings, self._queue)
        session.file.save()
        before.flush(at)
        self._close(before, "file_finished")
        self._tell()
        return session.file

    # Sessions

    def _open(self, session: RecordingSession, entry: Recording) -> None:
        assert self._shelf is not None
        session.file = RecordingFile(entry, self._shelf.recordings, self._queue)
        self.session = session
        self._key_interval = self._key_at = 0.0
        self._release = self._output.tap(H264, self._take)
        self.touched = self._ctx.now()
        self._tell()

    def finish(self, what: str, failed: str | None = None) -> Recording | None:
        """Ends the session; returns the entry of its last file."""
        session, self.session = self.session, None
        if self._release is not None:
            self._release()
            self._release = None
        self._tell()
        if session is None or session.file is None:
            return None
        now = time.time() * 1000
        end = now if session.until is None else min(now, session.until)
        # A camera that stands still sends no picture, and its last one is what was to be seen.
        standing = self._report.status == "streaming" and session.file.has_pictures
        session.file.flush(end if standing else None)
        self._close(session.file, what, failed, end if standing else None)
        return session.file.entry

    def _close(self, file: RecordingFile, what: str, failed: str | None = None, ended: float | None = None) -> None:
        if failed is None and not file.has_pictures:
            what, failed = "failed", "no picture came"
        if failed is not None:
            file.close(FAILED, failed, ended)
        else:
            file.close(FINISHED, None, ended)
        self._ending[file.entry.id] = file
        self._queue.add(PendingWrite(partial(self._write_end, file), owner=file.entry.id))
        self._publish(what, file.entry)

    async def _write_end(self, file: RecordingFile) -> None:
        await file.write_end()
        self._ending.pop(file.entry.id, None)

    async def _refused(self, write: PendingWrite, refusal: Refused) -> None:
        """Ends a file of which NATS does not take a piece, its head, or its entry."""
        if not write.owner:
            log.warning("event of a recording was refused", extra={"fault": str(refusal)})
            return
        log.warning("the store refuses a recording, which ends", extra={"fault": refusal.description})
        reason = "quota" if has_no_room(refusal) else refusal.description
        self._queue.discard(write.owner)
        session = self.session
        if session is not None and session.file is not None and session.file.entry.id == write.owner:
            file = session.file
            self.session = None
            if self._release is not None:
                self._release()
                self._release = None
            self._tell()
            file.flush()
            self._queue.discard(write.owner)
        elif (ending := self._ending.pop(write.owner, None)) is not None:
            file = ending
        else:
            return
        if write.n:
            file.trim(write.n)
        file.close(FAILED, reason)
        await self._store_end(file)
        self._publish("failed", file.entry)

    async def _store_end(self, file: RecordingFile) -> None:
        """Stores the end of a file in a full stream, for which its last piece gives way where need be."""
        assert self._shelf is not None
        while True:
            try:
                await file.write_end()
                return
            except Refused as refusal:
                if not has_no_room(refusal) or not file.entry.pieces:
                    log.warning("end of a recording cannot be stored", extra={"fault": refusal.description})
                    return
                left = await self._shelf.finish_in_full(file.entry, file.entry.pieces)
                file.trim(left + 1)
                file.close(FAILED, file.entry.reason)

    # Beside the pictures

    async def _work(self, beat: Callable[[], None]) -> None:
        """Resumes what an earlier process began, then stores, and looks after the session, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._queue.run())
            group.create_task(self._go_on())

    async def _go_on(self) -> None:
        assert self._shelf is not None
        upkeep = RecordingUpkeep(self._ctx, self, self._shelf, self._report, self._always)
        failures = 0
        while not self._resumed.is_set():
            try:
                self._missing = await self._shelf.recordings.is_missing()
                if self._missing and self._always:
                    self.tell_fault(MISSING)
                elif not self._missing:
                    await self._resume()
                    self._resumed.set()
                    break
            except BrokerError as fault:
                log.debug("recordings cannot be read yet; retrying", extra={"fault": str(fault)})
            failures += 1
            await self._ctx.sleep(full_jitter(failures, 0.1, 2.0))
        await upkeep.run()

    async def _resume(self) -> None:
        """Goes on with what an earlier process recorded where its time is not over, and closes the files that it left open.

        Those are read for their index, which takes long, so the pictures that come meanwhile are recorded before it.
        """
        assert self._shelf is not None
        await self._shelf.make_room()
        if self._left_open is None:
            self._left_open = await self._shelf.left_open()
            self._resume_session([entry for entry in self._left_open if entry.kind == "video"])
        for entry in tuple(self._left_open):
            if entry.kind == "video" and await self._shelf.close_interrupted(entry):
                self._publish(INTERRUPTED, entry)
            self._left_open.remove(entry)

    def _resume_session(self, left_open: list[Recording]) -> None:
        # One that goes on because of a setting ends with it.
        going_on = [
            entry
            for entry in left_open
            if (entry.until is None or entry.until > time.time() * 1000) and (self._always or not entry.continuous)
        ]
        if not going_on or self.session is not None:
            return
        session = RecordingSession.resumed(going_on[-1])
        session.overwritable = session.continuous and self._overwrites
        entry = session.entry(time.time() * 1000)
        self._open(session, entry)
        assert session.file is not None
        session.file.save()
        self._publish("started", entry)

    def _tell(self) -> None:
        """Says in the camera's state what is being recorded."""
        self._report.recording = self.session.described() if self.session is not None else None
        self._report.note()

    def tell_fault(self, fault: str | None) -> None:
        """Says in state and event, once, why a recording that shall always go on does not; None where it does."""
        told, self._report.recording_fault = self._report.recording_fault, fault
        if (fault is None) is (told is None):
            return
        self._report.note()
        if fault is not None:
            log.warning("recording cannot begin; retrying", extra={"reason": fault})
            data = {"what": "refused", "continuous": True, "reason": fault}
            self._queue.add(PendingWrite(partial(self._event, self._ctx.instance, data, new_id())))

    def _publish(self, what: str, entry: Recording) -> None:
        """Publishes an event behind what is stored before it. Its camera may be another one, whose recording was overwritten."""
        self._queue.add(PendingWrite(partial(self._event, entry.camera, event_data(what, entry), new_id())))

    async def _event(self, camera: str, data: dict[str, Any], id: str) -> None:
        await self._ctx.publish(Subject.of("camera", camera, "recording"), data, id=id)


async def _claim(shelf: RecordingShelf, entry: Recording) -> None:
    """Stores the entry of a new recording where there is room. Raises RecordingRefused."""
    try:
        await shelf.check_room()
        await shelf.recordings.save(entry, STORE_SECONDS)
    except NoRoom as full:
        raise RecordingRefused(str(full)) from None
    except Refused as refusal:
        raise RecordingRefused(f"the store takes no recording: {refusal.description}") from None
    except BrokerError:
        raise RecordingRefused("the store of recordings does not answer; nothing is recorded") from None
