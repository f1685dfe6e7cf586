"""Handles POST /events."""

from __future__ import annotations

import time

from starlette.requests import Request
from starlette.responses import Response

from edge import ingest
from edge.edge import Edge
from edge.http.body import edge_of, json_answer, leaving, read_body
from edge.idempotency import name_events
from edge.identity.door import principal_of
from router import tracing
from router.cursor import check_of, token
from router.limits import largest_event
from router.nats.stream import Ack


async def publish_events(request: Request) -> Response:
    edge = edge_of(request)
    if edge.draining:
        raise leaving()
    given, single = ingest.parse(
        await read_body(request), request.headers.get("content-type", ""), edge.settings.max_batch
    )
    principal = principal_of(request.scope)
    came_with = request.headers.get("traceparent")
    trace = tracing.begin(came_with) if came_with or tracing.recorder else None
    begun = time.time_ns()
    key = request.headers.get("idempotency-key")
    many = ingest.events(given, key, trace, principal.id)
    ingest.permit(many, principal)
    ingest.fit(many, largest_event(edge.broker.connection.max_payload, edge.settings.max_body))
    edge.door.limits.publish(edge.door.address(request.scope), principal, len(many))
    names = name_events([event for event, _ in many], [item.get("id") is not None for item in given], principal.id, key)
    acks = await ingest.publish(edge.broker, many, edge.store, names, keyed=key is not None)
    if trace:
        tracing.tell("publish", "server", came_with, trace, begun, events=len(many))
    answers = [
        {"id": each.event.id, "cursor": await cursor_of_published(edge, each, ack), "duplicate": ack.duplicate}
        for each, ack in zip(many, acks, strict=True)
    ]
    return json_answer({**(answers[0] if single else {}), "events": answers}, 201)


async def cursor_of_published(edge: Edge, accepted: ingest.Accepted, ack: Ack) -> str:
    """The cursor of an event that was just stored; a repeat has that of the first, whose bytes may be others."""
    if ack.duplicate:
        return await edge.hub.find_cursor(ack.sequence)
    return token(edge.hub.epoch, ack.sequence, check_of(accepted.payload))
