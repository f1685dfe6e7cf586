"""This file is where the HTTP surface is described as OpenAPI 3.1; a test compares it with the routes, both ways."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from edge import settings as policy
from edge.deadletters.query import FIELDS as LETTER_FIELDS
from edge.deadletters.redrive_job import DEFAULT_RATE, MAX_RATE, MIN_RATE
from edge.errors import TITLES
from edge.http import session_test as trial
from edge.http.ingest import FIELDS
from edge.http.openapi import webhooks as schemas
from edge.sessions.endpoint import body as endpoint
from edge.stats import Stats, describe
from edge.webhooks.endpoint import state_changes as news
from edge.webhooks.history import recovery_job as recovery
from router.deadletter import ORIGINS

VERSION = "0.1.0"

_TEXT: dict[str, Any] = {"type": "string"}
_CURSOR: dict[str, Any] = {
    "type": "string",
    "description": "Opaque; it sorts within one life of the stream. `earliest` and `now` are taken too.",
    "examples": ["1-5f3a9c1e-00000000002a-9b1c04e2"],
}
_OBJECT: dict[str, Any] = {"type": "object", "additionalProperties": True}
_TIME: dict[str, Any] = {"type": "string", "format": "date-time"}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _json(schema: Mapping[str, Any], description: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _bytes(kind: str, description: str) -> dict[str, Any]:
    return {"description": description, "content": {kind: {"schema": {}}}}


def _object(properties: Mapping[str, Any], required: list[str] | None = None, closed: bool = False) -> dict[str, Any]:
    shape: dict[str, Any] = {"type": "object", "properties": dict(properties)}
    if required:
        shape["required"] = required
    if closed:
        shape["additionalProperties"] = False
    return shape


def _list(name: str, items: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return _object({name: {"type": "array", "items": dict(items)}, **more}, [name])


def _query(name: str, schema: Mapping[str, Any], description: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": dict(schema), "description": description}


def _path(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": _TEXT}


def _operation(
    summary: str,
    answers: Mapping[str, Any],
    *problems: str,
    parameters: list[dict[str, Any]] | None = None,
    body: Mapping[str, Any] | None = None,
    secured: bool = True,
) -> dict[str, Any]:
    responses = dict(answers)
    by_status: dict[str, list[str]] = {}
    # The checks before every route, and the errors that any route can meet.
    for code in (
        *problems,
        *(_DOOR if secured else ()),
        "bad_header",
        "forbidden_origin",
        "forbidden_host",
        "internal",
    ):
        by_status.setdefault(str(TITLES[code][0]), []).append(code)
    for status, codes in by_status.items():
        responses[status] = {
            "description": ", ".join(codes),
            "content": {"application/problem+json": {"schema": _ref("Problem")}},
        }
    made: dict[str, Any] = {"summary": summary, "responses": responses}
    if not secured:
        made["security"] = []
    if parameters:
        made["parameters"] = parameters
    if body:
        made["requestBody"] = dict(body)
    return made


# What is answered to who brings no token, a bad one, or too many of them; only where keys are configured.
_DOOR = ("token_required", "bad_token", "token_expired", "token_in_query", "rate_limited", "keys_unavailable")
_TICKET = ("bad_ticket", "not_granted", "too_many")
_BODY = ("bad_json", "bad_body", "unknown_field", "body_too_large", "request_timeout")
_STORE = ("broker_unavailable", "storage_full", "no_quorum", "stream_missing", "write_failed", "store_forbidden")
_START = [
    _query("cursor", _CURSOR, "Begin after this cursor."),
    _query(
        "since",
        {"type": ["string", "number"]},
        "Begin at this time: RFC 3339, or seconds or milliseconds since the epoch. The `timestamp` of an event in an answer to "
        "a poll, sent back as it came, begins exactly behind that event.",
    ),
    _query("last", {"type": "integer", "minimum": 0, "maximum": 100000}, "Begin with the newest N events."),
]
_PACE = [
    _query("conflate", {"type": "boolean"}, "Leave out what a newer event stands for."),
    _query("max_rate", {"type": "number", "minimum": 0.1, "maximum": 1000}, "At most so many writes a second."),
]
_TICKET_QUERY = _query("ticket", _TEXT, "Of `POST /tickets`, where no Authorization can be sent.")
_TO_PAGE = {"307": {"description": "The page, by a relative Location", "headers": {"Location": {"schema": _TEXT}}}}
_SUBPROTOCOLS = {
    "name": "Sec-WebSocket-Protocol",
    "in": "header",
    "schema": _TEXT,
    "description": (
        "`callboard.v1`, and where no Authorization can be sent `callboard.v1, bearer.<token>`. The answer names `callboard.v1` "
        "where it was offered, and never the token; other names are passed over."
    ),
}
_EXPIRES = {"type": ["string", "null"], "format": "date-time"}
_LIMIT = _query("limit", {"type": "integer", "minimum": 1, "maximum": 1000}, "At most so many.")


@cache
def document() -> dict[str, Any]:
    """The whole description; built once."""
    session = [_path("session_id")]
    entity = [_path("entity"), _query("track", _TEXT, "Which track of a source that has several.")]
    websocket = {
        "101": {
            "description": "A WebSocket. Refusals are told in band, then closed with a code from 4000.",
            "headers": {
                "Sec-WebSocket-Protocol": {"schema": _TEXT, "description": "`callboard.v1`, where it was offered."}
            },
        },
        "426": {
            "description": "websocket_version",
            "content": {"application/problem+json": {"schema": _ref("Problem")}},
        },
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Callboard",
            "version": VERSION,
            "description": "Realtime events from JetStream to sessions, over WebSocket, SSE, webhook and polling, by one cursor.",
        },
        "security": [{"bearer": []}],
        "paths": {
            "/": {"get": _operation("The console", {"200": _bytes("text/html", "The page")}, secured=False)},
            **{
                path: {"get": _operation("To the console", dict(_TO_PAGE), secured=False)}
                for path in ("/console", "/console/")
            },
            "/callbacks/sessions": {
                "get": _operation(
                    "List sessions",
                    {"200": _json(_list("sessions", _ref("Session"), total={"type": "integer"}), "The sessions")},
                    "bad_parameter",
                    parameters=[_LIMIT, _query("offset", {"type": "integer", "minimum": 0}, "Skip so many.")],
                ),
                "post": _operation(
                    "Create a session",
                    {"201": _json(_ref("CreatedSession"), "The session; its webhook secret is shown this once")},
                    *_BODY,
                    "bad_webhook",
                    "missing_field",
                    "bad_pattern",
                    "bad_filter",
                    "bad_cursor",
                    "not_granted",
                    "too_many",
                    "session_store_full",
                    *_STORE,
                    body={"content": {"application/json": {"schema": _ref("NewSession")}}},
                ),
            },
            "/callbacks/sessions/{session_id}": {
                "get": _operation(
                    "Read a session",
                    {"200": _json(_ref("Session"), "The session")},
                    "session_not_found",
                    *_STORE,
                    parameters=session,
                ),
                "patch": _operation(
                    "Change a session; its readers go on under it",
                    {"200": _json(_ref("Session"), "The session as it is now")},
                    *_BODY,
                    "bad_webhook",
                    "bad_pattern",
                    "bad_filter",
                    "session_not_found",
                    "not_granted",
                    "session_changed",
                    *_STORE,
                    parameters=session,
                    body={"content": {"application/json": {"schema": _ref("SessionChange")}}},
                ),
                "delete": _operation(
                    "Delete a session; its readers are told and closed",
                    {"204": {"description": "Deleted"}},
                    "session_not_found",
                    *_STORE,
                    parameters=session,
                ),
            },
            "/callbacks/sessions/{session_id}/stats": {
                "get": _operation(
                    "What became of a session's events",
                    {"200": _json(_ref("Stats"), "Added up over all replicas")},
                    "session_not_found",
                    *_STORE,
                    parameters=session,
                ),
            },
            "/callbacks/sessions/{session_id}/test": {
                "post": _operation(
                    "Send a test event on the path of real ones, and wait for the answer of a webhook",
                    {"200": _json(_trial_schema(), "Stored; `cursor` says where, `attempt` what a webhook answered")},
                    *_BODY,
                    "bad_parameter",
                    "bad_subject",
                    "bad_event",
                    "session_not_found",
                    "not_a_webhook",
                    "storage_refused",
                    *_STORE,
                    parameters=[
                        *session,
                        _query(
                            "wait",
                            {"type": "number", "minimum": 0, "maximum": trial.MAX_WAIT},
                            "Wait at most so many seconds for a webhook's first attempt.",
                        ),
                    ],
                    body={
                        "content": {
                            "application/json": {
                                "schema": _object({"event_type": _TEXT, "test_data": _OBJECT}, closed=True)
                            }
                        }
                    },
                ),
            },
            **_webhook_paths(session),
            "/callbacks/sessions/{session_id}/events": {
                "get": _operation(
                    "Read by polling; with `wait`, by long polling",
                    {"200": _json(_ref("Page"), "Events after the cursor, oldest first")},
                    "bad_cursor",
                    "bad_parameter",
                    "session_not_found",
                    "not_granted",
                    "too_many",
                    *_STORE,
                    parameters=[
                        *session,
                        *_START,
                        _LIMIT,
                        _query(
                            "wait",
                            {"type": "number", "minimum": 0, "maximum": 50},
                            "Wait so many seconds for the first event.",
                        ),
                    ],
                ),
            },
            "/callbacks/sessions/{session_id}/sse": {
                "get": _operation(
                    "Read as server-sent events",
                    {
                        "200": _bytes(
                            "text/event-stream",
                            (
                                "Application events without `event:`; `ready`, `gap`, `slowed`, `bye` are named; `id:` is the cursor. Who "
                                "accepts text/event-stream by name gets 429 and 5xx as a stream of one `bye` with `retry:`"
                            ),
                        )
                    },
                    "bad_cursor",
                    "bad_parameter",
                    "session_not_found",
                    "draining",
                    *_TICKET,
                    *_STORE,
                    parameters=[
                        *session,
                        *_START,
                        *_PACE,
                        _TICKET_QUERY,
                        {
                            "name": "Last-Event-ID",
                            "in": "header",
                            "schema": _TEXT,
                            "description": (
                                "The `id:` of the last event read. Wins over the query. A text that is no cursor is "
                                "answered by `gap`, and reading begins where it would without it."
                            ),
                        },
                        {
                            "name": "lastEventId",
                            "in": "query",
                            "schema": _TEXT,
                            "description": (
                                "The same for clients that set no header; also `lastEventID` and `last_event_id`. Wins "
                                "over cursor, since and last."
                            ),
                        },
                    ],
                ),
            },
            "/callbacks/sessions/{session_id}/ws": {
                "get": {
                    "summary": "Read over WebSocket",
                    "parameters": [
                        *session,
                        *_START,
                        {
                            "name": "start",
                            "in": "query",
                            "schema": {"enum": ["message"]},
                            "description": 'The first message says where: {"control":"resume","cursor":…} or since, last.',
                        },
                        *_PACE,
                        _TICKET_QUERY,
                        _SUBPROTOCOLS,
                    ],
                    "responses": websocket,
                }
            },
            "/callbacks/sessions/{session_id}/refresh": {
                "post": _operation(
                    "Take the token of this request for the connections that its principal has to the session",
                    {
                        "200": _json(
                            _object({"session_id": _TEXT, "expires_at": _EXPIRES, "connections": {"type": "integer"}}),
                            "How many connections go on, over all replicas, and until when",
                        )
                    },
                    "session_not_found",
                    "not_granted",
                    *_STORE,
                    parameters=session,
                )
            },
            "/callbacks/stats": {
                "get": _operation(
                    "What became of all events",
                    {"200": _json(_OBJECT, "Added up over sessions and replicas")},
                    "operator_only",
                    *_STORE,
                )
            },
            "/me": {
                "get": _operation(
                    "Who the token proves, and what it allows; without keys everybody may do everything, and the id is null",
                    {
                        "200": _json(
                            _object(
                                {
                                    "id": {"type": ["string", "null"]},
                                    **{
                                        right: {"type": "array", "items": _TEXT}
                                        for right in ("read", "publish", "command")
                                    },
                                    "operate": {"type": "boolean"},
                                    "expires_at": _EXPIRES,
                                }
                            ),
                            "Its grants, as subject patterns",
                        )
                    },
                )
            },
            "/tickets": {
                "post": _operation(
                    "Get what a browser can put into an address: good once, for one stream, and not for long",
                    {
                        "201": _json(
                            _object({"ticket": _TEXT, "expires_in": {"type": "number"}}, ["ticket", "expires_in"]),
                            "Open the stream with `?ticket=`; the answer gives a cookie, with which the same address "
                            "can be opened again until the token ends",
                        )
                    },
                    *_BODY,
                    "session_not_found",
                    "not_granted",
                    *_STORE,
                    body={
                        "required": True,
                        "content": {
                            "application/json": {
                                "schema": _object(
                                    {
                                        "session_id": _TEXT,
                                        "camera": _TEXT,
                                        "octane": _TEXT,
                                        "transport": {"enum": ["websocket", "sse", "mjpeg", "snapshot"]},
                                    },
                                    closed=True,
                                )
                            }
                        },
                    },
                )
            },
            "/events": {
                "post": _operation(
                    "Publish one event or a batch",
                    {"201": _json(_ref("Published"), "Every event is stored")},
                    *_BODY,
                    "missing_field",
                    "bad_subject",
                    "bad_event",
                    "bad_parameter",
                    "idempotency_key_reused",
                    "forbidden_subject",
                    "not_granted",
                    "batch_too_large",
                    "event_too_large",
                    "unsupported_media_type",
                    "storage_refused",
                    "draining",
                    *_STORE,
                    parameters=[
                        {
                            "name": "Idempotency-Key",
                            "in": "header",
                            "schema": {"type": "string", "maxLength": 200},
                            "description": "A repeat by the same principal within two minutes is stored once, and gets the "
                            "first answer; another body under the same key is refused.",
                        }
                    ],
                    body={
                        "required": True,
                        "content": {
                            "application/json": {
                                "schema": {
                                    "oneOf": [
                                        _ref("NewEvent"),
                                        {"type": "array", "items": _ref("NewEvent"), "minItems": 1, "maxItems": 1000},
                                        _list("events", _ref("NewEvent")),
                                    ]
                                }
                            },
                            "application/msgpack": {"schema": {}},
                            "application/x-ndjson": {"schema": {}},
                        },
                    },
                ),
            },
            **_deadletters(),
            "/runs": {
                "get": _operation(
                    "The latest state of every run",
                    {"200": _json(_list("runs", _OBJECT), "Newest first")},
                    "bad_parameter",
                    *_STORE,
                    parameters=[_LIMIT],
                )
            },
            "/commands/{actor}/{instance}/{command}": {
                "post": _operation(
                    'Give an actor a command, such as `agent/main/stop` with `{"run":"run-42"}`',
                    {"200": _json({}, "What the actor answers")},
                    "bad_json",
                    "bad_body",
                    "bad_parameter",
                    "body_too_large",
                    "not_granted",
                    "command_not_found",
                    "command_refused",
                    "command_failed",
                    "command_unanswered",
                    *_STORE,
                    parameters=[
                        *(_path(name) for name in ("actor", "instance", "command")),
                        {
                            "name": "timeout",
                            "in": "query",
                            "schema": {"type": "number", "minimum": 0.1, "maximum": 30, "default": 5},
                            "description": "Seconds. What is not answered in time may have been done all the same.",
                        },
                    ],
                    body={"content": {"application/json": {"schema": _OBJECT}}},
                )
            },
            "/runs/{run}": {
                "get": _operation(
                    "The latest state of one run",
                    {"200": _json(_OBJECT, "The run")},
                    "run_not_found",
                    *_STORE,
                    parameters=[_path("run")],
                )
            },
            "/alerts": {
                "get": _operation(
                    "The latest word of every alert rule about every entity",
                    {"200": _json(_list("alerts", _OBJECT), "Newest first")},
                    "bad_parameter",
                    *_STORE,
                    parameters=[_LIMIT],
                )
            },
            "/cameras": {
                "get": _operation(
                    "The cameras", {"200": _json(_list("cameras", _OBJECT), "What each said last")}, *_STORE
                )
            },
            "/octanes": {
                "get": _operation(
                    "The Octane renders", {"200": _json(_list("octanes", _OBJECT), "What each said last")}, *_STORE
                )
            },
            **_pictures("/cameras/{entity}", "camera", entity, websocket),
            **_pictures("/octane/{entity}", "octane", entity, websocket),
            "/livez": {
                "get": _operation("Whether the process lives", {"200": _json(_OBJECT, "It does")}, secured=False)
            },
            "/readyz": {
                "get": _operation(
                    "Whether it can serve",
                    {
                        "200": _json(
                            _OBJECT, "It can; `shortages` says what it lacked for webhooks in the last ten minutes"
                        ),
                        "503": _json(
                            _OBJECT,
                            "It cannot; `checks` says why, and `store` which streams take no writes: code and text of each",
                        ),
                    },
                    secured=False,
                )
            },
            "/metrics": {
                "get": _operation(
                    "Prometheus metrics",
                    {"200": _bytes("text/plain", "Text or OpenMetrics, as asked")},
                    "operator_only",
                )
            },
            "/openapi.json": {
                "get": _operation("This description", {"200": _json(_OBJECT, "OpenAPI 3.1")}, secured=False)
            },
        },
        "webhooks": {"system.webhook": {"post": _news_post()}},
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "Needed where keys are configured. The claim `callboard` lists the patterns that may "
                    "be read, published and commanded: `{read, publish, command, operate}`.",
                }
            },
        },
    }


def _deadletters() -> dict[str, Any]:
    """What there is to be done with deliveries that were given up."""
    said = {
        "origin": {"enum": list(ORIGINS)},
        "name": {**_TEXT, "description": "A session, an actor, or the stream that it was taken from."},
        "reason": _TEXT,
        "subject": {**_TEXT, "description": "A pattern of the event's subject."},
        "event": {**_TEXT, "description": "The event's id."},
        "since": {**_TEXT, "description": "Buried then or later: RFC 3339, or seconds since the epoch."},
        "until": {**_TEXT, "description": "Buried before then."},
        "text": {
            **_TEXT,
            "description": "Stands in the detail, the destination or the texts of the event; case does not matter.",
        },
    }
    assert set(said) == set(LETTER_FIELDS)
    chosen = _object(said, closed=True)

    def body(properties: dict[str, Any], required: list[str] | None = None) -> dict[str, Any]:
        schema = _object(properties, required, closed=True)
        return {"required": True, "content": {"application/json": {"schema": schema}}}

    letter, job = [_path("id")], [_path("job")]
    return {
        "/deadletters": {
            "get": _operation(
                "List dead letters; a page may be empty and still have a `next`",
                {
                    "200": _json(
                        _list("deadletters", _ref("DeadLetter"), next={"type": ["string", "null"]}), "A page of them"
                    )
                },
                "bad_parameter",
                "bad_pattern",
                "bad_cursor",
                *_STORE,
                parameters=[
                    *(_query(name, schema, schema.get("description", "")) for name, schema in said.items()),
                    _query("cursor", _TEXT, "The `next` of the page before."),
                    _query(
                        "limit", {"type": "integer", "minimum": 1, "maximum": 500, "default": 50}, "At most so many."
                    ),
                    _query("order", {"enum": ["newest", "oldest"], "default": "newest"}, "Which come first."),
                ],
            )
        },
        "/deadletters/{id}": {
            "get": _operation(
                "One dead letter, with all of its event; in base64 as `payload` where it is none",
                {"200": _json(_ref("DeadLetter"), "The letter")},
                "deadletter_not_found",
                *_STORE,
                parameters=letter,
            ),
            "delete": _operation(
                "Delete a dead letter",
                {"204": {"description": "Deleted"}},
                "deadletter_not_found",
                *_STORE,
                parameters=letter,
            ),
        },
        "/deadletters/summary": {
            "get": _operation("Dead letters, counted", {"200": _json(_ref("DeadLetterSummary"), "The counts")}, *_STORE)
        },
        "/deadletters/redrive": {
            "post": _operation(
                "Send dead letters again: one by its `id`, or all that a `filter` means",
                {"202": _json(_ref("Redrive"), "The job that does it")},
                *_BODY,
                "missing_field",
                "bad_filter",
                "bad_pattern",
                "deadletter_not_found",
                "redrive_refused",
                "too_many_redrives",
                *_STORE,
                body=body(
                    {
                        "id": {"type": ["integer", "string"]},
                        "filter": chosen,
                        "dry_run": {"type": "boolean", "default": False, "description": "Say what would be done."},
                        "rate": {
                            "type": "number",
                            "minimum": MIN_RATE,
                            "maximum": MAX_RATE,
                            "default": DEFAULT_RATE,
                            "description": "At most so many letters a second.",
                        },
                        "limit": {"type": "integer", "minimum": 1, "description": "Send at most so many."},
                        "force": {
                            "type": "boolean",
                            "default": False,
                            "description": "Also to disabled endpoints, past open breakers, and for the sixth time.",
                        },
                    }
                ),
            )
        },
        "/deadletters/jobs": {
            "get": _operation(
                "The redrives of the last week", {"200": _json(_list("jobs", _ref("Redrive")), "Those that run first")}
            )
        },
        "/deadletters/jobs/{job}": {
            "get": _operation(
                "How far a redrive has come",
                {"200": _json(_ref("Redrive"), "The job")},
                "redrive_not_found",
                *_STORE,
                parameters=job,
            ),
            "delete": _operation(
                "Call a redrive off; what was sent stays sent",
                {"202": _json(_ref("Redrive"), "The job; it is `cancelled` a moment later")},
                "redrive_not_found",
                "redrive_ended",
                *_STORE,
                parameters=job,
            ),
        },
        "/deadletters/purge": {
            "post": _operation(
                "Delete dead letters; a filter that looks into them does a stretch at a time",
                {
                    "200": _json(
                        _object(
                            {
                                "purged": {"type": "integer"},
                                "matched": {"type": "integer"},
                                "dry_run": {"type": "boolean"},
                                "next": {
                                    "type": ["string", "null"],
                                    "description": "Ask again with this as `cursor`, until it is null.",
                                },
                            },
                            ["purged", "matched", "dry_run", "next"],
                        ),
                        "How many were, or would be, deleted",
                    )
                },
                *_BODY,
                "missing_field",
                "bad_filter",
                "bad_pattern",
                "bad_cursor",
                *_STORE,
                body=body(
                    {"filter": chosen, "dry_run": {"type": "boolean", "default": False}, "cursor": _TEXT}, ["filter"]
                ),
            )
        },
    }


def _webhook_paths(session: list[dict[str, Any]]) -> dict[str, Any]:
    base = "/callbacks/sessions/{session_id}"
    which = [*session, _path("recovery")]
    delivery = {**_TEXT, "description": "The `delivery` of an attempt, or its `webhook-id`."}
    rate = {
        "type": ["number", "null"],
        "minimum": recovery.MIN_RATE,
        "maximum": recovery.MAX_RATE,
        "default": recovery.DEFAULT_RATE,
        "description": "At most so many deliveries a second.",
    }
    moment = {"type": ["string", "number", "null"]}
    known = ("session_not_found", "not_a_webhook", *_STORE)

    def body(properties: dict[str, Any]) -> dict[str, Any]:
        return {"content": {"application/json": {"schema": _object(properties, closed=True)}}}

    started = {"202": _json(_ref("Recovery"), "It is at work, and goes on after this request; `Location` says where")}
    return {
        f"{base}/attempts": {
            "get": _operation(
                "The posts made for a webhook session, newest first; a page may be empty and still have a `next`",
                {
                    "200": _json(
                        _list("attempts", _ref("Attempt"), next={"type": ["string", "null"]}), "A page of attempts"
                    )
                },
                "bad_parameter",
                "bad_cursor",
                *known,
                parameters=[
                    *session,
                    _query("event", _TEXT, "Those that carried this event."),
                    _query("delivery", delivery, "Those of this delivery."),
                    _query("result", {"enum": ["ok", "fail"]}, "Those that came to this."),
                    _query(
                        "limit", {"type": "integer", "minimum": 1, "maximum": 500, "default": 50}, "At most so many."
                    ),
                    _query("cursor", _TEXT, "The `next` of the page before."),
                ],
            )
        },
        f"{base}/resend": {
            "post": _operation(
                "Send one delivery again, under the `webhook-id` it had; give its `event` or its `delivery`",
                {
                    "202": _json(
                        _object(
                            {
                                "session_id": _TEXT,
                                "delivery": _TEXT,
                                "webhook_id": _TEXT,
                                "events": {"type": "integer"},
                            },
                            ["session_id", "delivery", "webhook_id", "events"],
                        ),
                        "It is among the jobs; `events` is more than one where it was a batch",
                    )
                },
                *_BODY,
                "missing_field",
                "attempt_not_found",
                "event_gone",
                "storage_refused",
                *known,
                parameters=session,
                body=body(
                    {
                        "event": _TEXT,
                        "delivery": delivery,
                        "idempotency_key": {**_TEXT, "description": "The same one twice, within ten minutes, is one."},
                    }
                ),
            )
        },
        f"{base}/recover": {
            "post": _operation(
                "Send again all that failed for good since a time",
                started,
                *_BODY,
                "missing_field",
                "bad_cursor",
                "too_many_recoveries",
                *known,
                parameters=session,
                body=body({"since": moment, "until": moment, "rate": rate}),
            )
        },
        f"{base}/replay": {
            "post": _operation(
                "Send a stretch of the past, whether it was sent before or not",
                started,
                *_BODY,
                "missing_field",
                "bad_cursor",
                "too_many_recoveries",
                *known,
                parameters=session,
                body=body(
                    {
                        "cursor": {**_CURSOR, "description": "Begin after this cursor."},
                        "since": moment,
                        "last": {"type": "integer", "minimum": 0, "maximum": 100000},
                        "until": moment,
                        "until_cursor": {**_CURSOR, "description": "End with this cursor."},
                        "rate": rate,
                    }
                ),
            )
        },
        f"{base}/recoveries": {
            "get": _operation(
                "The recoveries and replays of the last week",
                {"200": _json(_list("recoveries", _ref("Recovery")), "Newest first")},
                *known,
                parameters=session,
            )
        },
        f"{base}/recoveries/{{recovery}}": {
            "get": _operation(
                "How far a recovery has come",
                {"200": _json(_ref("Recovery"), "The recovery")},
                "recovery_not_found",
                *known,
                parameters=which,
            ),
            "delete": _operation(
                "Call a recovery off; what was asked for stays asked for",
                {"202": _json(_ref("Recovery"), "It is `cancelled` a moment later")},
                "recovery_not_found",
                "recovery_ended",
                *known,
                parameters=which,
            ),
        },
        f"{base}/health": {
            "get": _operation(
                "How a webhook's endpoint is",
                {"200": _json(_ref("Health"), "As the replica that serves it last said")},
                *known,
                parameters=session,
            )
        },
        f"{base}/enable": {
            "post": _operation(
                "Let a disabled or halted endpoint have its jobs again, the parked ones first",
                {"200": _json(_ref("Health"), "How it is now")},
                *_BODY,
                *known,
                parameters=session,
                body=body({}),
            )
        },
        f"{base}/disable": {
            "post": _operation(
                "Let an endpoint have nothing until it is enabled; its jobs are parked",
                {"200": _json(_ref("Health"), "How it is now")},
                *_BODY,
                *known,
                parameters=session,
                body=body({"reason": {"type": "string", "minLength": 1, "maxLength": 200, "default": "operator"}}),
            )
        },
        f"{base}/secret/rotate": {
            "post": _operation(
                "Give a webhook session a new secret; the old one signs beside it for a while",
                {"200": _json(_ref("CreatedSession"), "The session; its new secret is shown this once")},
                *_BODY,
                "bad_webhook",
                "session_changed",
                *known,
                parameters=session,
                body=body(
                    {
                        "secret": schemas.SECRET,
                        "signing": schemas.SIGNING,
                        "overlap": {
                            "type": ["number", "null"],
                            "minimum": 0,
                            "maximum": endpoint.MAX_OVERLAP,
                            "default": endpoint.DEFAULT_OVERLAP,
                            "description": "Seconds for which the old secret signs, too.",
                        },
                    }
                ),
            )
        },
        f"{base}/verify": {
            "post": _operation(
                "Ask a receiver whether it wants this session's events; a pending session begins once it does",
                {"200": _json(_ref("CreatedSession"), "The session, and in `verification` what its receiver said")},
                "too_many",
                "session_changed",
                *known,
                parameters=session,
            )
        },
    }


def _news_post() -> dict[str, Any]:
    """The operational events as a webhook of theirs is posted them; on a stream they look the same."""
    event = _object(
        {
            "event_type": {"enum": [*news.DELIVERY_KINDS, *news.ENDPOINT_KINDS]},
            "subject": {**_TEXT, "description": "`system.webhook.` and the type."},
            "data": _ref("WebhookNews"),
        },
        ["event_type", "subject", "data"],
    )
    return {
        "summary": "What became of a webhook's endpoint or delivery, for sessions that subscribe to `system.webhook.>`",
        "requestBody": {"content": {"application/json": {"schema": event}}},
        "responses": {"2XX": {"description": "Taken"}},
    }


def _news_schema() -> dict[str, Any]:
    """The data of the operational events of webhooks, which are read as events and not at an address."""
    maybe_text = {"type": ["string", "null"]}
    answer = {
        "status": {"type": ["integer", "null"]},
        "error": maybe_text,
        "detail": maybe_text,
        "retry_after": {"type": ["number", "null"]},
        "seconds": {"type": "number"},
    }
    event = {
        "id": _TEXT,
        "type": _TEXT,
        "subject": _TEXT,
        "cursor": maybe_text,
        "events": {"type": "integer", "description": "More than one where it was a batch; `id` is the first."},
        "delivery": _TEXT,
        "webhook_id": _TEXT,
        "attempt": {"type": "integer"},
    }
    told = {
        "session_id": _TEXT,
        "name": maybe_text,
        "destination": {**maybe_text, "description": "Without credentials and query."},
        "answer": {
            **_object(answer, list(answer)),
            "type": ["object", "null"],
            "description": "Of the attempt that led to it; null where there was none.",
        },
        "event": {**_object(event, list(event)), "type": ["object", "null"]},
        "attempts": {"type": "integer", "description": "Of a delivery: the posts that carried it."},
        "reason": {**maybe_text, "description": "Of `deadlettered` and of an endpoint."},
        "event_id": {**_TEXT, "description": "Of `deadlettered`; so are `subject` and `status`."},
        "subject": _TEXT,
        "status": {"type": ["integer", "null"]},
        "state": {**_TEXT, "description": "Of an endpoint; so are the others."},
        "until": maybe_text,
        "failures": {"type": "integer"},
        "failing_since": maybe_text,
    }
    kinds = ", ".join(f"`{kind}`" for kind in (*news.DELIVERY_KINDS, *news.ENDPOINT_KINDS))
    return {
        **_object(told, ["session_id", "name", "destination", "answer", "event"]),
        "description": f"The data of an event under `system.webhook.<type>`, which any session may subscribe to: {kinds}.",
    }


def _trial_schema() -> dict[str, Any]:
    """What the test endpoint answers; the last two members are there for webhooks only."""
    return _object(
        {
            "status": {
                "enum": ["published", "delivered", "failed", "held", "not_matched"],
                "description": "`held`: the endpoint is disabled, or has not agreed yet, and the event waits for that. "
                "`not_matched`: the event was published, and the session's own subjects or filter leave it out.",
            },
            "success": {
                "type": ["boolean", "null"],
                "description": "Of a webhook null as long as no attempt is known; ask with `wait`.",
            },
            "session_id": _TEXT,
            "event_id": _TEXT,
            "event_type": _TEXT,
            "timestamp": _TIME,
            "cursor": _TEXT,
            "endpoint": {**_TEXT, "description": "The state of the webhook's circuit breaker, or `pending`."},
            "attempt": {"oneOf": [_ref("Attempt"), {"type": "null"}]},
            "detail": {**_TEXT, "description": "Why, where the session does not match its test event."},
        },
        ["status", "success", "session_id", "event_id", "event_type", "timestamp", "cursor"],
    )


def _policy_schemas() -> dict[str, Any]:
    """What an endpoint may set of retries, circuit breaker and auto-disable; null is the deployment's default."""

    def bounded(kind: str, bounds: tuple[float, float], description: str) -> dict[str, Any]:
        return {"type": [kind, "null"], "minimum": bounds[0], "maximum": bounds[1], "description": description}

    breaker = {
        "failures": bounded("integer", policy.BREAKER_FAILURES, "So many failures in a row open it."),
        "failure_share": bounded(
            "number", policy.BREAKER_SHARE, "So does this share of the attempts within the window."
        ),
        "min_attempts": bounded("integer", policy.BREAKER_MIN_ATTEMPTS, "The share counts from so many attempts on."),
        "window": bounded("number", policy.BREAKER_WINDOW, "Seconds."),
        "pause": bounded(
            "number", policy.BREAKER_PAUSE, "The first pause in seconds, doubled after each failed probe."
        ),
        "max_pause": bounded("number", policy.BREAKER_MAX_PAUSE, "The longest pause in seconds."),
        "probes": bounded("integer", policy.BREAKER_PROBES, "So many successful probes in a row close it."),
    }
    disable = {
        "after": bounded("number", policy.DISABLE_AFTER, "Seconds without any success."),
        "attempts": bounded("integer", policy.DISABLE_ATTEMPTS, "Attempts within that time, at least."),
    }
    return {
        "retry_schedule": {
            "type": ["array", "null"],
            "items": {"type": "number", "minimum": 0, "maximum": policy.MAX_RETRY_PAUSE},
            "minItems": 1,
            "maxItems": policy.MAX_RETRY_ATTEMPTS,
            "description": "The longest pause in seconds before each retry, instead of the profile's; the last one stays.",
        },
        "retry_statuses": {
            "type": ["array", "null"],
            "items": {"oneOf": [{"type": "integer", "minimum": 300, "maximum": 599}, {"enum": ["3xx", "4xx", "5xx"]}]},
            "maxItems": policy.MAX_RETRY_STATUSES,
            "description": "Only these statuses are retried; null: all but 410, 413 and 415. Without an answer it always is.",
        },
        "breaker": {
            "type": ["object", "null"],
            "properties": breaker,
            "additionalProperties": False,
            "description": "When the endpoint's circuit breaker opens, and for how long.",
        },
        "auto_disable": {
            "oneOf": [
                {"type": "object", "properties": disable, "additionalProperties": False},
                {"const": False},
                {"type": "null"},
            ],
            "description": "When the endpoint is disabled because it failed for too long; false: never.",
        },
    }


