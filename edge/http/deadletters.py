"""Handlers of dead letters: list, count, read, delete, redrive, purge."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from edge.deadletters.purge import Purge
from edge.deadletters.query import DeadLetterFilter, Span, check_filter, describe
from edge.deadletters.redrive import Redrives
from edge.deadletters.redrive_job import MAX_REDRIVES, RedriveJob, new_job
from edge.errors import Problem, read_as
from edge.http.bodies.deadletters import (
    DeadLetterAnswer,
    DeadLettersAnswer,
    DeadLettersQuery,
    DeadLetterSummaryAnswer,
    FilterBody,
    PurgeAnswer,
    PurgeRequest,
    RedriveAnswer,
    RedriveRequest,
    RedrivesAnswer,
)
from edge.http.body import edge_of, json_answer, read_json, read_query
from edge.http.openapi.operation import Answer, operation
from edge.jobs import ENDED
from router.deadletter import ORIGINS, DeadLetter, DeadLetterStats
from router.subject import unescape

# Names that a summary tells apart, those with the most dead letters first.
MAX_NAMES = 100
MAX_REDRIVES_SHOWN = 100

_UNKNOWN = ("deadletter_not_found",)
_FILTER = ("missing_field", "bad_filter", "bad_pattern")
_CODES = {"filter": "bad_filter", "cursor": "bad_cursor"}


@operation(
    "List dead letters; a page may be empty and still have a `next`",
    Answer(200, "A page of dead letters", DeadLettersAnswer),
    query=DeadLettersQuery,
    problems=("bad_pattern", "bad_cursor"),
)
async def list_deadletters(request: Request) -> Response:
    edge = edge_of(request)
    query = read_query(request, DeadLettersQuery)
    chosen = check_filter(_filter(query), "bad_parameter")
    page = await edge.redrives.search.page(chosen, query.cursor, query.limit, query.order == "newest")
    return json_answer(
        {"deadletters": [describe(letter, edge.hub.integrity.layout) for letter in page.letters], "next": page.next}
    )


@operation("Count dead letters", Answer(200, "The counts", DeadLetterSummaryAnswer))
async def summarise_deadletters(request: Request) -> Response:
    return json_answer(summarise(await edge_of(request).redrives.dead.stats("dead.>")))


@operation(
    "Read one dead letter with its whole event, or its `payload` in base64 where that cannot be decoded",
    Answer(200, "The dead letter", DeadLetterAnswer),
    problems=_UNKNOWN,
)
async def read_deadletter(request: Request) -> Response:
    edge = edge_of(request)
    return json_answer(
        describe(await _find(edge.redrives, request.path_params["id"]), edge.hub.integrity.layout, whole=True)
    )


@operation("Delete a dead letter", Answer(204, "Deleted"), problems=_UNKNOWN)
async def delete_deadletter(request: Request) -> Response:
    id = request.path_params["id"]
    if not _is_id(id) or not await edge_of(request).redrives.dead.remove(int(id)):
        raise _unknown(id)
    return Response(status_code=204)


@operation(
    "Send dead letters again: one by its `id`, or all that match a `filter`",
    Answer(202, "The redrive, which goes on after this request", RedriveAnswer),
    body=RedriveRequest,
    body_required=True,
    problems=(*_FILTER, *_UNKNOWN, "redrive_refused", "too_many_redrives"),
)
async def redrive_deadletters(request: Request) -> Response:
    redrives = edge_of(request).redrives
    asked = read_as(await read_json(request), RedriveRequest, codes=_CODES)
    job = await redrives.start(await _new_redrive(redrives, asked))
    return json_answer(job.describe(), 202, {"Location": f"/deadletters/jobs/{job.id}"})


async def _new_redrive(redrives: Redrives, asked: RedriveRequest) -> RedriveJob:
    """The redrive that a request asks for. Raises Problem."""
    more: dict[str, Any] = {
        "dry_run": asked.dry_run,
        "force": asked.force,
        "limit": asked.limit,
        **({} if asked.rate is None else {"rate": asked.rate}),
    }
    if isinstance(asked.id, msgspec.UnsetType) == isinstance(asked.filter, msgspec.UnsetType):
        raise Problem(
            "missing_field",
            "give either the id of a dead letter or a filter; the filter {} matches all of them",
            field="id",
        )
    if not isinstance(asked.filter, msgspec.UnsetType):
        chosen = check_filter(_filter(asked.filter), "bad_filter")
        if not asked.force and not asked.dry_run and chosen.origin == "webhook" and chosen.name:
            await _require_open(redrives, chosen.name)
        return new_job(chosen, await redrives.search.span(chosen), **more)
    letter = await _find(redrives, str(asked.id))
    if not asked.force and not asked.dry_run:
        await _require_redrivable(redrives, letter)
    return new_job(DeadLetterFilter(), Span(letter.sequence - 1, letter.sequence), letter=letter.sequence, **more)


async def _require_redrivable(redrives: Redrives, letter: DeadLetter) -> None:
    """Refuses at once what only `force` would send. Raises Problem."""
    if letter.redrives >= MAX_REDRIVES:
        raise Problem(
            "redrive_refused",
            f"it was sent again {letter.redrives} times already; force sends it once more",
            reason="needs_force",
        )
    if letter.kind == "webhook":
        await _require_open(redrives, letter.name)


async def _require_open(redrives: Redrives, name: str) -> None:
    if name in redrives.registry.sessions and (why := await redrives.blocked(name)):
        raise Problem("redrive_refused", "its endpoint takes nothing now; force tries it all the same", reason=why)


@operation("List the redrives of the last week", Answer(200, "Those that run first", RedrivesAnswer))
async def list_redrives(request: Request) -> Response:
    known = sorted(await edge_of(request).redrives.all(), key=lambda job: job.id, reverse=True)
    known.sort(key=lambda job: job.state in ENDED)
    return json_answer({"jobs": [job.describe() for job in known[:MAX_REDRIVES_SHOWN]]})


@operation(
    "Read how far a redrive has come", Answer(200, "The redrive", RedriveAnswer), problems=("redrive_not_found",)
)
async def read_redrive(request: Request) -> Response:
    return json_answer((await edge_of(request).redrives.find(request.path_params["job"])).describe())


@operation(
    "Cancel a redrive; what was sent stays sent",
    Answer(202, "The redrive; it is `cancelled` a moment later", RedriveAnswer),
    problems=("redrive_not_found", "redrive_ended"),
)
async def cancel_redrive(request: Request) -> Response:
    return json_answer((await edge_of(request).redrives.cancel(request.path_params["job"])).describe(), 202)


@operation(
    "Delete dead letters; a filter that reads them deletes a part at a time",
    Answer(200, "How many were, or would be, deleted", PurgeAnswer),
    body=PurgeRequest,
    body_required=True,
    problems=(*_FILTER, "bad_cursor"),
)
async def purge_deadletters(request: Request) -> Response:
    redrives = edge_of(request).redrives
    asked = read_as(await read_json(request), PurgeRequest, codes=_CODES)
    chosen = check_filter(_filter(asked.filter), "bad_filter")
    span = await redrives.search.span(chosen)
    if asked.cursor is not None:
        span = _resumed(asked.cursor, span)
    count, reached = await Purge(redrives.search).run(chosen, span, asked.dry_run)
    return json_answer(
        {
            "purged": 0 if asked.dry_run else count,
            "matched": count,
            "dry_run": asked.dry_run,
            "next": f"p{reached}-{span.upto}" if reached < span.upto else None,
        }
    )


def summarise(stats: DeadLetterStats) -> dict[str, Any]:
    """Adds up the dead letters of each address."""
    origins: Counter[str] = Counter(dict.fromkeys(ORIGINS, 0))
    reasons: Counter[str] = Counter()
    names: Counter[tuple[str, str]] = Counter()
    for address, count in stats.subjects.items():
        _, origin, name, *reason = address.split(".")
        origins[origin] += count
        reasons[unescape(reason[0]) if reason else ""] += count
        names[origin, unescape(name)] += count
    return {
        "total": stats.messages,
        "by_origin": dict(origins),
        "by_reason": dict(reasons.most_common()),
        "by_name": [
            {"origin": origin, "name": name, "count": count} for (origin, name), count in names.most_common(MAX_NAMES)
        ],
        "names": len(names),
        "complete": stats.complete,
        "bytes": stats.bytes,
        "max_bytes": stats.max_bytes if stats.max_bytes > 0 else None,
        "fullness": round(stats.fullness, 4),
        "oldest": stats.oldest or None,
    }


def _filter(given: FilterBody) -> DeadLetterFilter:
    found = {name: getattr(given, name, msgspec.UNSET) for name in DeadLetterFilter.__struct_fields__}
    return DeadLetterFilter(
        **{name: value for name, value in found.items() if not isinstance(value, msgspec.UnsetType)}
    )


async def _find(redrives: Redrives, id: str) -> DeadLetter:
    letter = await redrives.dead.get(int(id)) if _is_id(id) else None
    if letter is None:
        raise _unknown(id)
    return letter


def _resumed(cursor: str, span: Span) -> Span:
    """Goes on where the last answer ended, and no further than the first one would have gone."""
    after, _, upto = cursor[1:].partition("-")
    if not (_is_id(after) or after == "0") or not _is_id(upto) or cursor[0] != "p":
        raise Problem("bad_cursor", "a cursor is the `next` of the purge before")
    return Span(max(span.after, int(after)), min(span.upto, int(upto)))


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 16 and int(text) > 0


def _unknown(id: str) -> Problem:
    return Problem(
        "deadletter_not_found", f"no dead letter {id[:60]!r}; it may have been sent again, deleted, or dropped"
    )
