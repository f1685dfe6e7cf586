"""Bodies, queries and answers of sessions, tickets and tokens."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from edge.http.bodies.webhooks import AttemptAnswer
from edge.sessions.answer import MaybeTime, SessionAnswer, Time
from edge.sessions.body import CURSOR, MAX_RATE, MIN_RATE, DeliveryMethod, Last
from edge.transports import polling

MAX_TEST_WAIT = 60.0
# Of what one answer looks back over: as many as `last` may name.
MAX_BACK = 100_000


class LimitQuery(msgspec.Struct, frozen=True, kw_only=True):
    """The length of a list."""

    limit: Annotated[int, Meta(ge=1, le=1000, description="At most so many.")] = 100


class SessionsQuery(LimitQuery, frozen=True, kw_only=True):
    """A page of the sessions, oldest first."""

    offset: Annotated[int, Meta(ge=0, le=10**9, description="Skip so many.")] = 0
    live: Annotated[
        bool, Meta(description="Also who reads each just now, on all replicas, and how each webhook's endpoint is.")
    ] = False
    q: Annotated[
        Annotated[str, Meta(max_length=200)] | None,
        Meta(
            description="Only sessions with this text in their name, id, owner, subjects, event types, filter or the "
            "address of their webhook; upper and lower case alike.",
        ),
    ] = None
    delivery_method: Annotated[DeliveryMethod | None, Meta(description="Only sessions with this.")] = None
    newest: Annotated[bool, Meta(description="Newest first.")] = False


class StartQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Where reading begins: at one of these, or where the session does."""

    cursor: Annotated[str | None, CURSOR] = None
    since: Annotated[
        str | None,
        Meta(
            description="Begin at this time: RFC 3339, or seconds or milliseconds since the epoch. The `timestamp` of an event "
            "in an answer to a poll, sent back unchanged, begins exactly behind that event.",
            extra_json_schema={"type": ["string", "number"]},
        ),
    ] = None
    last: Last = None


class PaceQuery(StartQuery, frozen=True, kw_only=True):
    """How much is shown of what there is; left out, as the session says."""

    conflate: Annotated[bool | None, Meta(description="Leave out events that a newer one supersedes.")] = None
    max_rate: Annotated[
        Annotated[float, Meta(ge=MIN_RATE, le=MAX_RATE)] | None,
        Meta(
            description="Writes a second at most. A poll that may `wait` is answered so long after it was sent, at most a second, "
            "that a client which polls all the time gets so many answers."
        ),
    ] = None


class PollQuery(PaceQuery, frozen=True, kw_only=True):
    """One poll."""

    limit: Annotated[int, Meta(ge=1, le=polling.MAX_LIMIT, description="At most so many.")] = polling.DEFAULT_LIMIT
    wait: Annotated[
        float, Meta(ge=0, le=polling.MAX_WAIT, description="Wait so many seconds for the first event (long polling).")
    ] = 0.0


class EventsQuery(PollQuery, frozen=True, kw_only=True):
    """Events that are read without a session, from now on where no place is given."""

    subjects: Annotated[
        str | None, Meta(description="Patterns such as `agent.run-42.>`, with commas between them. Left out: all.")
    ] = None
    types: Annotated[str | None, Meta(description="Event types, with commas between them. Left out: all.")] = None
    filter: Annotated[str | None, Meta(description="CEL, such as `data.progress > 0.5`.")] = None
    include_intermediate_results: bool = True
    dialect: Literal["callback", "cloudevents"] = "callback"
    back: Annotated[
        Annotated[int, Meta(ge=0, le=MAX_BACK)] | None,
        Meta(
            description="Begin up to so many events, whatever their subjects, before `cursor` (or `since`, or `last`), at the place "
            "that the answer says as `begin`. Who asks again with that as `cursor` reads the past backwards; where nothing older is "
            "kept, both are the same place."
        ),
    ] = None


class StreamQuery(PaceQuery, frozen=True, kw_only=True):
    """A stream of events."""

    ticket: Annotated[str | None, Meta(description="From `POST /tickets`, where no Authorization can be sent.")] = None


class SseQuery(StreamQuery, frozen=True, kw_only=True):
    """A stream of server-sent events."""

    lastEventId: Annotated[
        str | None,
        Meta(
            description="As the header Last-Event-ID, for clients that set no header; also `lastEventID` and "
            "`last_event_id`. Takes precedence over cursor, since and last."
        ),
    ] = None


class SocketQuery(StreamQuery, frozen=True, kw_only=True):
    """A WebSocket."""

    start: Annotated[
        Literal["message"] | None,
        Meta(
            description='The first message says where reading begins: {"control":"resume","cursor":…}, or since, or last.'
        ),
    ] = None
    controls: Annotated[
        Literal["all"] | None,
        Meta(
            description="`all`: beside ready, gap and bye also heartbeat, position, slowed and expiring, of which a client is "
            "otherwise told nothing; ping and pong frames tell that the connection is alive."
        ),
    ] = None


