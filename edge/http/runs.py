"""Handlers for producers of runs that speak HTTP: the lease that tells they are alive, and the request to stop."""

from __future__ import annotations

import asyncio
from typing import Any, Literal, NamedTuple

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from edge.errors import Problem, read_as
from edge.http.batch import Accepted, EventDoor
from edge.http.bodies.runs import RunHeartbeat, RunLeaseAnswer, RunLeaseQuery, RunStop, RunStoppingAnswer
from edge.http.body import edge_of, json_answer, read_json, read_query
from edge.http.commands import give_any
from edge.http.credentials import address_of, principal_of
from edge.http.ingest import door_of
from edge.http.openapi.operation import Answer, operation
from edge.http.sequenced import START
from edge.runtime import Edge
from router.catalogue import RUN_DOMAINS
from router.cluster.leases import MARK_SECONDS, lease_key
from router.codec import encode
from router.errors import RunEnded, RunSuperseded
from router.event import Event
from router.nats.bucket import Bucket
from router.runs import RunEntry
from router.stored import decoder
from router.subject import Subject, escape
from router.topology import LEASES

HTTP = "http"
# The permission to stop runs, whatever the instance of the agent actor is called.
STOP = "agent.main.stop"
STOP_SECONDS = 5.0
# The incarnation of a life that a heartbeat began after the one before was failed.
REVIVED = "revived-"


class _Run(NamedTuple):
    """A run, by the name of its producer and as a token of subjects."""

    name: str
    domain: str
    token: str

    @property
    def lease(self) -> str:
        return lease_key("run", self.domain, self.name)


class _HttpLease(msgspec.Struct):
    """What the lease of a producer holds; of an SDK that speaks NATS too."""

    ttl: float
    via: str = "nats"
    incarnation: str | None = None


_lease = decoder(_HttpLease, LEASES)


@operation(
    "Tell that the producer of a run is alive (its heartbeat), and learn whether it is to stop",
    Answer(200, "The lease is held", RunLeaseAnswer),
    body=RunHeartbeat,
    problems=(
        "bad_subject",
        "missing_field",
        "not_granted",
        "rate_limited",
        "run_not_found",
        "run_over",
        "run_superseded",
    ),
)
async def hold_lease(request: Request) -> Response:
    edge, door = edge_of(request), door_of(request)
    asked = read_as(await read_json(request), RunHeartbeat)
    run = await _run_of(request, asked.domain)
    edge.authenticator.limits.publish(address_of(request), principal_of(request.scope), 1)
    entry, revived = await _hold(door, run, asked)
    value = msgspec.json.encode(_HttpLease(asked.ttl, HTTP, entry.incarnation))
    await _leases(edge).put(run.lease, value, asked.ttl)
    return json_answer(
        RunLeaseAnswer(
            run=run.name,
            domain=run.domain,  # type: ignore[arg-type]
            incarnation=entry.incarnation,
            expires_in=asked.ttl,
            stop=entry.stop is not None,
            reason=entry.stop.reason if entry.stop else None,
            revived=revived,
        )
    )


async def _hold(door: EventDoor, run: _Run, asked: RunHeartbeat) -> tuple[RunEntry, bool]:
    """Notes the lease; begins a new life where the run was failed for want of one. Raises RunConflict or BrokerError."""
    ledger = door.ledger
    # A lease of a run that nobody began would make one, which is failed when it runs out.
    if asked.incarnation is None and await ledger.read(run.domain, run.token) is None:
        raise _unknown(run.name)
    try:
        return await ledger.hold(run.domain, run.token, asked.ttl, asked.incarnation), False
    except RunEnded as over:
        if not over.synthesized:
            raise
        return await _revive(door, run, asked.ttl, REVIVED + over.event), True
    except RunSuperseded:
        # It may have been revived by a heartbeat whose answer was lost.
        entry = await ledger.read(run.domain, run.token)
        if entry is None or not _is_revival(entry, asked.incarnation):
            raise
        assert entry.incarnation is not None
        return await _revive(door, run, asked.ttl, entry.incarnation), True


def _is_revival(entry: RunEntry, incarnation: str | None) -> bool:
    return bool(
        entry.ended is None
        and (entry.incarnation or "").startswith(REVIVED)
        and entry.earlier
        and entry.earlier[-1].incarnation == incarnation
    )


async def _revive(door: EventDoor, run: _Run, ttl: float, incarnation: str) -> RunEntry:
    """Begins the life under this name, once, whoever else does the same."""
    event = Event.new(
        Subject.of(run.domain, run.name, START),
        {"incarnation": incarnation, "resumed": True},
        source="edge",
        id=incarnation,
    )
    await door.store([Accepted(event, encode(event))])
    return await door.ledger.hold(run.domain, run.token, ttl, incarnation)


