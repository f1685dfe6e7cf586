"""Queries dead letters by filter, page by page, and describes them as the API shows them.

Every request does a bounded amount of work. Where a filter reads the dead letters themselves, a page ends after so many have
been read, matching or not, and gives the cursor to continue from.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from edge.errors import Problem
from router.codec import rfc3339
from router.cursor import parse_time
from router.deadletter import DeadLetter
from router.deadletters import DeadLetters
from router.errors import BadCursor
from router.event import Event
from router.event_place import cursor_at, locate, place_of
from router.layout import Layout
from router.subject import check_pattern, escape, matches

FIELDS = ("origin", "name", "reason", "subject", "event", "since", "until", "text", "ids")
MAX_FIELD = 255
# As many as the largest page of a list has.
MAX_IDS = 500

DEFAULT_LIMIT = 50
MAX_LIMIT = 500
# What one request reads at most of the stream: eight times 500 dead letters or 1 MiB.
READS = 8
READ_MESSAGES = 500
READ_BYTES = 1024 * 1024
# A list shows events up to 64 KiB; a larger one is shown by itself.
SHOWN_BYTES = 64 * 1024

_CURSOR = re.compile(r"([on])([0-9]{1,15})\Z")


class DeadLetterFilter(msgspec.Struct, frozen=True, omit_defaults=True):
    """Selects dead letters: all that match every field that is set."""

    origin: str | None = None
    name: str | None = None
    reason: str | None = None
    subject: str | None = None
    event: str | None = None
    since: str | None = None
    until: str | None = None
    text: str | None = None
    ids: tuple[int, ...] | None = None

    @property
    def pattern(self) -> str:
        """The part of the filter that is a subject."""
        if self.name is None and self.reason is None:
            return f"dead.{self.origin}.>" if self.origin else "dead.>"
        name = "*" if self.name is None else escape(self.name)
        reason = "*" if self.reason is None else escape(self.reason)
        return f"dead.{self.origin or '*'}.{name}.{reason}"

    @property
    def is_address(self) -> bool:
        """Whether the subject and the place in the stream decide alone, so that no dead letter need be read."""
        return self.subject is None and self.event is None and self.text is None and self.ids is None

    def accepts(self, letter: DeadLetter) -> bool:
        """Whether a dead letter under the pattern matches the rest."""
        if self.ids is not None and letter.sequence not in self.ids:
            return False
        if self.subject is not None and not matches(self.subject, letter.event_subject):
            return False
        if self.event is not None and letter.event_id != self.event:
            return False
        return self.text is None or _contains(letter, self.text)

    def described(self) -> dict[str, Any]:
        """The fields that are set."""
        return {name: value for name in FIELDS if (value := getattr(self, name)) is not None}


def check_filter(chosen: DeadLetterFilter, code: str) -> DeadLetterFilter:
    """Checks a filter's pattern and times. Raises BadPattern, or Problem of this code."""
    if chosen.subject is not None:
        check_pattern(chosen.subject)
    for name, text in (("since", chosen.since), ("until", chosen.until)):
        if text is not None:
            try:
                parse_time(text)
            except BadCursor as fault:
                raise Problem(code, f"{name}: {fault}", field=name) from None
    return chosen


class Span(NamedTuple):
    """A stretch of the stream: what comes after one sequence, up to and with another."""

    after: int
    upto: int


@dataclass(frozen=True)
class FoundLetters:
    """Dead letters that match, and the cursor of the next page; None where this was the last."""

    letters: list[DeadLetter]
    next: str | None


