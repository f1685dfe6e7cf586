"""Generates the AsyncAPI 3 document: the channels of each transport and of NATS, with a message for each event type."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from edge.http.bodies.events import EventAnswer, NewEvent
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
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Callboard",
            "version": VERSION,
            "description": "Events over WebSocket, SSE, polling and webhooks, and on NATS JetStream. Types that are not "
            "listed are allowed, with any data. What requests and answers look like beside events: `/openapi.json`.",
        },
        "defaultContentType": "application/json",
        "servers": _servers(),
        "channels": {**_sessions(names), **{f"nats.{name_of(each)}": _nats(each) for each in known}},
        "operations": {**_operations(), **{f"store.{name}": _stores(name) for name in names}},
        "components": {
            "schemas": _schemas(known),
            "messages": _messages(known),
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


def name_of(declared: EventType) -> str:
    """The type's name, after its domain where it belongs to one: `progress`, `camera.state`."""
    return declared.name if declared.domain is None else f"{declared.domain}.{declared.name}"


def _servers() -> dict[str, Any]:
    def server(protocol: str, default: str, **more: Any) -> dict[str, Any]:
        return {"host": "{host}", "protocol": protocol, "variables": {"host": {"default": default}}, **more}

    secured = {"security": [{"$ref": "#/components/securitySchemes/bearer"}]}
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

    def channel(address: str | None, title: str, server: str | None, *, notices: bool) -> dict[str, Any]:
        messages = {name: {"$ref": f"#/components/messages/{name}"} for name in names}
        if notices:
            messages["notice"] = {"$ref": "#/components/messages/notice"}
        made: dict[str, Any] = {"address": address, "title": title, "messages": messages}
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
            "servers": [{"$ref": "#/servers/http"}],
            "messages": {name: {"$ref": f"#/components/messages/new.{name}"} for name in names},
            "bindings": {"http": {}},
        },
        "websocket": channel(f"{session}/ws", "A session's WebSocket", "websocket", notices=True),
        "sse": channel(f"{session}/sse", "A session's Server-Sent Events", "http", notices=True),
        "polling": channel(f"{session}/events", "A session's pages", "http", notices=False),
        "webhook": channel(None, "A session's webhook: its address is in the session", None, notices=False),
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
        "description": f"Stored in EVENTS, and republished on live.{STORED}…",
        "servers": [{"$ref": "#/servers/nats"}],
        "parameters": parameters,
        "messages": {name: {"$ref": f"#/components/messages/packed.{name}"}},
    }


def _operations() -> dict[str, Any]:
    def operation(action: str, channel: str, summary: str) -> dict[str, Any]:
        return {"action": action, "channel": {"$ref": f"#/channels/{channel}"}, "summary": summary}

    return {
        "publish": operation("receive", "events", "Take events, one or a batch, by POST."),
        "push": operation("send", "websocket", "Send a session its events over WebSocket."),
        "stream": operation("send", "sse", "Send a session its events as Server-Sent Events."),
        "page": operation("send", "polling", "Answer a session its events in pages."),
        "post": operation("send", "webhook", "Post a session its events."),
    }


def _stores(name: str) -> dict[str, Any]:
    return {"action": "receive", "channel": {"$ref": f"#/channels/nats.{name}"}, "summary": f"Store {name}."}


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


def _messages(types: Iterable[EventType]) -> dict[str, Any]:
    """Three messages a type: as clients are sent it, as they publish it, and as NATS has it."""
    made: dict[str, Any] = {"notice": _NOTICE}
    for declared in types:
        for prefix, envelope, field, kind in _FORMS:
            inside = {field: {"const": declared.name}, "data": {"$ref": _SCHEMAS.format(name=title_of(declared))}}
            made[prefix + name_of(declared)] = {
                "name": declared.name,
                "title": name_of(declared),
                "summary": declared.summary,
                "contentType": kind,
                "payload": {"allOf": [{"$ref": _SCHEMAS.format(name=envelope)}, {"properties": inside}]},
            }
    return made


_NOTICE: dict[str, Any] = {
    "name": "notice",
    "title": "A notice",
    "summary": "Where the stream stands: an object with `control` on a WebSocket, an event of that name on SSE. Unasked a "
    "WebSocket brings ready, gap, bye and error, which have `event_type` and `data`, too; with `?controls=all` the others.",
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
