"""This file is where a place in EVENTS becomes a token that a client may keep: version, epoch, sequence.

`1-5f3a9c1e-00000000002a`: URL-safe, of one length, and sorting like the sequence inside one epoch. The epoch is made of
the stream's name and creation time, so a cursor of a stream that was deleted and made again is known as foreign.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from datetime import datetime

import msgspec

from router.errors import BadCursor

_FORM = re.compile(r"1-([0-9a-f]{8})-([0-9a-f]{12})\Z")


class Cursor(msgspec.Struct, frozen=True, order=True, gc=False):
    """Everything up to and with `sequence` has been seen."""

    epoch: str
    sequence: int

    def __str__(self) -> str:
        return token(self.epoch, self.sequence)

    @classmethod
    def parse(cls, token: str) -> Cursor:
        """Reads a token; raises BadCursor for anything this system did not issue."""
        if found := _FORM.match(token):
            return cls(found[1], int(found[2], 16))
        raise BadCursor(f"{token[:60]!r}: {BadCursor.__doc__}")


def token(epoch: str, sequence: int) -> str:
    """The cursor as its clients have it."""
    return f"1-{epoch}-{sequence:012x}"


def epoch_of(stream: str, created: str) -> str:
    """Names one life of a stream, from its name and its creation time as JetStream reports it."""
    return f"{zlib.crc32(f'{stream} {created}'.encode()):08x}"


@dataclass(frozen=True, slots=True)
class Start:
    """Where a reader wants to begin: exactly one of the first five is set."""

    cursor: Cursor | None = None
    earliest: bool = False
    now: bool = False
    last: int | None = None
    since: datetime | None = None
    # The client came with a place that is not one of ours, and begins here instead; a gap tells it so.
    foreign: bool = False


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
        return Start(cursor=Cursor.parse(cursor))
    if last not in (None, ""):
        try:
            count = int(str(last))
        except ValueError:
            count = -1
        if not 0 <= count <= 100_000:
            raise BadCursor("last must be a number from 0 to 100000")
        return Start(last=count)
    return Start(since=parse_time(str(since)))


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
