"""Turns a position in EVENTS into a token that a client can keep: version, epoch, sequence, and a check of the event there.

`1-5f3a9c1e-00000000002a-9b1c04e2`: URL-safe, and sorting like the sequence inside one epoch. The epoch is made of the
stream's name and creation time, so a cursor of a stream that was deleted and made again is known as foreign. The check is
the CRC-32 of the stored event at that sequence: after an older backup was restored, epoch and creation time are the same,
and only the check tells that the sequence was given to another event. A cursor without a check is valid, and is believed.

Where EVENTS has several shards (`router.layout`), a cursor has a block for each, in their order, and the check of one of them:
`2-1.-2k7f-gXq~O-.01Q6-IX`. That is the generation, the index of the first shard, the number of digits of a sequence (as many
as the greatest of them has), for each shard three digits of its epoch and its sequence there, and behind the second dot the index
of the shard of the check and its six digits. Digits are of base 64. The check is that of the last event that was read. Where it
does not fit, or lies past the end of its shard, an older state was restored, and no part of the cursor is believed.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import msgspec

from router.errors import BadCursor

# Six digits of a second, a sequence, and the check.
_MARKED = re.compile(r"(\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d\.\d{6})(\d{1,15})(\d{4})(?:[Zz]|[+ -]00:?00)\Z")
_FRACTION = re.compile(r"\.(\d+)")
_FORM = re.compile(r"1-([0-9a-f]{8})-([0-9a-f]{12})(?:-([0-9a-f]{8}))?\Z")
# All may stand in a URL as they are, and have the order of their codes: of two numbers with as many digits, the greater is the
# greater text, so clients compare sequences without reading them. `_` stands between a cursor and the number of a part.
DIGITS = "-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz~"
_VALUES = {digit: value for value, digit in enumerate(DIGITS)}
_PAIRS = tuple(first + second for first in DIGITS for second in DIGITS)
_VECTOR = re.compile(
    r"2-([1-9]\d{0,5})\.([-0-9A-Za-z~])([1-8])([-0-9A-Za-z~]+)(?:\.([-0-9A-Za-z~])([-0-2][-0-9A-Za-z~]{5}))?\Z"
)
_STREAM = re.compile(r"EVENTS_(\d+)_(\d+)\Z")
# Digits of an epoch, and of a check. 64 parts are the most that EVENTS has shards (`router.layout`).
_LIFE, _CHECK, _MAX_PARTS = 3, 6, 64
# An epoch that no stream has: places in it are answered by a gap.
FOREIGN = "00000000"
_FOREIGN_LIFE = DIGITS[0] * _LIFE
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

    # In the order of the shards, without one left out in between; at most one has a check.
    parts: tuple[Cursor, ...]

    def __str__(self) -> str:
        generation, first, _ = self.parts[0].epoch.split(".")
        blocks = Blocks(int(generation), int(first), [(part.epoch, part.sequence) for part in self.parts])
        own = next((part for part in self.parts if part.check != UNKNOWN), None)
        return str(blocks) if own is None else blocks.checked(int(own.epoch.split(".")[1]), own.check)


class Blocks:
    """The blocks of a cursor of several shards, of which one is replaced with each event."""

    __slots__ = ("_begin", "_first", "_places", "_size", "_text", "_width", "generation")

    def __init__(self, generation: int, first: int, places: Sequence[tuple[str, int]]) -> None:
        """`places` are the epochs and sequences of shards, in their order from the index `first` on."""
        self.generation, self._first = generation, first
        self._width = max(1, *(-(-sequence.bit_length() // 6) for _, sequence in places))
        blocks = [epoch[-_LIFE:] + digits(sequence, self._width) for epoch, sequence in places]
        head = f"2-{generation}.{DIGITS[first]}{self._width}"
        self._begin, self._size = len(head), _LIFE + self._width
        self._text = head + "".join(blocks)

    def __str__(self) -> str:
        return self._text

    def fits(self, sequence: int) -> bool:
        """Says whether a sequence has no more digits than there is room for."""
        return not sequence >> 6 * self._width

    def move(self, index: int, sequence: int) -> None:
        """Replaces the sequence of a shard by one that is no smaller, and fits."""
        self._text = self._with(index, sequence)

    def checked(self, index: int, check: int) -> str:
        """The cursor with the check of its place in one shard."""
        return f"{self._text}.{DIGITS[index]}{digits(check, _CHECK)}"

    def at(self, index: int, sequence: int, check: int) -> str:
        """The cursor with another place in one shard, whose sequence is no smaller and fits, and the check of that."""
        return f"{self._with(index, sequence)}.{DIGITS[index]}{digits(check, _CHECK)}"

    def _with(self, index: int, sequence: int) -> str:
        text, at = self._text, self._begin + (index - self._first) * self._size + _LIFE
        return f"{text[:at]}{digits(sequence, self._width)}{text[at + self._width :]}"


def digits(number: int, width: int) -> str:
    """A number in base 64 with so many digits."""
    text = ""
    while width > 1:
        text = _PAIRS[number & 4095] + text
        number >>= 12
        width -= 2
    return DIGITS[number] + text if width else text


def _number(text: str) -> int:
    value = 0
    for digit in text:
        value = value << 6 | _VALUES[digit]
    return value


def parse_cursor(token: str) -> Cursor | VectorCursor:
    """Reads a token of either form; raises BadCursor for anything this system did not issue."""
    if not token.startswith("2-"):
        return Cursor.parse(token)
    found = _VECTOR.match(token) if token.isascii() else None
    parts = _parts(found) if found else ()
    if not parts:
        raise BadCursor(f"{token[:60]!r}: {BadCursor.__doc__}")
    return VectorCursor(parts)


def _parts(found: re.Match[str]) -> tuple[Cursor, ...]:
    """The parts of a cursor; none where it is in another form than ours."""
    generation, blocks = found[1], found[4]
    first, width = _VALUES[found[2]], int(found[3])
    size = _LIFE + width
    count, rest = divmod(len(blocks), size)
    own = _VALUES[found[5]] if found[5] else first
    if rest or first + count > _MAX_PARTS or not first <= own < first + count:
        return ()
    if width > 1 and all(blocks[at + _LIFE] == DIGITS[0] for at in range(0, len(blocks), size)):
        return ()
    parts = []
    for index, at in enumerate(range(0, len(blocks), size), first):
        check = _number(found[6]) if found[6] and index == own else UNKNOWN
        epoch = shard_epoch(int(generation), index, blocks[at : at + _LIFE])
        parts.append(Cursor(epoch, _number(blocks[at + _LIFE : at + size]), check))
    return tuple(parts)


def token(epoch: str, sequence: int, check: int = UNKNOWN) -> str:
    """The cursor as its clients have it; without a check where that is UNKNOWN."""
    return f"1-{epoch}-{sequence:012x}" if check < 0 else f"1-{epoch}-{sequence:012x}-{check:08x}"


def check_of(payload: bytes) -> int:
    """The check of a place, from the stored payload of the event there."""
    return zlib.crc32(payload)


def epoch_of(stream: str, created: str) -> str:
    """Names one life of a stream, from its name and its creation time as JetStream reports it.

    That of a shard of a later generation is short, since a cursor has all of them: one of 262,143 for each life.
    """
    value = zlib.crc32(f"{stream} {created}".encode())
    if (shard := _STREAM.match(stream)) is None:
        return f"{value:08x}"
    return shard_epoch(int(shard[1]), int(shard[2]), digits(value % (64**_LIFE - 1) + 1, _LIFE))


def shard_epoch(generation: int, index: int, life: str = _FOREIGN_LIFE) -> str:
    """The epoch of a shard by the three digits of its life; without these that of no stream."""
    return f"{generation}.{index}.{life}"


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