def _webhook_schemas() -> dict[str, Any]:
    count = {"type": "integer", "minimum": 0}
    maybe_count = {"type": ["integer", "null"], "minimum": 0}
    maybe_text = {"type": ["string", "null"]}
    maybe_time = {"type": ["string", "null"], "format": "date-time"}
    milliseconds = {"type": "number", "minimum": 0}
    attempt = {
        "delivery": {**_TEXT, "description": "The same over all attempts of one event for one session."},
        "webhook_id": _TEXT,
        "event": _TEXT,
        "events": {"type": "array", "items": _TEXT, "description": "More than one where it was a batch."},
        "subject": _TEXT,
        "attempt": {"type": "integer", "minimum": 1},
        "trigger": {"enum": ["auto", "manual", "redrive", "verification"]},
        "at": _TIME,
        "destination": {**_TEXT, "description": "Without credentials and query."},
        "address": {**maybe_text, "description": "The address that was spoken to."},
        "ok": {"type": "boolean"},
        "verdict": {"enum": ["delivered", "retry", "final", "postponed"]},
        "status": {**maybe_count, "description": "Null where no answer came."},
        "error": {
            **maybe_text,
            "description": "One of a closed set, such as `timeout`, `ssrf_blocked`, `dns`, `redirect`.",
        },
        "detail": {**maybe_text, "description": "More about the error, such as why a certificate was refused."},
        "timing_ms": {
            "type": "object",
            "properties": dict.fromkeys(("dns", "connect", "tls", "first_byte", "total"), milliseconds),
        },
        "response_head": {**maybe_text, "description": "The first KiB of an answer that was no success."},
        "next_attempt_at": maybe_time,
    }
    job = {
        "id": _TEXT,
        "session_id": _TEXT,
        "kind": {"enum": ["recover", "replay"]},
        "state": {"enum": ["running", "done", "failed", "cancelled"]},
        "since": maybe_text,
        "until": maybe_text,
        "rate": {"type": "number"},
        "total": {**maybe_count, "description": "Null until it is known: of a replay, at its end."},
        "sent": count,
        "skipped": {**count, "description": "Deliveries whose event is no longer kept."},
        "created": _TIME,
        "updated": _TIME,
        "ended": maybe_time,
        "error": maybe_text,
    }
    health = {
        "session_id": _TEXT,
        "active": {
            "type": "boolean",
            "description": "False until its receiver has agreed, where `verify` asks for that.",
        },
        "state": {
            "enum": ["closed", "paused", "open", "half_open", "disabled"],
            "description": "Of its circuit breaker; `paused` where it asked to be left alone until then (Retry-After).",
        },
        "since": maybe_time,
        "until": {**maybe_time, "description": "Until when it is left alone."},
        "reason": maybe_text,
        "trips": count,
        "failures": {**count, "description": "In a row."},
        "failing_since": maybe_time,
        "rate": {"type": ["number", "null"]},
        "parked": count,
        "oldest_parked_seconds": {"type": ["number", "null"]},
        "partition": {**count, "description": "The partition that its jobs lie in."},
        "partition_owned": {
            "type": "boolean",
            "description": "Whether a living edge works that partition, as far as this replica knows. For a second or two of "
            "a hand-over none does.",
        },
        "waiting_events": {
            **count,
            "description": "Events that wait in the event store, because the endpoint takes none now or has its share of jobs"
            " queued. Counted by the session's subjects: its types and its filter may leave out some.",
        },
    }
    return {
        "WebhookNews": _news_schema(),
        "Attempt": _object(attempt, list(attempt)),
        "Recovery": _object(job, list(job)),
        "Health": _object(health, list(health)),
    }


