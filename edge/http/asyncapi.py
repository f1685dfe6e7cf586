"""Generates the AsyncAPI 3 document: the channels of each transport and of NATS, with a message for each event type."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from edge.http.bodies.events import EventAnswer, NewEvent
from edge.http.openapi.samples import sample
from edge.http.openapi.schemas import components
from router.event_types.declaration import EventType
from router.event_types.json_schema import parts_of, title_of
from router.subject import STORED
from router.version import VERSION

_SCHEMAS = "#/components/schemas/{name}"
# What a server says beside events.
CONTROLS = ("ready", "heartbeat", "position", "gap", "slowed", "expiring", "bye", "pong", "refreshed", "error")


def document(types: Iterable[EventType]) -> dict[str, Any]:
    """Describes what clients of each transport, and of NATS, send and are sent."""
    known = tuple(types)
    names = [name_of(each) for each in known]
    schemas = _schemas(known)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Callboard",
            "version": VERSION,
            "description": "Events over WebSocket, SSE, polling and webhooks, and on NATS JetStream. Types that are not "
            "listed are allowed, with any data. What requests and answers look like beside events: `/openapi.json`.",
            "tags": [
                {"name": "edge", "description": "What clients of an edge send and are sent."},
                {"name": "nats", "description": "What programs on NATS JetStream publish and read."},
            ],
        },
        "defaultContentType": "application/json",
        "servers": _servers(),
        "channels": {**_sessions(names), **{f"nats.{name_of(each)}": _nats(each) for each in known}},
        "operations": {**_operations(), **{f"store.{name}": _stores(name) for name in names}},
        "components": {
            "schemas": schemas,
            "messages": _messages(known, schemas),
            "securitySchemes": _SECURITY,
        },
    }


_SECURITY: dict[str, Any] = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "Needed where keys are configured.",
    },
    "ticket": {
        "type": "httpApiKey",
        "name": "ticket",
        "in": "query",
        "description": "From `POST /tickets`, valid once and for one stream, where no Authorization can be sent.",
    },
}


def name_of(declared: EventType) -> str:
    """The type's name, after its domain where it belongs to one: `progress`, `camera.state`."""
    return declared.name if declared.domain is None else f"{declared.domain}.{declared.name}"


def _servers() -> dict[str, Any]:
    def server(protocol: str, default: str, **more: Any) -> dict[str, Any]:
        return {"host": "{host}", "protocol": protocol, "variables": {"host": {"default": default}}, **more}

    secured = {"security": [{"$ref": f"#/components/securitySchemes/{name}"} for name in _SECURITY]}
    return {
        "http": server("http", "127.0.0.1:8000", description="An edge: SSE, polling, and publishing.", **secured),
        "websocket": server("ws", "127.0.0.1:8000", description="An edge's WebSockets.", **secured),
        "nats": server(
            "nats", "127.0.0.1:4222", description="JetStream. An event is a msgpack map; its id is its Nats-Msg-Id."
        ),
    }


_SESSION = {"session_id": {"description": "As `POST /callbacks/sessions` answered it."}}