class SessionTestQuery(msgspec.Struct, frozen=True):
    """How long a test waits."""

    wait: Annotated[
        float, Meta(ge=0, le=MAX_TEST_WAIT, description="Wait at most so many seconds for a webhook's first attempt.")
    ] = 0.0


class SessionTestRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The test event to send."""

    event_type: str = "progress"
    test_data: Annotated[
        dict[str, Any] | UnsetType, Meta(description="Left out, it has the fields that the guide shows for the type.")
    ] = UNSET


class SessionTestAnswer(msgspec.Struct, kw_only=True):
    """What became of a test event; webhooks alone have `endpoint` and `attempt`."""

    status: Annotated[
        Literal["published", "delivered", "failed", "held", "not_matched"],
        Meta(
            description="`held`: the endpoint is disabled, or its receiver has not agreed yet, and the event waits. "
            "`not_matched`: the event was published, but does not match the session's own subjects or filter."
        ),
    ]
    success: Annotated[
        bool | None, Meta(description="Null for a webhook as long as no attempt is known; ask with `wait`.")
    ]
    session_id: str
    event_id: str
    event_type: str
    timestamp: Time
    cursor: str
    endpoint: Annotated[
        str | UnsetType, Meta(description="The state of the webhook's circuit breaker, or `pending`.")
    ] = UNSET
    attempt: AttemptAnswer | UnsetType | None = UNSET
    detail: Annotated[str | UnsetType, Meta(description="Why the session does not match its test event.")] = UNSET


class SessionsAnswer(msgspec.Struct):
    """A page of sessions."""

    sessions: list[SessionAnswer]
    total: int


class ReadersAnswer(msgspec.Struct):
    """Connected readers by transport."""

    websocket: int
    sse: int
    polling: int


class Totals(msgspec.Struct, kw_only=True):
    """What became of events, over all replicas."""

    events_sent: int
    events_delivered: int
    events_failed: int
    events_dropped: int
    retries: int
    queued_events: int
    has_websocket: bool
    has_sse: bool
    delivery_rate: Annotated[float, Meta(description="From 0 to 1, of the events that are settled.")]
    readers: ReadersAnswer
    conflated: int
    spills: int
    gaps: int
    slowed: int
    lag_events: int
    oldest_event_seconds: float
    last_delivery_at: float | None
    last_error: str | None


class ConnectionAnswer(msgspec.Struct):
    """One connection that reads a session."""

    transport: Literal["websocket", "sse", "polling"]
    state: Annotated[
        Literal["connecting", "replaying", "live", "lagging", "closed"],
        Meta(description="`lagging`: it is too slow for the live path, and reads from the store."),
    ]
    since: Time
    lag_events: int


class StatsAnswer(Totals, kw_only=True):
    """What became of a session's events, over all replicas."""

    session_id: str
    connections: Annotated[
        list[ConnectionAnswer],
        Meta(description="Who reads it just now, the longest connected first; at most a hundred of each replica."),
    ]


class OverallStatsAnswer(Totals, kw_only=True):
    """What became of all events, over sessions and replicas."""

    active_sessions: int
    sessions_by_method: dict[str, int]
    edges: int
    uptime_seconds: float


class RefreshAnswer(msgspec.Struct):
    """How many connections the new token serves, over all replicas, and until when."""

    session_id: str
    expires_at: MaybeTime
    connections: int


class MeAnswer(msgspec.Struct):
    """A principal and its grants, as subject patterns; the id is null where no keys are configured."""

    id: str | None
    read: list[str]
    publish: list[str]
    command: list[str]
    operate: bool
    expires_at: MaybeTime


class TicketRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a ticket is for: the stream of one of `session_id`, `camera`, `octane` and `path`, or `sign_in`."""

    session_id: str | None = None
    camera: str | None = None
    octane: str | None = None
    path: (
        Annotated[
            str,
            Meta(
                pattern="^/",
                max_length=1000,
                description="The path of any other stream, such as `/agent-run/run-42/stream`.",
            ),
        ]
        | None
    ) = None
    transport: Literal["websocket", "sse", "mjpeg", "snapshot", "mp4", "whep"] | None = None
    sign_in: Annotated[
        bool, Meta(description="Whether `POST /tickets/redeem` gives the token of this request for it, once.")
    ] = False


class TicketAnswer(msgspec.Struct):
    """A ticket, and the seconds for which it is valid."""

    ticket: str
    expires_in: float


class RedeemRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A sign-in ticket."""

    ticket: Annotated[str, Meta(max_length=100)]


class RedeemAnswer(msgspec.Struct):
    """The token that a sign-in ticket stands for."""

    token: str