def _letter_schemas() -> dict[str, Any]:
    count = {"type": "integer", "minimum": 0}
    counts = {"type": "object", "additionalProperties": count}
    maybe_text = {"type": ["string", "null"]}
    maybe_time = {"type": ["string", "null"], "format": "date-time"}
    letter = {
        "id": {"type": "integer", "description": "Its place among the dead letters."},
        "origin": {"enum": list(ORIGINS)},
        "name": _TEXT,
        "reason": _TEXT,
        "detail": _TEXT,
        "attempts": count,
        "redrives": {**count, "description": "How often it was sent again in vain."},
        "first": maybe_time,
        "last": maybe_time,
        "buried": _TIME,
        "destination": {**_TEXT, "description": "Without credentials and query."},
        "source": _TEXT,
        "from": _object(
            {"stream": _TEXT, "sequence": count, "subject": _TEXT, "cursor": maybe_text},
            ["stream", "sequence", "subject"],
        ),
        "event_id": maybe_text,
        "bytes": count,
        "by_reference": {"type": "boolean", "description": "Too large for a letter: only where it lies is kept."},
        "event": {
            "type": ["object", "null"],
            "description": "As in the callback dialect. Null where it is none, and in lists where it has over 64 KiB.",
        },
        "payload": {"type": "string", "contentEncoding": "base64", "description": "What is no event, up to 64 KiB."},
    }
    job = {
        "id": _TEXT,
        "state": {"enum": ["running", "done", "failed", "cancelled"]},
        "dry_run": {"type": "boolean"},
        "letter": {"type": ["integer", "null"]},
        "filter": _OBJECT,
        "force": {"type": "boolean"},
        "rate": {"type": "number"},
        "limit": {"type": ["integer", "null"]},
        "total": {"type": ["integer", "null"], "description": "Null until they are counted."},
        "sent": count,
        "failed": {**count, "description": "Given up again by their actor; they stay, with the new reason."},
        "skipped": count,
        "reasons": {**counts, "description": "Why letters failed or were skipped."},
        "returned": {**count, "description": "Came back as dead letters while the job ran."},
        "created": _TIME,
        "started": maybe_time,
        "updated": _TIME,
        "ended": maybe_time,
        "eta": {"type": ["number", "null"], "description": "Seconds left, at the pace so far."},
        "error": maybe_text,
    }
    summary = {
        "total": count,
        "by_origin": counts,
        "by_reason": counts,
        "by_name": {"type": "array", "items": _object({"origin": _TEXT, "name": _TEXT, "count": count})},
        "names": {**count, "description": "How many there are; `by_name` has the hundred with the most letters."},
        "complete": {"type": "boolean"},
        "bytes": count,
        "max_bytes": {"type": ["integer", "null"]},
        "fullness": {"type": "number", "description": "From 0 to 1; at 1 the oldest are dropped."},
        "oldest": maybe_time,
    }
    return {
        "DeadLetter": _object(letter, [name for name in letter if name != "payload"]),
        "Redrive": _object(job, list(job)),
        "DeadLetterSummary": _object(summary, list(summary)),
    }


