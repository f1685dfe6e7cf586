"""Handles a webhook's delivery: its attempts, and the request that it makes."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from edge.errors import Problem
from edge.http.bodies.webhooks import DeliveryAnswer
from edge.http.body import edge_of, json_answer
from edge.http.openapi.operation import Answer, operation
from edge.http.webhooks import parse_delivery, webhook_of
from edge.sessions.endpoint.settings import EndpointSettings
from edge.webhooks.client.payload import Payload
from edge.webhooks.history.attempt import Attempt
from edge.webhooks.history.recovery import SHOWN_EVENTS

MAX_BODY = 65_536
STARS = "***"


@operation(
    "Read one delivery: its attempts, oldest first, and the request that it makes",
    Answer(200, "The delivery", DeliveryAnswer),
    problems=("attempt_not_found", "not_a_webhook"),
)
async def read_delivery(request: Request) -> Response:
    edge = edge_of(request)
    session, endpoint = await webhook_of(request)
    delivery = parse_delivery(request.path_params["delivery"], "bad_parameter")
    attempts = await edge.recoveries.attempts.of(session.id, delivery)
    if not attempts:
        raise Problem("attempt_not_found", f"no delivery {delivery!r} of this session is known")
    posted = await edge.recoveries.posted(session, attempts[-1], edge.hub.epoch)
    return json_answer(
        {
            "session_id": session.id,
            "delivery": delivery,
            "webhook_id": f"msg_{delivery}",
            "attempts": [attempt.describe() for attempt in attempts],
            "request": None if posted is None else _request(session.id, endpoint, attempts[-1], posted),
        }
    )


def _request(session_id: str, endpoint: EndpointSettings, attempt: Attempt, posted: Payload) -> dict[str, object]:
    """The request as it is shown: the headers that somebody set, and signatures, are starred."""
    body = posted.body.decode(errors="replace")
    headers = {
        **dict.fromkeys(endpoint.headers, STARS),
        "Content-Type": posted.content_type,
        "X-Callboard-Session": session_id,
        **posted.headers,
        "webhook-id": f"msg_{attempt.delivery}",
        "webhook-timestamp": str(attempt.begun // 1_000_000_000),
        "webhook-signature": STARS,
    }
    return {
        "method": "POST",
        "url": endpoint.describe()["webhook_url"],
        "headers": headers,
        "body": body[:MAX_BODY],
        "truncated": len(body) > MAX_BODY or len(attempt.parts) > SHOWN_EVENTS,
    }