def _sessions(names: list[str]) -> dict[str, Any]:
    """The channels of an edge: one to publish to, and one for each transport of a session."""

    def channel(
        address: str | None, title: str, description: str, server: str | None, *, notices: bool
    ) -> dict[str, Any]:
        messages = {name: {"$ref": f"#/components/messages/{name}"} for name in names}
        if notices:
            messages["notice"] = {"$ref": "#/components/messages/notice"}
        made: dict[str, Any] = {"address": address, "title": title, "description": description, "messages": messages}
        if server is not None:
            made["servers"] = [{"$ref": f"#/servers/{server}"}]
        if address is not None:
            made["parameters"] = _SESSION
        return made

    session = "/callbacks/sessions/{session_id}"
    return {
        "events": {
            "address": "/events",
            "title": "Publishing",
            "description": "One event, a list, or an object with a list, by POST. The same id is stored once within two minutes.",
            "servers": [{"$ref": "#/servers/http"}],
            "messages": {name: {"$ref": f"#/components/messages/new.{name}"} for name in names},
            "bindings": {"http": {}},
        },
        "websocket": channel(
            f"{session}/ws",
            "A session's WebSocket",
            "One JSON message an event; send `?cursor=` to go on behind one. Notices say where the stream stands.",
            "websocket",
            notices=True,
        ),
        "sse": channel(
            f"{session}/sse",
            "A session's Server-Sent Events",
            "One message an event, with its cursor as `id`: EventSource reconnects and misses nothing.",
            "http",
            notices=True,
        ),
        "polling": channel(
            f"{session}/events",
            "A session's pages",
            "Answers events behind `cursor`, and the cursor to send next; with `wait` it is long polling.",
            "http",
            notices=False,
        ),
        "webhook": channel(
            None,
            "A session's webhook",
            "One POST an event or a batch to the `webhook_url` of the session, signed as Standard Webhooks has it.",
            None,
            notices=False,
        ),
    }


def _nats(declared: EventType) -> dict[str, Any]:
    name = name_of(declared)
    domain = declared.domain or "{domain}"
    parameters: dict[str, Any] = {"entity": {"description": "A token: what else is in an id is escaped as =XX."}}
    if declared.domain is None:
        parameters["domain"] = {"description": "agent, job, thread, metric, alert, or one of yours."}
    return {
        "address": f"{STORED}{domain}.{{entity}}.{declared.name}",
        "title": f"{name} on NATS",
        "description": (
            f"Stored in EVENTS, and republished on live.{STORED}…, whatever streams hold the events: subscribe to that. After "
            f"`callboard streams reshard` events are stored as evs.<generation>.<shard>.<subject>, and what is published to {STORED}… "
            "is refused."
        ),
        "servers": [{"$ref": "#/servers/nats"}],
        "parameters": parameters,
        "messages": {name: {"$ref": f"#/components/messages/packed.{name}"}},
    }


def _operations() -> dict[str, Any]:
    def operation(action: str, channel: str, summary: str, more: str) -> dict[str, Any]:
        return {"action": action, "channel": {"$ref": f"#/channels/{channel}"}, "summary": summary, "description": more}

    return {
        "publish": operation(
            "receive", "events", "Take events by POST.", "One event or a batch; in order, once for each id."
        ),
        "push": operation(
            "send", "websocket", "Send a session its events over WebSocket.", "The first message says where it begins."
        ),
        "stream": operation(
            "send", "sse", "Send a session its events as Server-Sent Events.", "It goes on behind Last-Event-ID."
        ),
        "page": operation("send", "polling", "Answer a session its events in pages.", "With `wait` by long polling."),
        "post": operation(
            "send", "webhook", "Post a session its events.", "Repeated by the retry schedule of the session."
        ),
    }


def _stores(name: str) -> dict[str, Any]:
    return {
        "action": "receive",
        "channel": {"$ref": f"#/channels/nats.{name}"},
        "summary": f"Store {name}.",
        "description": f"Callboard stores each {name} in EVENTS (or its shards), in the order of its domain and entity.",
    }


def _schemas(types: Iterable[EventType]) -> dict[str, Any]:
    made: dict[str, Any] = dict(components([EventAnswer, NewEvent])[1])
    made["PackedEvent"] = _PACKED
    for declared in types:
        title = title_of(declared)
        schema, parts = parts_of(declared, _SCHEMAS)
        if declared.json_schema is not None:
            # A user's own schema refers to its own definitions, which lie deeper here.
            schema = _moved(schema, f"#/components/schemas/{title}/$defs/")
        made |= {title: {"title": title, **schema}, **parts}
    return dict(sorted(made.items()))