def _pictures(base: str, domain: str, entity: list[dict[str, Any]], websocket: dict[str, Any]) -> dict[str, Any]:
    return {
        f"{base}/mjpeg": {
            "get": _operation(
                "Watch as MJPEG",
                {"200": _bytes("multipart/x-mixed-replace", "JPEG after JPEG")},
                f"{domain}_not_found",
                *_TICKET,
                *_STORE,
                parameters=[*entity, _TICKET_QUERY],
            )
        },
        f"{base}/snapshot": {
            "get": _operation(
                "One fresh picture",
                {"200": _bytes("image/jpeg", "A JPEG")},
                f"{domain}_not_found",
                "no_frame",
                *_TICKET,
                *_STORE,
                parameters=[*entity, _TICKET_QUERY],
            )
        },
        f"{base}/ws": {
            "get": {
                "summary": "Watch over WebSocket: [uint32 LE header length][JSON header][JPEG]",
                "parameters": [*entity, _TICKET_QUERY, _SUBPROTOCOLS],
                "responses": websocket,
            }
        },
    }


def _schemas() -> dict[str, Any]:
    texts = {"type": ["array", "null"], "items": _TEXT}
    chosen = {
        "delivery_method": {"enum": ["websocket", "sse", "polling", "webhook"]},
        "events": {**texts, "description": "Event types; all where it is left out."},
        "subjects": {
            **texts,
            "description": "Patterns such as `agent.run-42.>`. Left out: all, and what is addressed to the session.",
        },
        "filter": {"type": ["string", "null"], "maxLength": 2000, "description": "CEL, such as `data.progress > 0.5`."},
        "include_intermediate_results": {"type": "boolean", "default": True},
        "dialect": {"type": "string", "default": "callback"},
        "name": {"type": ["string", "null"], "maxLength": 200},
        "conflate": {
            "type": "boolean",
            "default": False,
            "description": "Leave out what a newer event stands for; not for webhooks.",
        },
        "ttl": {
            "type": ["number", "null"],
            "minimum": 0,
            "description": "Seconds it may lie idle; 0: for ever. Not for webhooks.",
        },
        "max_rate": {
            "type": ["number", "null"],
            "minimum": 0.1,
            "maximum": 1000,
            "description": "At most so many writes a second; a webhook has `rate`.",
        },
    }
    webhook = {
        "webhook_url": {"type": "string", "format": "uri", "maxLength": endpoint.MAX_URL},
        "timeout": {
            "type": ["number", "null"],
            "minimum": endpoint.MIN_TIMEOUT,
            "maximum": endpoint.MAX_TIMEOUT,
            "default": endpoint.DEFAULT_TIMEOUT,
            "description": "Seconds for one attempt, from the look-up of the name to the status of the answer.",
        },
        "ordered": {"type": ["boolean", "null"], "default": False, "description": "Another word for the mode `fifo`."},
        "mode": {
            "enum": ["unordered", "keyed", "fifo", None],
            "default": "unordered",
            "description": "Posts side by side; one at a time for each key; or one at a time, in the order of the stream.",
        },
        "on_exhausted": {
            "enum": ["continue", "halt", None],
            "default": "continue",
            "description": "Whether an ordered lane goes on behind what was given up, or waits until it is enabled.",
        },
        "concurrency": {
            "type": ["integer", "null"],
            "minimum": 1,
            "maximum": endpoint.MAX_CONCURRENCY,
            "default": endpoint.DEFAULT_CONCURRENCY,
        },
        "rate": {
            "type": ["number", "null"],
            "minimum": endpoint.MIN_RATE,
            "maximum": endpoint.MAX_RATE,
            "description": "At most so many posts a second, evenly spaced.",
        },
        "batch": {
            "type": ["object", "null"],
            "properties": {
                "max_n": {"type": "integer", "minimum": 1, "maximum": endpoint.MAX_BATCH, "default": 100},
                "max_bytes": {"type": "integer", "minimum": 1, "maximum": endpoint.MAX_BATCH_BYTES, "default": 262144},
                "linger": {"type": "number", "minimum": 0, "maximum": endpoint.MAX_LINGER, "default": 1},
            },
            "additionalProperties": False,
            "description": "Several events in one post, as a JSON array; one that is refused is split in halves.",
        },
        "retry_profile": {
            "enum": ["guide", "fast", "standard", None],
            "default": "guide",
            "description": "How long the pauses between attempts become: half a minute in all, minutes, or days.",
        },
        **_policy_schemas(),
        "retry_attempts": {
            "type": ["integer", "null"],
            "minimum": 0,
            "maximum": policy.MAX_RETRY_ATTEMPTS,
            "default": policy.DEFAULT_RETRY_ATTEMPTS,
            "description": "Attempts after the first; left out, as many as the profile has.",
        },
        "max_age": {
            "type": ["number", "null"],
            "minimum": 1,
            "maximum": endpoint.MAX_AGE,
            "description": "Seconds after which a delivery is no longer worth an attempt.",
        },
        "gzip_above": {
            "type": ["integer", "null"],
            "minimum": 0,
            "maximum": endpoint.MAX_GZIP_ABOVE,
            "description": "Bodies above so many bytes are sent in gzip, unless the receiver answers 415. The signature "
            "verifies the body as it is once it is unpacked, and a second one as it travels.",
        },
        "verify": {
            "enum": ["none", "post", "options", None],
            "default": "none",
            "description": "What the receiver must agree to before it is sent anything: a test event, or CloudEvents' "
            "OPTIONS request.",
        },
        "headers": {"type": ["object", "null"], "additionalProperties": _TEXT},
        **schemas.CHOSEN,
    }
    shown = {
        "session_id": _TEXT,
        **chosen,
        **webhook,
        "webhook_secret_set": {"type": "boolean"},
        **schemas.SHOWN,
        "old_secrets_until": {"type": "array", "items": _TIME, "description": "Until when older secrets sign, too."},
        "state": {"enum": ["active", "pending"], "description": "A pending webhook waits for its receiver's consent."},
        "allowed_rate": {"type": ["number", "null"], "description": "Posts a second that the receiver allows."},
        "verification": _object(
            {
                "ok": {"type": "boolean"},
                "error": {"type": ["string", "null"]},
                "detail": {"type": ["string", "null"]},
                "status": {"type": ["integer", "null"]},
            }
        ),
        "owner": {"type": ["string", "null"], "description": "The principal that made it."},
        "created_at": _TIME,
        "cursor": _CURSOR,
        "urls": {"type": "object", "additionalProperties": _TEXT},
    }
    event_fields: dict[str, Any] = {
        "subject": {"type": "string", "maxLength": 255, "examples": ["agent.run-42.progress"]},
        "type": {
            "type": "string",
            "pattern": "^[a-z][a-z0-9_]{0,63}$",
            "description": "The subject's last token where it is left out.",
        },
        "data": _OBJECT,
        "id": {
            "type": "string",
            "maxLength": 200,
            "description": "Made for you; the same id within two minutes is stored once.",
        },
        "source": {"type": "string", "maxLength": 200},
        "key": {"type": "string", "maxLength": 200},
        "cause": {"type": "string", "maxLength": 200},
        "trace": {"type": "string", "maxLength": 200},
        "test": {"type": "boolean"},
    }
    assert set(event_fields) == FIELDS
    counted = describe("x", Stats())
    kinds = {bool: "boolean", int: "integer", float: "number", str: "string", dict: "object"}
    return {
        **_letter_schemas(),
        **_webhook_schemas(),
        "Problem": _object(
            {
                "type": _TEXT,
                "title": _TEXT,
                "status": {"type": "integer"},
                "code": {"enum": sorted(TITLES)},
                "detail": _TEXT,
                "index": {"type": "integer", "description": "Which event of a batch."},
                "reason": {"type": "string", "description": "Why a redrive was refused, or as what an address is."},
                "field": {"type": "string", "description": "Which field of a webhook is wrong."},
            },
            ["type", "title", "status", "code"],
        ),
        "NewSession": _object(
            {
                **chosen,
                **webhook,
                "secret": schemas.SECRET,
                "cursor": _CURSOR,
                "since": _TEXT,
                "last": {"type": "integer", "minimum": 0, "maximum": 100000},
            },
            closed=True,
        ),
        "SessionChange": _object(
            {
                name: schema
                for name, schema in {**chosen, **webhook, "secret": schemas.SECRET}.items()
                if name not in ("delivery_method", "dialect")
            },
            closed=True,
        ),
        "Session": _object(shown, ["session_id", "delivery_method", "cursor", "urls"]),
        "CreatedSession": _object(
            {**shown, "webhook_secret": _TEXT}, ["session_id", "delivery_method", "cursor", "urls"]
        ),
        "Stats": _object(
            {name: {"type": kinds[type(value)]} if value is not None else {} for name, value in counted.items()},
            [name for name in counted if name.startswith("events_")],
        ),
        "Event": _object(
            {
                "id": _TEXT,
                "event_type": _TEXT,
                "subject": _TEXT,
                "source": _TEXT,
                "timestamp": _TIME,
                "data": _OBJECT,
                "cursor": _CURSOR,
                "key": _TEXT,
                "cause": _TEXT,
                "test": {"type": "boolean"},
                "conflated": {"type": "integer", "description": "How many older events this one stands for."},
            },
            ["id", "event_type", "subject", "source", "timestamp", "data", "cursor"],
        ),
        "Page": _object(
            {
                "events": {"type": "array", "items": _ref("Event")},
                "next": _CURSOR,
                "has_more": {
                    "type": "boolean",
                    "description": "Whether to ask again at once from `next`: one request scans a bounded part of the "
                    "stream, and may end without an event.",
                },
                "count": {"type": "integer"},
                "session_id": _TEXT,
                "last_timestamp": {
                    **_TIME,
                    "description": "The last event's own time. In answers to polls without a `cursor` the times of events have "
                    "more digits than six: the place to go on from by `since`.",
                },
                "gap": _object({"from": _CURSOR, "to": _CURSOR, "reset": {"type": "boolean"}}),
            },
            ["events", "next", "has_more"],
        ),
        "NewEvent": _object(event_fields, ["subject"], closed=True),
        "Published": _object(
            {
                "events": {
                    "type": "array",
                    "items": _object(
                        {"id": _TEXT, "cursor": _CURSOR, "duplicate": {"type": "boolean"}},
                        ["id", "cursor", "duplicate"],
                    ),
                },
                "id": _TEXT,
                "cursor": _CURSOR,
                "duplicate": {"type": "boolean"},
            },
            ["events"],
        ),
    }
