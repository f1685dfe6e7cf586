"""Lists, shows, counts, redrives and purges dead letters: what `callboard deadletters` does.

It uses the HTTP API of a running edge. A redrive is a job of the edge: it goes on where this command is ended.
"""

from __future__ import annotations

import asyncio
import json as jsonlib
import re
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

from ops.cli.interruptible import run_interruptibly
from ops.cli.sessions import edge_of, refused
from ops.process.http import get
from ops.process.ports import url_of
from ops.settings import Mistakes, Settings
from ops.terminal import Paint, StatusLine, bar, safe, table
from ops.values import seconds
from router.codec import from_json
from router.errors import BadEvent, RouterError

FIELDS = ("origin", "name", "reason", "subject", "event", "since", "until", "text")
PAGE = 500
# Longer than any one request may take: a purge of a full stream is the longest.
REQUEST_TIMEOUT = 40.0
POLL_EVERY = 0.3
# A detail longer than this is cut in a list; `show` has it whole.
MAX_DETAIL = 60

# Codes of wrong requests, rather than of failures.
_MISTAKES = frozenset({"bad_parameter", "bad_filter", "bad_pattern", "bad_body", "bad_cursor", "missing_field"})


@dataclass(frozen=True)
class DeadLetterRequest:
    """What is to be done with which dead letters. `filter` has those of FIELDS that are set."""

    what: str
    filter: Mapping[str, str] = field(default_factory=dict)
    id: str | None = None
    everything: bool = False
    limit: int | None = None
    oldest: bool = False
    dry_run: bool = False
    rate: float | None = None
    force: bool = False
    wait: bool = True
    yes: bool = False
    json: bool = False


def run_deadletters(settings: Settings, request: DeadLetterRequest) -> int:
    """Does what is asked; the exit code is 1 where not all was sent. Raises Mistakes or RouterError."""
    filter = {name: _moment(text) if name in ("since", "until") else text for name, text in request.filter.items()}
    if request.limit is not None and request.limit < 1:
        raise Mistakes([f"deadletters {request.what}: --limit needs a number from 1 on"])
    client = _EdgeClient(settings)
    match request.what:
        case "ls":
            return run_interruptibly(_list(client, request, filter))
        case "show":
            return run_interruptibly(_show(client, request))
        case "summary":
            return run_interruptibly(_summary(client, request))
        case "redrive":
            return run_interruptibly(_redrive(client, request, filter))
        case "jobs":
            return run_interruptibly(_jobs(client, request))
        case "cancel":
            return run_interruptibly(_cancel(client, request))
        case _:
            return run_interruptibly(_purge(client, request, filter))


def _moment(text: str) -> str:
    """Makes a time of how long ago it was; what is a time already is the edge's to read."""
    if not re.fullmatch(r"(\d+(\.\d+)?(ms|[smhdw]))+", text):
        return text
    return datetime.fromtimestamp(time.time() - seconds(text), UTC).isoformat()


class _EdgeClient:
    """Calls the dead-letter API of the edge."""

    def __init__(self, settings: Settings) -> None:
        self.host, self.port = edge_of(settings)
        self._token = settings.command.token

    async def ask(self, path: str, method: str = "GET", body: object = None) -> Any:
        """Asks and gives the answer. Raises Mistakes for what was asked wrongly, RouterError otherwise."""
        url = url_of(self.host, self.port)
        content = jsonlib.dumps(body).encode() if body is not None else b""
        try:
            answer = await get(
                self.host, self.port, f"/deadletters{path}", REQUEST_TIMEOUT, method, content, token=self._token
            )
        except OSError as fault:
            why = fault.strerror or str(fault)
            raise RouterError(f"no edge answers at {url} ({why}); start one with `callboard up`") from None
        try:
            said = from_json(answer.body)
        except BadEvent:
            said = None
        if not isinstance(said, dict):
            raise RouterError(f"{url} answered {answer.status}, and not about dead letters")
        if answer.status < 300:
            return said
        if answer.status in (401, 403):
            raise RouterError(f"{url} {refused(answer, self._token)}")
        why = safe(str(said.get("detail") or said.get("title") or answer.status))
        if said.get("code") in _MISTAKES:
            raise Mistakes([f"deadletters: {why}"])
        if said.get("code") == "redrive_refused" and said.get("reason"):
            why = f"{why} ({safe(str(said['reason']))}); --force does it all the same"
        raise RouterError(why)


# Listing and showing


