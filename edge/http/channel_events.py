"""Reads events as the geminivideo guide publishes them: `{"channel": {"type", "id"}, "event": {"type", …}}`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge.dialects.channel import CHANNEL_TYPES, EVENT_TYPES, Channel
from edge.errors import Problem, json_object

# What is said of an event beside its data.
_BESIDE = {"id": "id", "timestamp": "time"}


def from_channel(item: Mapping[str, Any]) -> dict[str, Any]:
    """The same event with a subject. Raises Problem, and BadSubject for an id that can be in none."""
    json_object(item, frozenset({"channel", "event"}))
    said = item["channel"]
    kind = said.get("type") if isinstance(said, dict) else None
    if not isinstance(kind, str) or kind not in CHANNEL_TYPES:
        raise Problem("bad_event", f"channel.type must be one of {', '.join(CHANNEL_TYPES)}", field="channel.type")
    channel = Channel(kind, _text(said, "id"), _text(said, "userId"))
    if not channel.is_named:
        raise Problem("missing_field", f"channel.id: which one of {kind}?", field="channel.id")
    event = item.get("event")
    if not isinstance(event, dict):
        raise Problem("missing_field", "the event of the channel is missing", field="event")
    type = event.get("type") or EVENT_TYPES[kind]
    if not isinstance(type, str):
        raise Problem("bad_event", "event.type must be a text", field="event.type")
    return {
        "subject": str(channel.subject(type)),
        "type": type,
        "data": {name: value for name, value in event.items() if name not in ("type", *_BESIDE)},
        **{ours: event[theirs] for theirs, ours in _BESIDE.items() if event.get(theirs) is not None},
    }


def _text(said: Mapping[str, Any], name: str) -> str:
    value = said.get(name)
    if value is not None and not isinstance(value, str):
        raise Problem("bad_event", f"channel.{name} must be a text", field=f"channel.{name}")
    return value or ""