class Search:
    """Searches DEADLETTERS."""

    def __init__(self, dead: DeadLetters) -> None:
        self.dead = dead

    async def span(self, chosen: DeadLetterFilter) -> Span:
        """Where in the stream dead letters that match can be, as it is now."""
        state = await self.dead.stats()
        after, upto = max(state.first - 1, 0), state.last
        if chosen.since is not None:
            first = await self.dead.at(parse_time(chosen.since))
            after = upto if first is None else max(after, first - 1)
        if chosen.until is not None and (first := await self.dead.at(parse_time(chosen.until))) is not None:
            upto = min(upto, first - 1)
        if chosen.ids:
            after, upto = max(after, min(chosen.ids) - 1), min(upto, max(chosen.ids))
        return Span(after, upto)

    async def count(self, chosen: DeadLetterFilter, span: Span) -> int:
        """Counts what a filter that is an address selects, without reading it."""
        if span.after >= span.upto:
            return 0
        behind = await self.dead.count(span.upto, chosen.pattern)
        return max(0, await self.dead.count(span.after, chosen.pattern) - behind)

    async def stretch(
        self, chosen: DeadLetterFilter, span: Span, limit: int = READ_MESSAGES
    ) -> tuple[list[DeadLetter], int]:
        """One read, oldest first: the dead letters that match, and how far it came (`span.upto` where that was all)."""
        if span.after >= span.upto:
            return [], span.upto
        page = await self.dead.read(span.after, limit, chosen.pattern, READ_BYTES)
        letters = [letter for letter in page.deadletters if letter.sequence <= span.upto]
        reached = letters[-1].sequence if letters and page.more and len(letters) == len(page.deadletters) else span.upto
        return await _fitting(chosen, letters), reached

    async def page(self, chosen: DeadLetterFilter, cursor: str | None, limit: int, newest: bool) -> FoundLetters:
        """The next dead letters that match, in either direction. Raises Problem `bad_cursor`."""
        span = await self.span(chosen)
        order = "n" if newest else "o"
        if cursor is not None:
            place = _place(cursor, order)
            span = Span(span.after, min(span.upto, place - 1)) if newest else Span(max(span.after, place), span.upto)
        letters, reached = await (self._backwards if newest else self._forwards)(chosen, span, limit)
        if newest:
            return FoundLetters(letters, f"{order}{reached + 1}" if reached > span.after else None)
        return FoundLetters(letters, f"{order}{reached}" if reached < span.upto else None)

    async def _forwards(self, chosen: DeadLetterFilter, span: Span, limit: int) -> tuple[list[DeadLetter], int]:
        found: list[DeadLetter] = []
        weight, at = 0, span.after
        for _ in range(READS):
            if at >= span.upto:
                break
            # One more than is asked for, so that a page that is full knows whether it is the last.
            wanted = limit + 1 - len(found) if chosen.is_address else READ_MESSAGES
            letters, reached = await self.stretch(chosen, Span(at, span.upto), min(wanted, READ_MESSAGES))
            for letter in letters:
                if len(found) == limit or (found and weight + len(letter.payload) > READ_BYTES):
                    return found, found[-1].sequence
                found.append(letter)
                weight += len(letter.payload)
            at = reached
        return found, at

    async def _backwards(self, chosen: DeadLetterFilter, span: Span, limit: int) -> tuple[list[DeadLetter], int]:
        """JetStream reads forwards only: so it reads windows from the end, wider where little is found, narrower where too much."""
        found: list[DeadLetter] = []
        weight, at, width = 0, span.upto, max(64, limit)
        for _ in range(READS):
            if at <= span.after:
                break
            start = max(span.after, at - width)
            page = await self.dead.read(start, min(READ_MESSAGES, at - start), chosen.pattern, READ_BYTES)
            letters = [letter for letter in page.deadletters if letter.sequence <= at]
            if page.more and len(letters) == len(page.deadletters) and (not letters or letters[-1].sequence < at):
                # It did not reach the window's end: what is newest in it is still unread. A window of one always does.
                width = max(1, min(width, at - start) // 4)
                continue
            for letter in reversed(await _fitting(chosen, letters)):
                if len(found) == limit or (found and weight + len(letter.payload) > READ_BYTES):
                    return found, found[-1].sequence - 1
                found.append(letter)
                weight += len(letter.payload)
            at = start
            width = width * 8 if len(letters) < READ_MESSAGES // 8 else width
        return found, at


async def _fitting(chosen: DeadLetterFilter, letters: list[DeadLetter]) -> list[DeadLetter]:
    if chosen.is_address:
        return letters
    if chosen.text is None:
        return [letter for letter in letters if chosen.accepts(letter)]
    # Searching a mebibyte takes a millisecond or two.
    return await asyncio.to_thread(lambda: [letter for letter in letters if chosen.accepts(letter)])


def _contains(letter: DeadLetter, text: str) -> bool:
    """Whether the text occurs in a field of the dead letter or in its payload; case does not matter."""
    small = text.lower()
    fields = (letter.detail, letter.reason, letter.source, letter.destination, letter.origin.subject, letter.event_id)
    # msgpack stores texts as UTF-8, so that nothing need be decoded.
    return any(small in each.lower() for each in fields) or small.encode() in letter.payload.lower()


def _place(cursor: str, order: str) -> int:
    found = _CURSOR.match(cursor)
    if not found or found[1] != order:
        raise Problem("bad_cursor", "a cursor is the `next` of a page of the same order")
    return int(found[2])


def describe(letter: DeadLetter, layout: Layout, whole: bool = False) -> dict[str, Any]:
    """The dead letter as the API shows it. Destinations were stored without their secrets; `layout` has the epochs of the streams."""
    origin = letter.origin
    shard = layout.by_stream.get(origin.stream)
    place = locate(place_of(origin.stream, origin.sequence))
    shown: dict[str, Any] = {
        "id": letter.sequence,
        "origin": letter.kind,
        "name": letter.name,
        "reason": letter.reason,
        "detail": letter.detail,
        "attempts": letter.attempts,
        "redrives": letter.redrives,
        "first": letter.first or None,
        "last": letter.last or None,
        "buried": letter.stored,
        "destination": letter.destination,
        "source": letter.source,
        "from": {
            "stream": origin.stream,
            "sequence": origin.sequence,
            "subject": letter.event_subject or origin.subject,
            "cursor": str(cursor_at(place, shard.epoch)) if shard is not None and shard.epoch else None,
        },
        "event_id": letter.event_id or None,
        # Of one that was too large to be stored only its place (`from`) is kept.
        "bytes": letter.size or len(letter.payload),
        "by_reference": letter.size > 0,
        "event": None,
    }
    if len(letter.payload) > SHOWN_BYTES and not whole:
        return shown
    event = letter.event()
    if event is not None:
        shown["event"] = _event(event)
    elif whole and not letter.size:
        # Base64, up to what a person may want to look at.
        shown["payload"] = letter.payload[:SHOWN_BYTES]
    return shown


def _event(event: Event) -> dict[str, Any]:
    """The event in the shape of the callback dialect, as far as it has no place in a stream."""
    shown: dict[str, Any] = {
        "id": event.id,
        "event_type": event.type,
        "subject": event.subject,
        "source": event.source,
        "timestamp": rfc3339(event.time),
        "data": event.data,
    }
    shown |= {name: value for name in ("key", "cause") if (value := getattr(event, name)) is not None}
    return shown | {"test": True} if event.test else shown
