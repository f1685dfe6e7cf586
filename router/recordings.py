"""Keeps recordings of cameras in the stream RECORDINGS: stores pieces, lists files, and reads any range of their bytes.

The stream refuses what does not fit (discard new), so nothing that was recorded is lost without a word, and no other
stream has less room for it. Every edge reads the same bytes; `router.recording_entry` has what is stored.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import AsyncIterator
from itertools import accumulate
from typing import NamedTuple, TypeVar

import msgspec
from msgspec.structs import replace

from router.broker import Broker
from router.codec import DECODE_FAULTS
from router.errors import Refused
from router.nats.error_codes import ErrorCode
from router.nats.headers import Reply, header
from router.recording_entry import PIECE, VIDEO, FileHead, RecordedPiece, Recording
from router.shard_store import MULTI_LAST_SUBJECTS, PAGE_BYTES
from router.stored import decoder
from router.subject import escape
from router.topology import RECORDINGS

# What is told where the stream is missing.
MISSING = (
    "this server keeps no recordings: lower CALLBOARD_RECORDINGS_MAX_BYTES or give JetStream more storage, "
    "then restart, or run `callboard streams apply`"
)
# 16 kB of a message are left for its headers; sizes of the pieces of ten minutes take a third of that.
ROOM = 16_384
# A page of a download asks for at most so many pieces.
PAGE_PIECES = 64

T = TypeVar("T")

_entry = decoder(Recording, RECORDINGS)
_piece = msgspec.json.Decoder(RecordedPiece)
_head = msgspec.json.Decoder(FileHead)


class StoredPiece(NamedTuple):
    """A piece with its bytes; `sequence` is its place in the stream."""

    piece: RecordedPiece
    body: bytes
    sequence: int


class Content(NamedTuple):
    """The bytes of a file as they are now: the head, and how many bytes and pieces lie behind it."""

    recording: Recording
    head: bytes
    size: int
    pieces: int
    # The first byte of each piece behind the head, with the end of the last; empty where the file is not closed.
    places: tuple[int, ...]

    @property
    def etag(self) -> str:
        """Changes whenever bytes come to the file, and when it is closed; the same at every edge."""
        return f"{self.recording.id}-{len(self.head)}-{self.size}"


class Usage(NamedTuple):
    """How full the stream is, in bytes; `limit` is None where it has none."""

    used: int
    limit: int | None

    @property
    def free(self) -> int | None:
        return None if self.limit is None else max(0, self.limit - self.used)


class Recordings:
    """The stream RECORDINGS. All methods raise BrokerError; what stores raises Refused where there is no room."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._stream = broker.stream(RECORDINGS)

    @property
    def largest_piece(self) -> int:
        """The most bytes that one piece may have."""
        return max(1024, self._broker.connection.max_payload - ROOM)

    # Written by the recorder

    async def save(self, recording: Recording, timeout: float = 10.0) -> None:
        """Stores the entry of a recording in place of the one before."""
        await self._broker.store(recording.subject, msgspec.json.encode(recording), {}, timeout)

    async def add(self, recording: Recording, piece: RecordedPiece, body: bytes, timeout: float = 10.0) -> None:
        """Stores a piece; harmless where it is stored already."""
        headers = {PIECE: msgspec.json.encode(piece).decode()}
        await self._broker.store(f"{recording.subject}.{piece.n}", body, headers, timeout)

    async def add_still(self, recording: Recording, piece: RecordedPiece, body: bytes, timeout: float = 10.0) -> None:
        """Stores a still; of one that is larger than a message the first parts, before the piece itself has the rest."""
        most = self.largest_piece
        parts = [body[at : at + most] for at in range(0, len(body), most)] or [b""]
        piece = replace(piece, parts=len(parts))
        headers = {PIECE: msgspec.json.encode(piece).decode()}
        place = f"{recording.subject}.{piece.n}"
        try:
            for number, part in enumerate(parts[:-1], 1):
                await self._broker.store(f"{place}.{number}", part, headers, timeout)
            await self.add(recording, piece, parts[-1], timeout)
        except Refused:
            if len(parts) > 1:
                await self._stream.purge(f"{place}.*")
            raise

    async def put_head(self, recording: Recording, body: bytes, sizes: list[int], timeout: float = 10.0) -> None:
        """Stores the head of a file; with the sizes of its pieces once it is closed."""
        headers = {PIECE: msgspec.json.encode(FileHead(size=len(body), sizes=sizes)).decode()}
        await self._broker.store(f"{recording.subject}.0", body, headers, timeout)

    async def delete(self, recording: Recording) -> int:
        """Deletes a recording, its entry last; returns how many messages that were."""
        pieces = await self._stream.purge(f"{recording.subject}.>")
        return pieces + await self._stream.purge(recording.subject)

    async def drop_piece(self, recording: Recording, n: int) -> None:
        """Deletes one piece, so that there is room for the end of the file."""
        await self._stream.purge(f"{recording.subject}.{n}")

    # Read by everybody

    async def is_missing(self) -> bool:
        """Whether NATS has no such stream, for which it may have no storage (see `topology.OPTIONAL`)."""
        try:
            await self._stream.info()
        except Refused as refusal:
            if refusal.err_code != ErrorCode.STREAM_NOT_FOUND:
                raise
            return True
        return False

    async def usage(self) -> Usage:
        """Reads how full the stream is."""
        info = await self._stream.info()
        limit = int(info["config"].get("max_bytes", -1))
        return Usage(int(info["state"]["bytes"]), limit if limit > 0 else None)

    async def find(self, id: str) -> Recording | None:
        """The recording of an id, whichever camera it is of; None where there is none."""
        reply = await self._stream.read_one({"last_by_subj": f"rec.*.{id}"})
        return _entry(id, reply.payload) if reply is not None else None

    async def listing(self, camera: str | None = None) -> list[Recording]:
        """All recordings, or those of one camera, in the order in which they began."""
        pattern = f"rec.{'*' if camera is None else escape(camera)}.*"
        try:
            found = await self._last_of([pattern])
        except Refused as refusal:
            if refusal.code != 413:
                raise
            subjects = sorted((await self._stream.subjects(pattern)).subjects)
            found = []
            for place in range(0, len(subjects), MULTI_LAST_SUBJECTS):
                found += await self._last_of(subjects[place : place + MULTI_LAST_SUBJECTS])
        entries = {entry.id: entry for reply in found if (entry := _entry(pattern, reply.payload)) is not None}
        return sorted(entries.values(), key=lambda entry: (entry.began, entry.id))

    async def last_piece(self, recording: Recording) -> RecordedPiece | None:
        """The last piece with which a fragment ends; None where there is none.

        The head of a file that is being closed is written anew behind the pieces, and says how many there are.
        """
        reply = await self._stream.read_one({"last_by_subj": f"{recording.subject}.*"})
        head = _decoded(_head, reply) if reply is not None else None
        n = 0 if head is None else head.n or len(head.sizes)
        while n > 0:
            stored = await self._piece_at(recording, n)
            if stored is not None and stored.piece.end:
                return stored.piece
            n -= 1
        return None

    async def content(self, recording: Recording) -> Content | None:
        """What there is to read of a file; None where it has no head (yet)."""
        reply = await self._stream.read_last(f"{recording.subject}.0")
        if reply is None or recording.kind != VIDEO:
            return None
        head = _decoded(_head, reply)
        if head is not None and head.sizes:
            places = (0, *accumulate(head.sizes))
            return Content(recording, reply.payload, len(reply.payload) + places[-1], len(head.sizes), places)
        last = await self.last_piece(recording)
        end, pieces = (last.at + last.size, last.n) if last is not None else (0, 0)
        return Content(recording, reply.payload, len(reply.payload) + end, pieces, ())

    async def read(self, content: Content, start: int, stop: int) -> AsyncIterator[bytes]:
        """Yields the bytes of a file from one up to another. Ends early where the recording is deleted meanwhile."""
        size = len(content.head)
        if start < size:
            yield content.head[start : min(stop, size)]
        at, end = max(start - size, 0), min(stop, content.size) - size
        if at >= end:
            return
        async for stored in self._pieces_from(content, at):
            piece = stored.piece
            if piece.at > at:
                # What comes between was deleted.
                return
            yield stored.body[at - piece.at : end - piece.at]
            at = piece.at + piece.size
            if at >= end:
                return

    async def pieces(self, recording: Recording, after: int = 0) -> AsyncIterator[StoredPiece]:
        """Yields the pieces that come after a number, in order."""
        first = await self._piece_at(recording, after + 1)
        if first is None:
            return
        yield first
        async for stored in self._pieces_behind(recording, first):
            yield stored

    async def still(self, recording: Recording, n: int) -> StoredPiece | None:
        """One of the stills of a recording, counted from 1; None where there is none of that number."""
        found = await self._piece_at(recording, n)
        if found is None or found.piece.parts == 1:
            return found
        bodies: list[bytes] = []
        for number in range(1, found.piece.parts):
            part = await self._piece_at(recording, n, f".{number}")
            if part is None or part.piece != found.piece:
                # It is being deleted, or its place taken by another one.
                return None
            bodies.append(part.body)
        return found._replace(body=b"".join((*bodies, found.body)))

    async def _pieces_from(self, content: Content, at: int) -> AsyncIterator[StoredPiece]:
        """The pieces from the one that has a byte on."""
        low, high = 1, content.pieces
        if content.places:
            low = high = bisect_right(content.places, at)
        found: StoredPiece | None = None
        while low <= high:
            middle = (low + high) // 2
            found = await self._piece_at(content.recording, middle)
            if found is None:
                return
            if found.piece.at > at:
                high = middle - 1
            elif found.piece.at + found.piece.size <= at:
                low = middle + 1
            else:
                break
        else:
            return
        assert found is not None
        yield found
        async for stored in self._pieces_behind(content.recording, found):
            yield stored

    async def _pieces_behind(self, recording: Recording, last: StoredPiece) -> AsyncIterator[StoredPiece]:
        """The pieces behind one, page by page, in the order in which they were stored."""
        request = {"next_by_subj": f"{recording.subject}.*", "batch": PAGE_PIECES, "max_bytes": PAGE_BYTES}
        while True:
            page = await self._stream.read_run({**request, "seq": last.sequence + 1}, _stored)
            found = [stored for stored in page.messages if stored is not None and stored.piece.n > last.piece.n]
            for stored in found:
                yield stored
                last = stored
            if not found or not page.left:
                return

    async def _piece_at(self, recording: Recording, n: int, part: str = "") -> StoredPiece | None:
        reply = await self._stream.read_last(f"{recording.subject}.{n}{part}")
        return _stored(reply) if reply is not None else None

    async def _last_of(self, patterns: list[str]) -> list[Reply]:
        request: dict[str, object] = {"multi_last": patterns, "max_bytes": PAGE_BYTES}
        found: list[Reply] = []
        while True:
            run = await self._stream.read_run(request, lambda reply: reply)
            found += run.messages
            if not run.left or not run.messages:
                return found
            request["seq"] = int(header(run.messages[-1].headers, b"Nats-Sequence") or 0) + 1


def _stored(reply: Reply) -> StoredPiece | None:
    piece = _decoded(_piece, reply)
    sequence = int(header(reply.headers, b"Nats-Sequence") or 0)
    return None if piece is None else StoredPiece(piece, reply.payload, sequence)


def _decoded(decode: msgspec.json.Decoder[T], reply: Reply) -> T | None:
    """The header of a piece; None where it is none."""
    try:
        return decode.decode((header(reply.headers, PIECE.encode()) or "").encode())
    except DECODE_FAULTS:
        return None
