"""Handles GET /actors: lists the instances of all actors, with what their processes say of themselves and whether they live."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from edge.auth.grants import Grants
from edge.http.bodies.actors import ActorCrash, ActorsAnswer, ListedActor
from edge.http.body import edge_of, json_answer
from edge.http.command_list import services
from edge.http.credentials import principal_of
from edge.http.openapi.operation import Answer, operation
from edge.presence import EntityState, Presence
from router.subject import escape, unescape

# 1000: more than any system has; what answers is not ours alone.
MAX_ACTORS = 1000
# Actors whose state people watch are named as the domain of what they say.
WATCHED = ("camera", "octane")


@operation(
    "List the actors that serve, hold a lease or have ended within a day, as far as the token may command them",
    Answer(200, "By name and instance", ActorsAnswer),
)
async def list_actors(request: Request) -> Response:
    edge, grants = edge_of(request), principal_of(request.scope).grants
    connection = edge.broker.connection
    told, figures = await asyncio.gather(services(connection), services(connection, "STATS"))
    states = {(state.domain, state.id): state for domain in WATCHED for state in await edge.presence.all(domain)}
    stats = {each.get("id"): each for each in figures if isinstance(each, dict)}
    found = [
        actor
        for each in told[:MAX_ACTORS]
        if (actor := _serving(each, stats.get(each.get("id")) if isinstance(each, dict) else None)) is not None
    ]
    for actor in found:
        if (state := states.get((actor.actor, actor.instance))) is not None:
            actor.status, actor.reason = state.status, state.reason
    serving = {(actor.actor, actor.instance) for actor in found}
    found += _absent(edge.presence, states, serving)
    shown = [actor for actor in found if _may_see(grants, actor)]
    shown.sort(key=lambda actor: (actor.actor, actor.instance, actor.id or ""))
    return json_answer(ActorsAnswer(shown))


def _serving(told: Any, stats: Any) -> ListedActor | None:
    """The actor that a micro service is; None for a service that takes no commands."""
    endpoints = told.get("endpoints") if isinstance(told, dict) else None
    addresses = [
        [unescape(token) for token in str(each.get("subject")).split(".")[1:]]
        for each in (endpoints if isinstance(endpoints, list) else ())
        if isinstance(each, dict) and str(each.get("subject")).startswith("cmd.")
    ]
    addresses = [address for address in addresses if len(address) == 3]
    if not addresses:
        return None
    name, instance, _ = addresses[0]
    metadata = told.get("metadata")
    subjects = str(metadata.get("subjects") or "").split() if isinstance(metadata, dict) else []
    actor = ListedActor(
        actor=name,
        instance=instance,
        id=str(told.get("id")),
        state="running",
        about=str(told.get("description") or ""),
        subjects=subjects,
        commands=sorted(command for _, _, command in addresses),
    )
    return _measured(actor, stats)


def _measured(actor: ListedActor, stats: Any) -> ListedActor:
    """The actor with the figures of its service; those that are not as they should be are left out."""
    match stats:
        case {"started": str(started), "endpoints": list(endpoints)}:
            actor.since = started
            each = [endpoint for endpoint in endpoints if isinstance(endpoint, dict)]
            actor.requests = sum(count for e in each if isinstance(count := e.get("num_requests"), int))
            actor.errors = sum(count for e in each if isinstance(count := e.get("num_errors"), int))
    match stats:
        case {"data": {"restarts": int(restarts), "mailbox": int(mailbox), "release": str(release), **more}}:
            actor.restarts, actor.mailbox, actor.version = restarts, mailbox, release
            published = more.get("published")
            if isinstance(published, dict):
                actor.publishes = {str(kind): count for kind, count in published.items() if isinstance(count, int)}
            match more.get("crash"):
                case {"at": str(at), "error": str(error)}:
                    actor.crash = ActorCrash(at, error)
    return actor


def _absent(
    presence: Presence, states: dict[tuple[str, str], EntityState], serving: set[tuple[str, str]]
) -> list[ListedActor]:
    """Actors that do not answer: their processes hold their leases, or what people watch of them says that it is gone."""
    living = [place for place in presence.living() if place not in serving]
    silent = [ListedActor(actor=name, instance=instance, state="silent") for name, instance in living]
    gone = [
        ListedActor(
            actor=state.domain,
            instance=state.id,
            state="gone",
            since=state.since,
            status=state.status,
            reason=state.reason,
        )
        for place, state in states.items()
        if state.gone and place not in serving and place not in living
    ]
    return [*silent, *gone]


def _may_see(grants: Grants, actor: ListedActor) -> bool:
    """Whether somebody is shown an actor: operators, and who may give it a command."""
    address = f"{escape(actor.actor)}.{escape(actor.instance)}"
    return grants.operate or any(grants.may_command(f"{address}.{escape(name)}") for name in _names(actor))


def _names(actor: ListedActor) -> list[str]:
    return actor.commands or ["log_level"]
