"""Writes one file of a recording: head, fragments, and in the end its index, each as a write for the queue."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Literal, NamedTuple

from msgspec.structs import replace

from actors.camera.recording.fragments import TIMESCALE, FragmentMark, FragmentWriter, MadeFragment, file_index
from actors.camera.recording.writes import PendingWrite, WriteQueue
from router.mp4 import BadAccessUnit, access_unit, init_segment
from router.recording_entry import RecordedPiece, Recording
from router.recordings import Recordings


class _Stored(NamedTuple):
    """A fragment that was given to the queue, up to its last piece `n`."""

    n: int
    mark: FragmentMark
    until: float
    frames: int


class RecordingFile:
    """One file while it is being recorded. `entry` is what is stored of it."""

    def __init__(self, entry: Recording, recordings: Recordings, queue: WriteQueue) -> None:
        self.entry = entry
        self._recordings = recordings
        self._queue = queue
        self._writer: FragmentWriter | None = None
        self._head = b""
        self._size: tuple[int, int] | None = None
        self._parameters: tuple[tuple[bytes, ...], tuple[bytes, ...]] | None = None
        self._sizes: list[int] = []
        self._bytes = 0
        self._fragments: list[_Stored] = []
        # Pictures are left out until the next key: of the file's first picture, and wherever one is missing.
        self._broken = True
        self._packet: int | None = None

    @property
    def has_pictures(self) -> bool:
        """Whether anything was recorded."""
        return bool(self._head)

    @property
    def size(self) -> int:
        """How many bytes its fragments have."""
        return self._bytes

    @property
    def needs_key(self) -> bool:
        """Whether it waits for a picture that can be decoded by itself."""
        return self._broken

    def fits(self, header: Mapping[str, Any], body: bytes) -> bool:
        """Whether a key goes on in this file; a picture of another size or with other parameter sets needs a new one."""
        if self._size is None or not header.get("key"):
            return True
        try:
            unit = access_unit(body)
        except BadAccessUnit:
            return True
        return self._size == (header["width"], header["height"]) and (unit.sps, unit.pps) == self._parameters

    def add(self, header: Mapping[str, Any], body: bytes) -> None:
        """Takes the next picture of H.264."""
        key, packet = bool(header.get("key")), header.get("packet")
        if self._packet is not None and packet is not None and packet != self._packet + 1:
            self._broken = True
        self._packet = packet
        if self._broken and not key:
            if self.has_pictures:
                self.entry.lost += 1
            return
        try:
            unit = access_unit(body)
        except BadAccessUnit:
            self._broken = True
            return
        if not self.has_pictures:
            self._begin(header, unit.sps, unit.pps)
        self._broken = False
        assert self._writer is not None
        made = self._writer.add(float(header["time"]), key, unit.sample)
        if made is not None and not self._keep(made) and not key:
            # This picture cannot be decoded without those.
            self._broken = True
            self.entry.lost += self._writer.drop()

    def flush(self, until: float | None = None) -> None:
        """Gives what is gathered to the queue: no picture has come for a while, or the file ends."""
        if self._writer is not None and (made := self._writer.flush(until)) is not None and not self._keep(made):
            self._broken = True

    def save(self) -> None:
        """Stores the entry as it is."""
        self._queue.add(PendingWrite(partial(self._recordings.save, replace(self.entry)), owner=self.entry.id))

    def trim(self, n: int) -> None:
        """Forgets the fragments that end with a piece from `n` on, because they could not be stored."""
        kept = [each for each in self._fragments if each.n < n]
        self.entry.lost += sum(each.frames for each in self._fragments[len(kept) :])
        self._fragments = kept
        del self._sizes[kept[-1].n if kept else 0 :]
        self._bytes = sum(self._sizes)

    def close(
        self, status: Literal["finished", "interrupted", "failed"], reason: str | None, ended: float | None = None
    ) -> None:
        """Notes in the entry how it ended; `write_end` stores that."""
        last = self._fragments[-1].until if self._fragments else self.entry.began
        self.entry.status, self.entry.reason = status, reason
        self.entry.ended = last if ended is None else max(last, ended)
        self.entry.frames = sum(each.frames for each in self._fragments)
        self.entry.pieces = len(self._sizes)
        self.entry.bytes = len(self.indexed_head()) + sum(self._sizes)

    def indexed_head(self) -> bytes:
        """The head of the file with the index of its fragments."""
        if not self._fragments or self.entry.ended is None:
            return self._head
        marks = [each.mark for each in self._fragments]
        return self._head + file_index(self.entry.began, marks, self.entry.ended)

    async def write_end(self) -> None:
        """Stores the index and the entry of a file that was closed. Raises BrokerError."""
        if self.has_pictures:
            await self._recordings.put_head(self.entry, self.indexed_head(), list(self._sizes))
        await self._recordings.save(self.entry)

    def _begin(self, header: Mapping[str, Any], sps: tuple[bytes, ...], pps: tuple[bytes, ...]) -> None:
        self._size = int(header["width"]), int(header["height"])
        self._parameters = sps, pps
        self._head = init_segment(sps, pps, *self._size, TIMESCALE)
        self._writer = FragmentWriter(float(header["time"]))
        self.entry.began = float(header["time"])
        self.entry.width, self.entry.height = self._size
        self.entry.codec = header.get("codec")
        self.entry.life = header.get("life")
        self.entry.source, self.entry.simulated = header.get("source"), bool(header.get("simulated"))
        self.save()
        head = partial(self._recordings.put_head, replace(self.entry), self._head, [])
        self._queue.add(PendingWrite(head, len(self._head), self.entry.id))

    def _keep(self, made: MadeFragment) -> bool:
        """Gives a fragment to the queue, in pieces that fit into messages; False where too much waits, and it is lost."""
        if not self._queue.has_room(len(made.body)):
            self.entry.lost += made.frames
            return False
        most = self._recordings.largest_piece
        frames = made.frames + sum(each.frames for each in self._fragments)
        for start in range(0, len(made.body), most):
            part = made.body[start : start + most]
            piece = RecordedPiece(
                n=len(self._sizes) + 1,
                at=self._bytes,
                size=len(part),
                time=made.time,
                until=made.until,
                frames=frames,
                end=start + most >= len(made.body),
            )
            self._sizes.append(len(part))
            self._bytes += len(part)
            run = partial(self._recordings.add, self.entry, piece, part)
            self._queue.add(PendingWrite(run, len(part), self.entry.id, piece.n))
        mark = FragmentMark(len(made.body), made.time, made.key)
        self._fragments.append(_Stored(len(self._sizes), mark, made.until, made.frames))
        return True
