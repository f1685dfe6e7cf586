"""This file is where people deal with dead letters: list, show, delete, count, send again, purge; what the routes answer."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import Any

from edge.deadletters.query import DEFAULT_LIMIT, FIELDS, MAX_LIMIT, READS, Filter, Search, Span, describe, parse_filter
from edge.deadletters.redrive import Redrives
from edge.deadletters.redrive_job import MAX_REDRIVES, new_job, parse_rate
from edge.errors import Problem, json_object
from edge.jobs import ENDED
from router.deadletter import ORIGINS, DeadLetter, DeadLetterStats
from router.subject import unescape

# Names that a summary tells apart, those with the most letters first.
MOST_NAMES = 100
MOST_JOBS_SHOWN = 100
MAX_REDRIVE = 1_000_000
_ORDERS = ("newest", "oldest")
_PAGE = ("cursor", "limit", "order")
_REDRIVE = ("id", "filter", "dry_run", "rate", "limit", "force")
_PURGE = ("filter", "dry_run", "cursor")


class Desk:
    """Answers what is asked about dead letters, in terms of JSON."""

    def __init__(self, redrives: Redrives) -> None:
        self._redrives = redrives
        self._dead = redrives.dead
        self._search: Search = redrives.search

    async def page(self, query: Mapping[str, str], epoch: str) -> dict[str, Any]:
        """One page of letters. Raises Problem."""
        chosen = parse_filter(
            {name: text for name, text in query.items() if name not in _PAGE and text}, "bad_parameter"
        )
        order = query.get("order") or _ORDERS[0]
        if order not in _ORDERS:
            raise Problem("bad_parameter", f"order must be {' or '.join(_ORDERS)}")
        text = query.get("limit") or str(DEFAULT_LIMIT)
        limit = int(text) if text.isdecimal() and len(text) < 9 else 0
        if not 1 <= limit <= MAX_LIMIT:
            raise Problem("bad_parameter", f"limit must be a number from 1 to {MAX_LIMIT}")
        found = await self._search.page(chosen, query.get("cursor") or None, limit, order == "newest")
        return {"deadletters": [describe(letter, epoch) for letter in found.letters], "next": found.next}

    async def letter(self, id: str, epoch: str) -> dict[str, Any]:
        """One letter, whole. Raises Problem."""
        return describe(await self._find(id), epoch, whole=True)

    async def delete(self, id: str) -> None:
        """Deletes one letter. Raises Problem."""
        if not _is_id(id) or not await self._dead.remove(int(id)):
            raise _unknown(id)

    async def summary(self) -> dict[str, Any]:
        """Counts by origin, reason and name, without reading a letter."""
        return summarise(await self._dead.stats("dead.>"))

    async def _find(self, id: str) -> DeadLetter:
        letter = await self._dead.get(int(id)) if _is_id(id) else None
        if letter is None:
            raise _unknown(id)
        return letter

    # Sending again

    async def redrive(self, body: Any) -> dict[str, Any]:
        """Makes a job of what is to be sent again. Raises Problem."""
        said = json_object(body, _REDRIVE)
        if ("id" in said) == ("filter" in said):
            raise Problem(
                "missing_field", "give either the id of a letter or a filter; the filter {} means all of them"
            )
        more: dict[str, Any] = {
            "dry_run": _flag(said, "dry_run"),
            "force": _flag(said, "force"),
            "rate": parse_rate(said.get("rate")),
            "limit": _limit(said.get("limit")),
        }
        if "id" in said:
            id = said["id"]
            if isinstance(id, bool) or not isinstance(id, (int, str)):
                raise Problem("bad_body", "id must be the number of a letter")
            letter = await self._find(str(id))
            await self._refuse_one(letter, more)
            span = Span(letter.sequence - 1, letter.sequence)
            job = new_job(Filter(), span, letter=letter.sequence, **more)
        else:
            chosen = _filter(said["filter"])
            await self._refuse_all(chosen, more)
            job = new_job(chosen, await self._search.span(chosen), **more)
        return (await self._redrives.start(job)).describe()

    async def _refuse_one(self, letter: DeadLetter, more: Mapping[str, Any]) -> None:
        """Says at once what only `force` would change."""
        if more["force"] or more["dry_run"]:
            return
        if letter.redrives >= MAX_REDRIVES:
            raise Problem(
                "redrive_refused",
                f"it was sent again {letter.redrives} times already; with force it is once more",
                reason="needs_force",
            )
        if letter.kind == "webhook":
            await self._refuse_session(letter.name)

    async def _refuse_all(self, chosen: Filter, more: Mapping[str, Any]) -> None:
        if not more["force"] and not more["dry_run"] and chosen.origin == "webhook" and chosen.name:
            await self._refuse_session(chosen.name)

    async def _refuse_session(self, name: str) -> None:
        if name in self._redrives.registry.sessions and (why := await self._redrives.blocked(name)):
            raise Problem("redrive_refused", "its endpoint takes nothing now; with force it is tried", reason=why)

    async def jobs(self) -> dict[str, Any]:
        """The redrives of the last week, those that are not over first, then the newest first. Raises BrokerError."""
        known = sorted(await self._redrives.all(), key=lambda job: job.id, reverse=True)
        known.sort(key=lambda job: job.state in ENDED)
        return {"jobs": [job.describe() for job in known[:MOST_JOBS_SHOWN]]}

    async def job(self, id: str) -> dict[str, Any]:
        """One redrive. Raises Problem."""
        return (await self._redrives.find(id)).describe()

    async def cancel(self, id: str) -> dict[str, Any]:
        """Calls a redrive off. Raises Problem."""
        return (await self._redrives.cancel(id)).describe()

    # Purging

    async def purge(self, body: Any) -> dict[str, Any]:
        """Deletes what a filter means; where that takes looking into letters, a stretch at a time. Raises Problem."""
        said = json_object(body, _PURGE)
        if "filter" not in said:
            raise Problem("missing_field", "a purge needs a filter; {} means all of them")
        chosen, dry = _filter(said["filter"]), _flag(said, "dry_run")
        span = await self._search.span(chosen)
        if (cursor := said.get("cursor")) is not None:
            span = _resumed(cursor, span)
        count, reached = 0, span.upto
        if chosen.is_address and dry:
            count = await self._search.count(chosen, span)
        elif chosen.is_address and chosen.since is None:
            count = await self._dead.purge(chosen.pattern, span.upto)
        else:
            count, reached = await self._purge_stretches(chosen, span, dry)
        return {
            "purged": 0 if dry else count,
            "matched": count,
            "dry_run": dry,
            "next": f"p{reached}-{span.upto}" if reached < span.upto else None,
        }

    async def _purge_stretches(self, chosen: Filter, span: Span, dry: bool) -> tuple[int, int]:
        count = 0
        for _ in range(READS):
            letters, reached = await self._search.stretch(chosen, span)
            if dry:
                count += len(letters)
            else:
                count += sum(await asyncio.gather(*(self._dead.remove(letter.sequence) for letter in letters)))
            span = Span(reached, span.upto)
            if reached >= span.upto:
                break
        return count, span.after


def summarise(state: DeadLetterStats) -> dict[str, Any]:
    """Adds up what lies at each address."""
    origins: Counter[str] = Counter(dict.fromkeys(ORIGINS, 0))
    reasons: Counter[str] = Counter()
    names: Counter[tuple[str, str]] = Counter()
    for address, count in state.subjects.items():
        _, origin, name, *reason = address.split(".")
        origins[origin] += count
        reasons[unescape(reason[0]) if reason else ""] += count
        names[origin, unescape(name)] += count
    return {
        "total": state.messages,
        "by_origin": dict(origins),
        "by_reason": dict(reasons.most_common()),
        "by_name": [
            {"origin": origin, "name": name, "count": count} for (origin, name), count in names.most_common(MOST_NAMES)
        ],
        "names": len(names),
        "complete": state.complete,
        "bytes": state.bytes,
        "max_bytes": state.max_bytes if state.max_bytes > 0 else None,
        "fullness": round(state.fullness, 4),
        "oldest": state.oldest or None,
    }


def _filter(value: Any) -> Filter:
    if not isinstance(value, dict):
        raise Problem("bad_filter", f"a filter is an object with some of {', '.join(FIELDS)}")
    return parse_filter(value)


def _flag(said: Mapping[str, Any], name: str) -> bool:
    value = said.get(name, False)
    if not isinstance(value, bool):
        raise Problem("bad_body", f"{name} must be true or false")
    return value


def _limit(value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_REDRIVE:
        raise Problem("bad_body", f"limit must be a whole number from 1 to {MAX_REDRIVE}")
    return value


def _resumed(cursor: Any, span: Span) -> Span:
    """Goes on where the last answer ended, and no further than the first one would have gone."""
    after, _, upto = cursor[1:].partition("-") if isinstance(cursor, str) else ("", "", "")
    if not (_is_id(after) or after == "0") or not _is_id(upto) or cursor[0] != "p":
        raise Problem("bad_cursor", "a cursor is the `next` of the purge before")
    return Span(max(span.after, int(after)), min(span.upto, int(upto)))


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 16 and int(text) > 0


def _unknown(id: str) -> Problem:
    return Problem(
        "deadletter_not_found", f"no dead letter {id[:60]!r}; it may have been sent again, deleted, or dropped"
    )