async def _list(client: _EdgeClient, request: DeadLetterRequest, filter: Mapping[str, str]) -> int:
    left = request.limit or 50
    paint = Paint.of(sys.stdout)
    found: list[dict[str, Any]] = []
    cursor: str | None = None
    while left > 0:
        query = {**filter, "limit": str(min(left, PAGE)), "order": "oldest" if request.oldest else "newest"}
        page = await client.ask("?" + urlencode(query | ({"cursor": cursor} if cursor else {})))
        letters, cursor = page["deadletters"], page["next"]
        left -= len(letters)
        if request.json:
            for letter in letters:
                print(jsonlib.dumps(letter))
        found += letters
        if cursor is None:
            break
    if request.json:
        return 0
    if not found:
        print("no dead letters" + (" that fit" if filter else ""))
        return 0
    print(
        table(
            [_row(letter, paint) for letter in found],
            ("id", "buried", "origin", "name", "reason", "tries", "again", "subject", "detail"),
            paint,
        )
    )
    if cursor is not None:
        sys.stdout.flush()
        print("there are more; --limit shows them, a filter finds them", file=sys.stderr)
    return 0


def _row(letter: Mapping[str, Any], paint: Paint) -> tuple[str, ...]:
    detail = safe(" ".join(str(letter.get("detail", "")).split()))
    return (
        str(letter["id"]),
        paint(_when(letter.get("buried")), "dim"),
        safe(str(letter["origin"])),
        safe(str(letter["name"])),
        paint(safe(str(letter["reason"])), "red"),
        str(letter["attempts"]),
        str(letter["redrives"] or ""),
        safe(str(letter["from"]["subject"])),
        detail if len(detail) <= MAX_DETAIL else detail[: MAX_DETAIL - 1] + "…",
    )


def _when(text: object) -> str:
    """A time as people here read it."""
    # Cut to microseconds: JetStream writes nine digits, or fewer.
    cut = re.sub(r"(\.\d{6})\d+", r"\1", str(text or ""))
    try:
        return datetime.fromisoformat(cut).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except ValueError:
        return safe(str(text or ""))


async def _show(client: _EdgeClient, request: DeadLetterRequest) -> int:
    letter = await client.ask(f"/{quote(request.id or '', safe='')}")
    if request.json:
        print(jsonlib.dumps(letter, indent=2))
        return 0
    paint = Paint.of(sys.stdout)
    origin = letter["from"]
    rows = [
        ("id", str(letter["id"])),
        ("origin", f"{letter['origin']} {letter['name']}"),
        ("reason", letter["reason"]),
        ("detail", letter["detail"]),
        ("attempts", f"{letter['attempts']}, from {_when(letter['first'])} to {_when(letter['last'])}"),
        ("sent again", f"{letter['redrives']} times" if letter["redrives"] else "never"),
        ("destination", letter["destination"]),
        ("given up by", letter["source"]),
        ("event", f"{letter['event_id'] or '?'}, {origin['subject']}, {origin['stream']} {origin['sequence']}"),
        ("buried", _when(letter["buried"])),
    ]
    print(table([(paint(name, "dim"), safe(str(value))) for name, value in rows if value]))
    inside = letter["event"] if letter["event"] is not None else letter.get("payload")
    print("\n" + safe(jsonlib.dumps(inside, indent=2, ensure_ascii=False)))
    return 0


async def _summary(client: _EdgeClient, request: DeadLetterRequest) -> int:
    summary = await client.ask("/summary")
    if request.json:
        print(jsonlib.dumps(summary, indent=2))
        return 0
    if not summary["total"]:
        print("no dead letters")
        return 0
    paint = Paint.of(sys.stdout)
    room = f", {bar(summary['fullness'], 12)} {summary['fullness']:.1%} of their room" if summary["max_bytes"] else ""
    print(f"{summary['total']:,} dead letters, the oldest of {_when(summary['oldest'])}{room}")
    for title, rows in (
        ("origin", [(name, count) for name, count in summary["by_origin"].items() if count]),
        ("reason", list(summary["by_reason"].items())),
        ("name", [(f"{each['origin']} {each['name']}", each["count"]) for each in summary["by_name"][:20]]),
    ):
        print()
        print(table([(f"{count:>9,}", safe(name)) for name, count in rows], (" " * 4 + "count", title), paint))
    if summary["names"] > 20:
        print(f"{'':11}and {summary['names'] - 20:,} more")
    return 0


# Redriving


async def _redrive(client: _EdgeClient, request: DeadLetterRequest, filter: Mapping[str, str]) -> int:
    body: dict[str, Any] = {"dry_run": request.dry_run, "force": request.force}
    body |= {name: value for name in ("rate", "limit") if (value := getattr(request, name)) is not None}
    if request.id is not None:
        if filter or request.everything:
            raise Mistakes(["deadletters redrive: give the id of a letter, or a filter, not both"])
        body["id"] = request.id
    elif filter or request.everything:
        body["filter"] = dict(filter)
    else:
        raise Mistakes(["deadletters redrive: which? give the id of a letter, a filter such as --name, or --all"])
    job = await client.ask("/redrive", "POST", body)
    if not request.wait:
        print(jsonlib.dumps(job) if request.json else f"redrive {job['id']} has begun")
        return 0
    try:
        job = await _watch(client, job)
    except asyncio.CancelledError:
        print(f"\nthe redrive goes on; `callboard deadletters cancel {job['id']}` ends it", file=sys.stderr)
        raise
    print(jsonlib.dumps(job) if request.json else _ended(job))
    return 0 if job["dry_run"] or (job["state"] == "done" and not job["failed"] and not job["skipped"]) else 1


