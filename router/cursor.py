"""Turns a position in EVENTS into a token that a client can keep: version, epoch, sequence, and a check of the event there.

`1-5f3a9c1e-00000000002a-9b1c04e2`: URL-safe, and sorting like the sequence inside one epoch. The epoch is made of the
stream's name and creation time, so a cursor of a stream that was deleted and made again is known as foreign. The check is
the CRC-32 of the stored event at that sequence: after an older backup was restored, epoch and creation time are the same,
and only the check tells that the sequence was given to another event. A cursor without a check is valid, and is believed.

Where EVENTS has several shards (`router.layout`), a cursor has a part for each, in their order:
`2-5f3a9c1e.2a.9b1c04e2~0badcafe.7.cbf43926~77e01a3c.0`, again epoch, sequence and check, in hexadecimal without padding.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import msgspec

from router.errors import BadCursor

# Six digits of a second, a sequence, and the check.
_MARKED = re.compile(r"(\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d\.\d{6})(\d{1,15})(\d{4})(?:[Zz]|[+ -]00:?00)\Z")
_FRACTION = re.compile(r"\.(\d+)")
_FORM = re.compile(r"1-([0-9a-f]{8})-([0-9a-f]{12})(?:-([0-9a-f]{8}))?\Z")
# 64 parts are the most that EVENTS has shards (`router.layout`).
_PART = re.compile(r"([0-9a-f]{8})\.(0|[1-9a-f][0-9a-f]{0,11})(?:\.(0|[1-9a-f][0-9a-f]{0,7}))?\Z")
_MAX_PARTS = 64
# An epoch that no stream has: places in it are answered by a gap.
FOREIGN = "00000000"
# The check of a place whose event is not known.
UNKNOWN = -1


class Cursor(msgspec.Struct, frozen=True, order=True, gc=False):
    """Everything up to and with `sequence` has been seen."""

    epoch: str
    sequence: int
    # CRC-32 of the stored payload at `sequence`, or UNKNOWN.
    check: int = UNKNOWN

    def __str__(self) -> str:
        return token(self.epoch, self.sequence, self.check)

    @property
    def parts(self) -> tuple[Cursor, ...]:
        """Itself: a place in one shard."""
        return (self,)

    @classmethod
    def parse(cls, token: str) -> Cursor:
        """Reads a token of one shard; raises BadCursor for anything this system did not issue."""
        if found := _FORM.match(token):
            return cls(found[1], int(found[2], 16), int(found[3], 16) if found[3] else UNKNOWN)
        raise BadCursor(f"{token[:60]!r}: {BadCursor.__doc__}")


class VectorCursor(msgspec.Struct, frozen=True, gc=False):
    """A place in each of several shards: everything up to and with these has been seen."""

    # In the order of the shards.
    parts: tuple[Cursor, ...]

    def __str__(self) -> str:
        return vector_token(part_token(part.epoch, part.sequence, part.check) for part in self.parts)


def parse_cursor(token: str) -> Cursor | VectorCursor:
    """Reads a token of either form; raises BadCursor for anything this system did not issue."""
    if not token.startswith("2-"):
        return Cursor.parse(token)
    texts = token[2:].split("~", _MAX_PARTS)
    found = [_PART.match(text) for text in texts]
    if len(found) > _MAX_PARTS or not all(found):
        raise BadCursor(f"{token[:60]!r}: {BadCursor.__doc__}")
    return VectorCursor(
        tuple(Cursor(part[1], int(part[2], 16), int(part[3], 16) if part[3] else UNKNOWN) for part in found if part)
    )


def part_token(epoch: str, sequence: int, check: int = UNKNOWN) -> str:
    """One part of a cursor of several shards; without a check where that is UNKNOWN."""
    return f"{epoch}.{sequence:x}" if check < 0 else f"{epoch}.{sequence:x}.{check:x}"


def vector_token(parts: Iterable[str]) -> str:
    """The cursor of several shards from its parts, in the order of the shards."""
    return "2-" + "~".join(parts)


def token(epoch: str, sequence: int, check: int = UNKNOWN) -> str:
    """The cursor as its clients have it; without a check where that is UNKNOWN."""
    return f"1-{epoch}-{sequence:012x}" if check < 0 else f"1-{epoch}-{sequence:012x}-{check:08x}"


def check_of(payload: bytes) -> int:
    """The check of a place, from the stored payload of the event there."""
    return zlib.crc32(payload)


def epoch_of(stream: str, created: str) -> str:
    """Names one life of a stream, from its name and its creation time as JetStream reports it."""
    return f"{zlib.crc32(f'{stream} {created}'.encode()):08x}"


class TimeMark(NamedTuple):
    """An event's time that is a place in the stream, too: behind its microseconds it has the event's sequence."""

    moment: str
    sequence: int
    check: int

    def is_of(self, epoch: str) -> bool:
        """Says whether it was given out in this life of the stream."""
        return self.check == _check(epoch, self.moment, self.sequence)


def marked(moment: str, epoch: str, sequence: int) -> str:
    """Adds an event's place to its time (RFC 3339 in UTC with six digits of a second, `…39.812350Z`).

    RFC 3339 lets a second have any number of digits. These are below a microsecond, the resolution that times are printed
    with, so the time stays true: the sequence, and four digits by which a time that is none of ours is told.
    """
    moment = moment.removesuffix("Z")
    return f"{moment}{sequence}{_check(epoch, moment, sequence):04d}Z"


def _check(epoch: str, moment: str, sequence: int) -> int:
    return zlib.crc32(f"{epoch} {moment} {sequence}".encode()) % 10_000


# Up to where a snapshot was shown: generation, shard and sequence of the last event.
Shown = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Start:
    """Where a reader wants to begin: exactly one of the first five, or `snapshot`, is set.

    A snapshot that was read in part has the cursor of the place that it is of, and up to where it was read.
    """

    cursor: Cursor | VectorCursor | None = None
    earliest: bool = False
    now: bool = False
    last: int | None = None
    since: datetime | None = None
    # The client came with a place that is not one of ours, and begins here instead; a gap tells it so.
    foreign: bool = False
    # Beside `since`: the place that was printed into that time, and how exact it is, in microseconds.
    mark: TimeMark | None = None
    exactness: int = 1
    # With the newest event of each subject of class `latest` first, and then all that comes after these were read.
    snapshot: bool = False
    shown: Shown = (0, 0, 0)


# What clients give as cursor for it.
SNAPSHOT = "snapshot"
_PARTLY = re.compile(r"snapshot-(?:([0-9a-f]{1,8})\.([0-9a-f]{1,2})\.)?([0-9a-f]{12})-(.+)\Z")


def rest_of_snapshot(cursor: str, shown: Shown) -> str:
    """The cursor of a client that has read a snapshot as of one cursor up to an event, and goes on in it."""
    generation, index, sequence = shown
    return f"{SNAPSHOT}-{f'{generation:x}.{index:x}.' if generation else ''}{sequence:012x}-{cursor}"


def parse_start(cursor: str | None = None, since: str | None = None, last: int | str | None = None) -> Start | None:
    """Reads the ways a client may say where to begin; None where it said nothing. Raises BadCursor."""
    given = [value for value in (cursor, since, last) if value not in (None, "")]
    if not given:
        return None
    if len(given) > 1:
        raise BadCursor("give one of cursor, since and last")
    if cursor:
        if cursor == "earliest":
            return Start(earliest=True)
        if cursor == "now":
            return Start(now=True)
        if cursor == SNAPSHOT:
            return Start(snapshot=True)
        if found := _PARTLY.match(cursor):
            shown = int(found[1] or "0", 16), int(found[2] or "0", 16), int(found[3], 16)
            return Start(cursor=parse_cursor(found[4]), snapshot=True, shown=shown)
        return Start(cursor=parse_cursor(cursor))
    if last not in (None, ""):
        try:
            count = int(str(last))
        except ValueError:
            count = -1
        if not 0 <= count <= 100_000:
            raise BadCursor("last must be a number from 0 to 100000")
        return Start(last=count)
    return _since(str(since))


def _since(text: str) -> Start:
    moment = parse_time(text)
    found = _MARKED.match(text.strip())
    mark = TimeMark(found[1], int(found[2]), int(found[3])) if found else None
    fraction = _FRACTION.search(text)
    digits = len(fraction[1]) if fraction else 0
    if not digits and re.fullmatch(r"\d{12,}", text.strip()):
        # Milliseconds, as JavaScript's Date.now() gives.
        digits = 3
    return Start(since=moment, mark=mark, exactness=10 ** max(0, 6 - digits))


def parse_time(text: str) -> datetime:
    """Reads RFC 3339 with or without a zone (none means UTC), or a Unix time in seconds or milliseconds."""
    from datetime import UTC

    # A `+` of a zone that was not percent-encoded in a query arrives as a blank.
    text = text.strip().replace(" ", "+") if re.search(r"T.* \d\d:?\d\d$", text) else text.strip()
    try:
        if re.fullmatch(r"\d+(\.\d+)?", text):
            seconds = float(text)
            # Past 1e11 a number of seconds would be the year 5138: such a number is milliseconds, as JavaScript's Date.now() gives.
            return datetime.fromtimestamp(seconds / 1000 if seconds > 1e11 else seconds, UTC)
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError, OSError):
        raise BadCursor(f"{text[:60]!r} is no time: give RFC 3339, or seconds since the epoch") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
