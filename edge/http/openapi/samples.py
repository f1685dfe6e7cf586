"""Makes an example of what a JSON Schema describes: what it says itself, else plausible values by the names of its fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# 5: schemas may refer to themselves.
_DEPTH = 5
_NULL = {"type": "null"}
_CURSOR, _TIME = "1-5f3a9c1e-00000000002a-9b1c04e2", "2026-11-27T10:15:00.000000Z"
_FORMATS: Mapping[str, str] = {"date-time": _TIME, "uri": "https://example.com/hook"}
_MAPS: Mapping[str, Mapping[str, Any]] = {
    "data": {"progress": 0.4, "message": "reading the files"},
    "labels": {"alertname": "DiskFull"},
    "headers": {"X-Team": "payments"},
    "by_origin": {"webhook": 3},
    "by_reason": {"rejected": 3},
    "sessions_by_method": {"webhook": 2, "websocket": 1},
    "values": {"spend": 120.5},
}
_NUMBERS: Mapping[str, float] = {
    "answer": 200, "bytes": 18_432, "cost": 0.012, "delivery_rate": 0.98, "duration": 0.045, "eta_seconds": 12.5, "fps": 30,
    "height": 1080, "progress": 0.4, "percent": 40, "seconds": 60, "status": 200, "timeout": 10, "total": 3, "ttl": 30,
    "uptime_seconds": 86_400, "version": 3, "width": 1920, "expires_in": 30,
}  # fmt: skip
_TEXTS: Mapping[str, str] = {
    "action": "acknowledge", "actor": "agent", "agent": "assistant", "assistant_id": "assistant", "by": "user:ada",
    "camera": "main", "category": "devices", "cause_subject": "camera.main.state", "certificate": "-----BEGIN CERTIFICATE-----",
    "codec": "avc1.42E01F", "column": "1", "comment": "the fan is on its way", "cursor": _CURSOR, "delivery": "9f8e7d6c5b4a3210",
    "description": "Stops a run.", "destination": "https://example.com/hook", "detail": "the receiver answered 503",
    "domain": "agent", "edge": "edge-0", "entity": "main", "entity_type": "campaign", "error": "the receiver answered 503",
    "event_id": "3f0c9a52b7d14e6f", "event_type": "progress", "fault": "no such field: data.succes", "field": "limit",
    "graph_id": "assistant", "id": "3f0c9a52b7d14e6f", "incarnation": "1", "instance": "main", "jobId": "job-7",
    "key": "main", "letter": "42", "message": "reading the files", "metric": "spend", "model": "small-1", "name": "progress",
    "next": _CURSOR, "owner": "user:ada", "parent": "run-41", "project": "kitchen.orbx", "reason": "the receiver answered 503",
    "render": "main", "result": "done", "rule": "camera_silent", "run": "run-42", "run_id": "run-42", "runId": "run-42",
    "secret": "whsec_c2VjcmV0IGZvciBleGFtcGxlcyBvbmx5", "session": "sess_0123456789abcdef",
    "session_id": "sess_0123456789abcdef", "since": _TIME, "source": "http", "stage": "reading", "status": "running",
    "stream": "EVENTS", "subject": "agent.run-42.progress", "summary": "How far a task is.", "text": "compiling",
    "thread_id": "thread-1", "threadId": "thread-1", "ticket": "tkt_5mD0QxkZ", "title": "main is silent",
    "tool_name": "search", "trace": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "type": "progress",
    "unit": "EUR", "until": _TIME, "url": "https://example.com/hook", "webhook_id": "msg_9f8e7d6c5b4a3210",
    "webhook_secret": "whsec_c2VjcmV0IGZvciBleGFtcGxlcyBvbmx5", "webhook_url": "https://example.com/hook",
}  # fmt: skip


def sample(
    schema: Mapping[str, Any], schemas: Mapping[str, Any], *, full: bool = False, name: str = "", depth: int = 0
) -> Any:
    """One value that the schema allows; references lead to the components `schemas`, `full` adds optional fields."""
    if "$ref" in schema:
        return sample(schemas[schema["$ref"].rpartition("/")[2]], schemas, full=full, name=name, depth=depth)
    if "const" in schema:
        return schema["const"]
    for word in ("examples", "enum"):
        if schema.get(word):
            return schema[word][0]
    if "properties" not in schema:
        for word in ("oneOf", "anyOf"):
            if word in schema:
                beside = {name: value for name, value in schema.items() if name not in ("anyOf", "oneOf")}
                chosen = beside | next((each for each in schema[word] if each != _NULL), _NULL)
                return sample(chosen, schemas, full=full, name=name, depth=depth)
    kind = schema.get("type", "object" if "properties" in schema else "string")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        return _object(schema, schemas, full, name, depth)
    if kind == "array":
        return _array(schema, schemas, full, name, depth)
    return _scalar(kind, schema, name)


def _object(schema: Mapping[str, Any], schemas: Mapping[str, Any], full: bool, name: str, depth: int) -> dict[str, Any]:
    properties: Mapping[str, Any] = schema.get("properties", {})
    if not properties:
        return dict(_MAPS.get(name, {})) if schema.get("additionalProperties") in (None, True) else _map(schema, name)
    names = list(schema.get("required", ()))
    if full and depth < _DEPTH:
        names += [each for each in properties if each not in names]
    else:
        names += [each for each in _first_choice(schema) if each not in names]
    return {each: sample(properties.get(each, {}), schemas, full=full, name=each, depth=depth + 1) for each in names}


def _map(schema: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A map whose values have a schema: with an example where there is one by that name."""
    return dict(_MAPS.get(name, {})) if schema["additionalProperties"].get("type") in ("string", "integer") else {}


def _array(schema: Mapping[str, Any], schemas: Mapping[str, Any], full: bool, name: str, depth: int) -> list[Any]:
    if "prefixItems" in schema:
        return [sample(each, schemas, full=full, depth=depth + 1) for each in schema["prefixItems"]]
    if not schema.get("items") or (depth >= _DEPTH and not schema.get("minItems")):
        return []
    one = sample(schema["items"], schemas, full=full, name=name.removesuffix("s"), depth=depth + 1)
    return [one] * max(1, schema.get("minItems", 1))


def _scalar(kind: str, schema: Mapping[str, Any], name: str) -> Any:
    least, most = schema.get("minimum"), schema.get("maximum")
    if kind in ("integer", "number"):
        found = _NUMBERS.get(name, 0 if least is None else max(least, 1))
        found = found if least is None or found >= least else least
        found = found if most is None or found <= most else most
        if "exclusiveMinimum" in schema and found <= schema["exclusiveMinimum"]:
            found = schema["exclusiveMinimum"] + 1
        return int(found) if kind == "integer" else found
    if kind == "string":
        return _FORMATS.get(schema.get("format", ""), _TEXTS.get(name, "text"))
    return False if kind == "boolean" else None


def _first_choice(schema: Mapping[str, Any]) -> list[str]:
    """The fields that the first of several conditions requires."""
    for word in ("anyOf", "oneOf"):
        for each in schema.get(word, ()):
            return list(each.get("required", ()))
    return []