async def _watch(client: _EdgeClient, job: dict[str, Any]) -> dict[str, Any]:
    """Shows how far a redrive has come, until it is over."""
    line = StatusLine(sys.stderr)
    try:
        while job["state"] == "running":
            line.show(_progress(job))
            await asyncio.sleep(POLL_EVERY)
            job = await client.ask(f"/jobs/{job['id']}")
    finally:
        line.clear()
    return job


def _progress(job: Mapping[str, Any]) -> str:
    done, total = job["sent"] + job["failed"] + job["skipped"], job["total"]
    if total is None:
        return "counting"
    share = done / total if total else 1.0
    eta = f"  {job['eta']:,.0f} s left" if job["eta"] else ""
    rest = "".join(f"  {job[name]:,} {name}" for name in ("failed", "skipped", "returned") if job[name])
    return f"{bar(share)} {share:4.0%}  {done:,} of {total:,}{eta}{rest}"


def _ended(job: Mapping[str, Any]) -> str:
    verb = "would be sent again" if job["dry_run"] else "sent again"
    told = f"{job['sent']:,} of {job['total'] or 0:,} dead letters {verb}"
    if job["failed"] or job["skipped"]:
        why = ", ".join(
            f"{safe(reason)} {count:,}" for reason, count in job["reasons"].items() if reason != "sent_before"
        )
        told += f"; {job['failed'] + job['skipped']:,} stay: {why}"
    if job["returned"]:
        told += f"; {job['returned']:,} came back"
    if job["state"] != "done":
        told += f"; it is {job['state']}" + (f": {safe(job['error'])}" if job["error"] else "")
    return told


async def _jobs(client: _EdgeClient, request: DeadLetterRequest) -> int:
    jobs = (await client.ask("/jobs"))["jobs"]
    if request.json:
        for job in jobs:
            print(jsonlib.dumps(job))
        return 0
    if not jobs:
        print("no redrives in the last week")
        return 0
    paint = Paint.of(sys.stdout)
    rows = [
        (
            job["id"],
            paint(_when(job["created"]), "dim"),
            job["state"] + (" (dry run)" if job["dry_run"] else ""),
            "?" if job["total"] is None else f"{job['total']:,}",
            f"{job['sent']:,}",
            f"{job['failed'] + job['skipped']:,}",
            safe(" ".join(f"{k}={v}" for k, v in job["filter"].items()))
            or (str(job["letter"]) if job["letter"] else "all"),
        )
        for job in jobs
    ]
    print(table(rows, ("redrive", "created", "state", "letters", "sent", "stay", "which"), paint))
    return 0


async def _cancel(client: _EdgeClient, request: DeadLetterRequest) -> int:
    path = f"/jobs/{quote(request.id or '', safe='')}"
    job = await client.ask(path, "DELETE")
    job = await _watch(client, job)
    print(jsonlib.dumps(job) if request.json else _ended(job))
    return 0


# Purging


async def _purge(client: _EdgeClient, request: DeadLetterRequest, filter: Mapping[str, str]) -> int:
    if not filter and not request.everything:
        raise Mistakes(["deadletters purge: which? give a filter such as --reason or --until, or --all"])
    if not request.dry_run and not request.yes:
        if not sys.stdin.isatty():
            raise Mistakes(["deadletters purge: what is purged is gone; say --yes, or look with --dry-run first"])
        count = await _purged(client, filter, dry=True)
        # Not by input(): its thread could not be ended by Ctrl-C.
        print(f"{count:,} dead letters will be gone for ever. Go on? [y/N] ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            print("nothing was purged")
            return 1
    count = await _purged(client, filter, request.dry_run)
    if request.json:
        print(jsonlib.dumps({"purged": 0 if request.dry_run else count, "matched": count, "dry_run": request.dry_run}))
    else:
        print(f"{count:,} dead letters {'would be ' if request.dry_run else ''}purged")
    return 0


async def _purged(client: _EdgeClient, filter: Mapping[str, str], dry: bool) -> int:
    """Asks until all is purged, and counts."""
    line = StatusLine(sys.stderr)
    count = 0
    body: dict[str, Any] = {"filter": dict(filter), "dry_run": dry}
    try:
        while True:
            answer = await client.ask("/purge", "POST", body)
            count += int(answer["matched"])
            if not answer["next"]:
                return count
            body["cursor"] = answer["next"]
            line.show(f"{count:,} so far")
    finally:
        line.clear()
