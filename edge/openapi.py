"""This file is where the HTTP surface is described as OpenAPI 3.1; a test compares it with the routes, both ways."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from edge.ingest import FIELDS
from edge.problem import TITLES
from edge.registry import METHODS
from edge.stats import Stats, describe

VERSION = "0.1.0"

_TEXT: dict[str, Any] = {"type": "string"}
_CURSOR: dict[str, Any] = {
    "type": "string",
    "description": "Opaque. `earliest` and `now` are taken too.",
    "examples": ["1-5f3a9c1e-00000000002a"],
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
) -> dict[str, Any]:
    responses = dict(answers)
    by_status: dict[str, list[str]] = {}
    # The gate before every route, and the errors that any route can meet.
    for code in (*problems, "forbidden_origin", "forbidden_host", "internal"):
        by_status.setdefault(str(TITLES[code][0]), []).append(code)
    for status, codes in by_status.items():
        responses[status] = {
            "description": ", ".join(codes),
            "content": {"application/problem+json": {"schema": _ref("Problem")}},
        }
    made: dict[str, Any] = {"summary": summary, "responses": responses}
    if parameters:
        made["parameters"] = parameters
    if body:
        made["requestBody"] = dict(body)
    return made


_BODY = ("bad_json", "bad_body", "unknown_field", "body_too_large")
_STORE = ("broker_unavailable",)
_START = [
    _query("cursor", _CURSOR, "Begin after this cursor."),
    _query(
        "since",
        {"type": ["string", "number"]},
        "Begin at this time: RFC 3339, or seconds or milliseconds since the epoch.",
    ),
    _query("last", {"type": "integer", "minimum": 0, "maximum": 100000}, "Begin with the newest N events."),
]
_PACE = [
    _query("conflate", {"type": "boolean"}, "Leave out what a newer event stands for."),
    _query("max_rate", {"type": "number", "minimum": 0.1, "maximum": 1000}, "At most so many writes a second."),
]
_LIMIT = _query("limit", {"type": "integer", "minimum": 1, "maximum": 1000}, "At most so many.")


@cache
def document() -> dict[str, Any]:
    """The whole description; built once."""
    session = [_path("session_id")]
    entity = [_path("entity"), _query("track", _TEXT, "Which track of a source that has several.")]
    websocket = {"101": {"description": "A WebSocket. Refusals are told in band, then closed with a code from 4000."}}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Callboard",
            "version": VERSION,
            "description": "Realtime events from JetStream to sessions, over WebSocket, SSE, webhook and polling, by one cursor.",
        },
        "paths": {
            "/": {"get": _operation("The console", {"200": _bytes("text/html", "The page")})},
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
                    "Send a test event on the path of real ones",
                    {"200": _json(_OBJECT, "Stored; `cursor` says where")},
                    *_BODY,
                    "bad_subject",
                    "bad_event",
                    "session_not_found",
                    "storage_refused",
                    *_STORE,
                    parameters=session,
                    body={
                        "content": {
                            "application/json": {
                                "schema": _object({"event_type": _TEXT, "test_data": _OBJECT}, closed=True)
                            }
                        }
                    },
                ),
            },
            "/callbacks/sessions/{session_id}/events": {
                "get": _operation(
                    "Read by polling; with `wait`, by long polling",
                    {"200": _json(_ref("Page"), "Events after the cursor, oldest first")},
                    "bad_cursor",
                    "bad_parameter",
                    "session_not_found",
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
                            "Application events without `event:`; `ready`, `gap`, `bye` are named; `id:` is the cursor",
                        )
                    },
                    "bad_cursor",
                    "session_not_found",
                    "draining",
                    *_STORE,
                    parameters=[
                        *session,
                        *_START,
                        *_PACE,
                        {
                            "name": "Last-Event-ID",
                            "in": "header",
                            "schema": _CURSOR,
                            "description": "Wins over the query.",
                        },
                    ],
                ),
            },
            "/callbacks/sessions/{session_id}/ws": {
                "get": {
                    "summary": "Read over WebSocket",
                    "parameters": [*session, *_START, *_PACE],
                    "responses": websocket,
                }
            },
            "/callbacks/stats": {
                "get": _operation(
                    "What became of all events", {"200": _json(_OBJECT, "Added up over sessions and replicas")}, *_STORE
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
                    "forbidden_subject",
                    "batch_too_large",
                    "unsupported_media_type",
                    "storage_refused",
                    "draining",
                    *_STORE,
                    parameters=[
                        {
                            "name": "Idempotency-Key",
                            "in": "header",
                            "schema": {"type": "string", "maxLength": 200},
                            "description": "A repeat within two minutes is stored once.",
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
            "/runs": {
                "get": _operation(
                    "The latest state of every run",
                    {"200": _json(_list("runs", _OBJECT), "Newest first")},
                    "bad_parameter",
                    *_STORE,
                    parameters=[_LIMIT],
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
            "/livez": {"get": _operation("Whether the process lives", {"200": _json(_OBJECT, "It does")})},
            "/readyz": {
                "get": _operation(
                    "Whether it can serve",
                    {"200": _json(_OBJECT, "It can"), "503": _json(_OBJECT, "It cannot; `checks` says why")},
                )
            },
            "/metrics": {
                "get": _operation("Prometheus metrics", {"200": _bytes("text/plain", "Text or OpenMetrics, as asked")})
            },
            "/openapi.json": {"get": _operation("This description", {"200": _json(_OBJECT, "OpenAPI 3.1")})},
        },
        "components": {"schemas": _schemas()},
    }


def _pictures(base: str, domain: str, entity: list[dict[str, Any]], websocket: dict[str, Any]) -> dict[str, Any]:
    return {
        f"{base}/mjpeg": {
            "get": _operation(
                "Watch as MJPEG",
                {"200": _bytes("multipart/x-mixed-replace", "JPEG after JPEG")},
                f"{domain}_not_found",
                *_STORE,
                parameters=entity,
            )
        },
        f"{base}/snapshot": {
            "get": _operation(
                "One fresh picture",
                {"200": _bytes("image/jpeg", "A JPEG")},
                f"{domain}_not_found",
                "no_frame",
                *_STORE,
                parameters=entity,
            )
        },
        f"{base}/ws": {
            "get": {
                "summary": "Watch over WebSocket: [uint32 LE header length][JSON header][JPEG]",
                "parameters": entity,
                "responses": websocket,
            }
        },
    }


def _schemas() -> dict[str, Any]:
    texts = {"type": ["array", "null"], "items": _TEXT}
    chosen = {
        "delivery_method": {"enum": list(METHODS)},
        "events": {**texts, "description": "Event types; all where it is left out."},
        "subjects": {
            **texts,
            "description": "Patterns such as `agent.run-42.>`. Left out: all, and what is addressed to the session.",
        },
        "filter": {"type": ["string", "null"], "maxLength": 2000, "description": "CEL, such as `data.progress > 0.5`."},
        "include_intermediate_results": {"type": "boolean", "default": True},
        "dialect": {"type": "string", "default": "callback"},
        "name": {"type": ["string", "null"], "maxLength": 200},
        "conflate": {"type": "boolean", "default": False, "description": "Leave out what a newer event stands for."},
        "ttl": {"type": ["number", "null"], "minimum": 0, "description": "Seconds it may lie idle; 0: for ever."},
        "max_rate": {
            "type": ["number", "null"],
            "minimum": 0.1,
            "maximum": 1000,
            "description": "At most so many writes a second.",
        },
    }
    webhook = {
        "webhook_url": {"type": "string", "format": "uri", "maxLength": 2048},
        "timeout": {"type": "number", "minimum": 0.1, "maximum": 60, "default": 30},
        "ordered": {
            "type": "boolean",
            "default": False,
            "description": "One post at a time, in order, while the endpoint answers.",
        },
        "retry_attempts": {"type": "integer", "minimum": 0, "maximum": 20, "default": 3},
        "headers": {"type": "object", "additionalProperties": _TEXT},
    }
    shown = {
        "session_id": _TEXT,
        **chosen,
        **webhook,
        "webhook_secret_set": {"type": "boolean"},
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
        "Problem": _object(
            {
                "type": _TEXT,
                "title": _TEXT,
                "status": {"type": "integer"},
                "code": {"enum": sorted(TITLES)},
                "detail": _TEXT,
                "index": {"type": "integer", "description": "Which event of a batch."},
            },
            ["type", "title", "status", "code"],
        ),
        "NewSession": _object(
            {
                **chosen,
                **webhook,
                "secret": {"type": "string", "description": "`whsec_` and base64; made for you where it is left out."},
                "cursor": _CURSOR,
                "since": _TEXT,
                "last": {"type": "integer", "minimum": 0, "maximum": 100000},
            },
            closed=True,
        ),
        "SessionChange": _object(
            {
                name: schema
                for name, schema in {**chosen, **webhook, "secret": _TEXT}.items()
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
                "has_more": {"type": "boolean"},
                "count": {"type": "integer"},
                "session_id": _TEXT,
                "last_timestamp": _TIME,
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
