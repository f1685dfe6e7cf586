"""The recordings of one camera in the store: room for new ones, files that were left open, files that have come of age."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable

from actors.camera.recording.fragments import FragmentMark, file_index
from router.errors import BrokerError, Refused
from router.nats.refusals import has_no_room
from router.recording_entry import INTERRUPTED, VIDEO, RecordedPiece, Recording
from router.recordings import MISSING, Recordings

log = logging.getLogger(__name__)

# A fiftieth of the limit stays free of new recordings, so that those that go on can end in good order; at least a megabyte,
# which a second of video may take, but never more than a quarter of the limit.
RESERVE = 50
RESERVE_BYTES = 1 << 20
# Of the limit, the most that one file has of those that are overwritten; a store holds some more of them than that says.
FILE_SHARE = 16


class NoRoom(Exception):
    """there is no room for recordings"""


class RecordingShelf:
    """What a recorder asks of the store. Methods raise BrokerError."""

    def __init__(self, recordings: Recordings, camera: str, max_age: float) -> None:
        """`max_age` in seconds; 0 keeps recordings until they are deleted."""
        self.recordings = recordings
        self._camera = camera
        self._max_age = max_age
        self.on_deleted: Callable[[Recording], None] | None = None
        self.share = math.inf

    async def check_room(self) -> None:
        """Makes room where recordings may be overwritten. Raises NoRoom, with the figures, before the store is full."""
        if await self.recordings.is_missing():
            raise NoRoom(MISSING)
        await self.make_room()
        usage = await self.recordings.usage()
        if usage.limit is None or usage.free is None:
            return
        if usage.free < _reserve(usage.limit):
            raise NoRoom(
                f"recordings hold {_mib(usage.used)} of {_mib(usage.limit)}, {_mib(usage.free)} are free: "
                "delete some, or raise CALLBOARD_RECORDINGS_MAX_BYTES"
            )

    async def make_room(self) -> None:
        """Deletes the oldest recordings, of whichever camera, that may be overwritten, until two reserves are free."""
        usage = await self.recordings.usage()
        if usage.limit is None or usage.free is None:
            return
        self.share = usage.limit / FILE_SHARE
        lacks = 2 * _reserve(usage.limit) - usage.free
        if lacks <= 0:
            return
        for entry in await self.recordings.listing():
            if entry.overwritable and not entry.is_open:
                await self._delete(entry, "overwritten")
                lacks -= entry.bytes
                if lacks <= 0:
                    return

    async def left_open(self) -> list[Recording]:
        """The files that an earlier process of this camera did not close."""
        return [entry for entry in await self.recordings.listing(self._camera) if entry.is_open]

    async def close_interrupted(self, entry: Recording) -> bool:
        """Closes such a file with what is stored of it; one without a picture is deleted, and False returned."""
        while (last := await self.recordings.last_piece(entry)) is not None:
            try:
                await self._close(entry, last)
                return True
            except Refused as refusal:
                if not has_no_room(refusal):
                    raise
                # Its end gives way, so that the rest can be closed.
                await self.recordings.drop_piece(entry, last.n)
        await self.recordings.delete(entry)
        return False

    async def _close(self, entry: Recording, last: RecordedPiece) -> None:
        entry.status, entry.reason = INTERRUPTED, "the camera's process ended"
        entry.ended, entry.frames, entry.pieces = last.until, last.frames, last.n
        entry.bytes = last.at + last.size
        if entry.kind == VIDEO:
            await self._put_index(entry, last.n)
        await self.recordings.save(entry)

    async def _put_index(self, entry: Recording, pieces: int) -> None:
        content = await self.recordings.content(entry)
        if content is None or entry.ended is None:
            return
        sizes: list[int] = []
        marks: list[FragmentMark] = []
        gathered = 0
        async for piece, body, _ in self.recordings.pieces(entry):
            if piece.n > pieces:
                break
            sizes.append(piece.size)
            gathered += piece.size
            if piece.end:
                # A fragment of one piece tells whether its first sample is a key; of several, the index leaves it open.
                marks.append(FragmentMark(gathered, piece.time, gathered == piece.size and _begins_with_key(body)))
                gathered = 0
        head = content.head + file_index(entry.began, marks, entry.ended)
        await self.recordings.put_head(entry, head, sizes)
        entry.bytes += len(head)

    async def prune(self) -> None:
        """Deletes the recordings of this camera that have come of age."""
        if not self._max_age:
            return
        oldest = (time.time() - self._max_age) * 1000
        for entry in await self.recordings.listing(self._camera):
            if not entry.is_open and (entry.ended or entry.began) < oldest:
                await self._delete(entry, "age")

    async def _delete(self, entry: Recording, reason: str) -> None:
        """Deletes a recording and tells it; another camera may have done so in between."""
        if await self.recordings.delete(entry) and self.on_deleted is not None:
            entry.reason = reason
            self.on_deleted(entry)

    async def finish_in_full(self, entry: Recording, pieces: int) -> int:
        """Deletes the last pieces of a file, one more, so that its end can be stored; returns how many are left."""
        try:
            await self.recordings.drop_piece(entry, pieces)
        except BrokerError as fault:
            log.warning("piece of a recording cannot be deleted", extra={"fault": str(fault)})
        return pieces - 1


def _begins_with_key(body: bytes) -> bool:
    """Whether the first sample of a fragment that `router.mp4` made is one."""
    # Behind moof 8, mfhd 16, traf 8, tfhd 16, tfdt 20 and the head of trun 20: duration, size, flags.
    return body[96:100] == b"\x02\x00\x00\x00"


def _reserve(limit: int) -> float:
    return max(limit / RESERVE, min(RESERVE_BYTES, limit / 4))


def _mib(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"