@operation(
    "Release the lease of a run, once that has ended; a run that goes on is failed",
    Answer(204, "The lease is not held"),
    query=RunLeaseQuery,
    problems=("bad_subject", "not_granted"),
)
async def release_lease(request: Request) -> Response:
    query = read_query(request, RunLeaseQuery)
    run = await _run_of(request, query.domain)
    leases = _leases(edge_of(request))
    held = await leases.get(run.lease)
    lease = _lease(run.lease, held.value) if held else None
    if lease and lease.via == HTTP and query.incarnation in (None, lease.incarnation):
        await leases.delete(run.lease, MARK_SECONDS)
    return Response(status_code=204)


STOP_PROBLEMS = (
    "bad_subject", "not_granted", "run_not_found", "run_over", "command_not_found", "command_refused", "command_failed",
    "command_unanswered",
)  # fmt: skip


@operation(
    "Ask the producer of a run to stop it",
    Answer(200, "The request is on its way to the producer", RunStoppingAnswer),
    body=RunStop,
    problems=STOP_PROBLEMS,
)
async def stop_run(request: Request) -> Response:
    asked = read_as(await read_json(request), RunStop)
    return json_answer(await ask_to_stop(request, request.path_params["run"], asked.domain, asked.reason))


async def ask_to_stop(request: Request, name: str, domain: str | None, reason: str | None) -> RunStoppingAnswer:
    """Passes the request to stop a run on to its producer. Raises Problem, BadSubject, RunEnded or BrokerError."""
    edge, principal = edge_of(request), principal_of(request.scope)
    principal.require_command(STOP)
    Subject.of(RUN_DOMAINS[0], name, "stop")
    order = {"run": name, "domain": domain, "reason": reason}
    try:
        given = {name: value for name, value in order.items() if value is not None}
        answer = await give_any(edge.broker.connection, "agent", "stop", given, STOP_SECONDS)
    except Problem as problem:
        run = await _held_over_http(edge, name, domain)
        if run is None:
            if problem.code == "command_not_found" and not await _is_known(door_of(request), name, domain):
                raise _unknown(name) from None
            raise problem from None
        return await _stop_by_lease(door_of(request), run, reason, principal.id)
    said: dict[str, Any] = answer if isinstance(answer, dict) else {}
    via: Literal["nats", "http"] = "http" if said.get("via") == "http" else "nats"
    return RunStoppingAnswer(run=name, status=str(said.get("status") or "stopping"), via=via, answer=said)


async def _is_known(door: EventDoor, name: str, domain: str | None) -> bool:
    token = escape(name)
    entries = [await door.ledger.read(each, token) for each in (RUN_DOMAINS if domain is None else (domain,))]
    return any(entry is not None for entry in entries)


def _unknown(name: str) -> Problem:
    return Problem("run_not_found", f"no run {name[:60]!r} was begun; its workflow_start comes first")


async def _stop_by_lease(door: EventDoor, run: _Run, reason: str | None, by: str | None) -> RunStoppingAnswer:
    """Stores the request for the next heartbeat. Raises RunEnded or BrokerError."""
    await door.ledger.request_stop(run.domain, run.token, reason, by)
    return RunStoppingAnswer(run=run.name, domain=run.domain, status="stopping", via="http")  # type: ignore[arg-type]


async def _held_over_http(edge: Edge, name: str, domain: str | None) -> _Run | None:
    """The run of that name whose producer holds a lease by HTTP."""
    for each in RUN_DOMAINS if domain is None else (domain,):
        run = _Run(name, each, Subject.of(each, name, "stop").entity)
        held = await _leases(edge).get(run.lease)
        lease = _lease(run.lease, held.value) if held else None
        if lease and lease.via == HTTP:
            return run
    return None


async def _run_of(request: Request, domain: str | None) -> _Run:
    """The run of a request, which its principal may end. Raises Problem, BadSubject or BrokerError."""
    name, principal = request.path_params["run"], principal_of(request.scope)
    runs = [
        _Run(name, each, Subject.of(each, name, START).entity)
        for each in (RUN_DOMAINS if domain is None else (domain,))
        if domain is not None or _may_end(request, each)
    ]
    if not runs:
        principal.require_publish(Subject.of(RUN_DOMAINS[0], name, "completion"))
    run = runs[0] if len(runs) == 1 else await _begun_last(door_of(request), runs)
    for type in (START, "completion"):
        principal.require_publish(Subject.of(run.domain, name, type))
    return run


def _may_end(request: Request, domain: str) -> bool:
    subject = Subject.of(domain, request.path_params["run"], "completion")
    return principal_of(request.scope).grants.may_publish(subject)


async def _begun_last(door: EventDoor, runs: list[_Run]) -> _Run:
    """The one that lives, else the one that was begun last, else the first."""
    entries = await asyncio.gather(*(door.ledger.read(run.domain, run.token) for run in runs))
    known = [(entry.ended is None, entry.started, run) for entry, run in zip(entries, runs, strict=True) if entry]
    return max(known, key=lambda each: each[:2])[2] if known else runs[0]


def _leases(edge: Edge) -> Bucket:
    return Bucket(edge.broker.connection, LEASES, edge.store)
