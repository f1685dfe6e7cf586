"""The request bodies that create and change a session: types, bounds and defaults, which are also their documentation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import Meta

from edge.dialects.table import SESSION_DIALECTS
from edge.sessions.endpoint.body import EndpointBody
from edge.view import MAX_PATTERNS, MAX_TYPES

DeliveryMethod = Literal["websocket", "sse", "polling", "webhook"]
if TYPE_CHECKING:
    DialectName = str
else:
    DialectName = Literal[tuple(SESSION_DIALECTS)]

# From one write in ten seconds, for a wall display, to a thousand, past which a rate has no effect.
MIN_RATE, MAX_RATE = 0.1, 1000.0
# A year: longer than any retention, so a larger number is a mistake (milliseconds, say).
MAX_TTL = 366 * 86400.0
MAX_LAST = 100_000

CURSOR = Meta(
    description="Opaque; cursors sort within one life of the stream. `earliest` and `now` are accepted as well, and `snapshot`: "
    "the newest event of each subject whose type is of class `latest` comes first, then all that is stored after these. "
    "That is one event a subject, not one for each key of its type: of two campaigns or metrics that share a subject only the last.",
    examples=["1-5f3a9c1e-00000000002a-9b1c04e2"],
)
Last = Annotated[
    Any,
    Meta(
        description="Begin with the newest N events.",
        extra_json_schema={"type": ["integer", "null"], "minimum": 0, "maximum": MAX_LAST},
    ),
]
EventTypes = Annotated[list[Annotated[str, Meta(pattern="^[a-z][a-z0-9_]{0,63}$")]], Meta(max_length=MAX_TYPES)]
Patterns = Annotated[list[str], Meta(max_length=MAX_PATTERNS)]
FilterText = Annotated[str, Meta(max_length=2000)]


class SessionChange(EndpointBody, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What can be changed of a session; a field that is null goes back to its default."""

    events: Annotated[EventTypes | None, Meta(description="Event types; all where it is left out.")] = None
    subjects: Annotated[
        Patterns | None,
        Meta(description="Patterns such as `agent.run-42.>`. Left out: all, and what is addressed to the session."),
    ] = None
    filter: Annotated[FilterText | None, Meta(description="CEL, such as `data.progress > 0.5`.")] = None
    include_intermediate_results: bool = True
    name: Annotated[str, Meta(max_length=200)] | None = None
    conflate: Annotated[bool, Meta(description="Leave out events that a newer one supersedes; not for webhooks.")] = (
        False
    )
    max_rate: Annotated[
        Annotated[float, Meta(ge=MIN_RATE, le=MAX_RATE)] | None,
        Meta(description="Writes a second at most; a webhook has `rate`."),
    ] = None
    ttl: Annotated[
        Annotated[float, Meta(ge=0, le=MAX_TTL)] | None,
        Meta(
            description="Seconds without a reader, from 1, after which the session expires; of a webhook, seconds in which "
            "nothing was posted and nothing waits. 0: never."
        ),
    ] = None
    alert_actions: Annotated[
        bool,
        Meta(
            description="The receiver of this webhook may act on the alerts that it is posted, by calls that it signs; needs the "
            "commands `alerts.main.*`. Alerts whose audience is the session's owner need no permission."
        ),
    ] = False


class NewSession(SessionChange, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A session to create, and where it begins: at one of `cursor`, `since` and `last`, or now."""

    delivery_method: DeliveryMethod = "websocket"
    dialect: DialectName = "callback"
    cursor: Annotated[str | None, CURSOR] = None
    since: Annotated[
        str | None, Meta(description="Begin at this time: RFC 3339, or seconds or milliseconds since the epoch.")
    ] = None
    last: Last = None