def _moved(schema: Any, place: str) -> Any:
    if isinstance(schema, list):
        return [_moved(each, place) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: place + value.removeprefix("#/$defs/")
        if name == "$ref" and isinstance(value, str) and value.startswith("#/$defs/")
        else _moved(value, place)
        for name, value in schema.items()
    }


_PACKED: dict[str, Any] = {
    "type": "object",
    "description": "An event as it is stored: a map in msgpack.",
    "required": ["id", "type", "source", "subject", "time"],
    "properties": {
        "id": {"type": "string"},
        "type": {"type": "string"},
        "source": {"type": "string"},
        "subject": {"type": "string"},
        "time": {"type": "integer", "minimum": 0, "description": "Nanoseconds since the epoch, UTC."},
        "data": {"type": "object"},
        "key": {"type": "string"},
        "cause": {"type": "string"},
        "trace": {"type": "string"},
        "test": {"type": "boolean"},
    },
}

# A message's prefix, the envelope around the data, the field with the type, the content type.
_FORMS = (
    ("", "Event", "event_type", "application/json"),
    ("new.", "NewEvent", "type", "application/json"),
    ("packed.", "PackedEvent", "type", "application/msgpack"),
)

_AT, _ID = "2026-11-27T10:15:00.000000Z", "3f0c9a52b7d14e6f"
# What an example has beside its type, subject and data.
_ENVELOPES: dict[str, dict[str, Any]] = {
    "": {"id": _ID, "source": "http", "timestamp": _AT, "cursor": "1-5f3a9c1e-00000000002a-9b1c04e2"},
    "new.": {},
    "packed.": {"id": _ID, "source": "http", "time": 1_795_774_500_000_000_000},
}


def _messages(types: Iterable[EventType], schemas: dict[str, Any]) -> dict[str, Any]:
    """Three messages a type: as clients are sent it, as they publish it, and as NATS has it."""
    made: dict[str, Any] = {"notice": _NOTICE}
    for declared in types:
        data = _example(declared, schemas)
        for prefix, envelope, field, kind in _FORMS:
            inside = {field: {"const": declared.name}, "data": {"$ref": _SCHEMAS.format(name=title_of(declared))}}
            made[prefix + name_of(declared)] = {
                "name": declared.name,
                "title": name_of(declared),
                "summary": declared.summary,
                "contentType": kind,
                "payload": {"allOf": [{"$ref": _SCHEMAS.format(name=envelope)}, {"properties": inside}]},
            }
            if data is not None:
                subject = f"{declared.domain or 'agent'}.run-42.{declared.name}"
                whole = {**_ENVELOPES[prefix], field: declared.name, "subject": subject, "data": data}
                made[prefix + name_of(declared)]["examples"] = [{"name": declared.name, "payload": whole}]
    return made


def _example(declared: EventType, schemas: dict[str, Any]) -> dict[str, Any] | None:
    """Data of a type; of a user's own schema, which may say anything, only what it shows itself."""
    if declared.json_schema is not None:
        shown = declared.json_schema.get("examples") or [None]
        return shown[0] if isinstance(shown[0], dict) else None
    return dict(declared.example or sample(schemas[title_of(declared)], schemas, full=True))


_NOTICE: dict[str, Any] = {
    "name": "notice",
    "title": "A notice",
    "summary": "Where the stream stands: an object with `control` on a WebSocket, an event of that name on SSE. Unasked a "
    "WebSocket brings ready, gap, bye and error, which have `event_type` and `data`, too; with `?controls=all` the others.",
    "examples": [
        {"name": "bye", "payload": {"control": "bye", "timestamp": _AT, "event_type": "bye", "data": {"code": 4001}}}
    ],
    "payload": {
        "type": "object",
        "required": ["control", "timestamp"],
        "properties": {
            "control": {"enum": list(CONTROLS)},
            "timestamp": {"type": "string", "format": "date-time"},
            "event_type": {"type": "string"},
            "data": {"type": "object"},
            "cursor": {"type": "string"},
        },
    },
}
