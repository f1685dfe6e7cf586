"""Encodes an event as CloudEvents 1.0: as one JSON object, or as headers and its bare data.

The names are nearly the event's own. Its key is `partitionkey`, its trace `traceparent`, its cause `causeid`; its place is
`sequence` and `callboardcursor`, which every transport takes.

`sequence` has twenty digits, so that texts compare as numbers do. Of two events of one domain and entity (the first two tokens of
`subject`) the later has the greater one, whichever way both came, and a repeat the same. Where all events are in one stream that is
so of any two. Where they are in several (`callboard streams reshard`) nothing is said of events of different entities, so of one
`source` only where it publishes about one entity: their order is that in which they are read, and `time`.

Over a WebSocket of the subprotocol `cloudevents.json` nothing but CloudEvents may travel, so a notice is one of the type
`callboard.<control>`, and so is what a client says. Ping and pong frames keep a silent connection alive.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from edge.dialects.dialect import ESSENTIAL, Body, SharedDialect
from router.codec import from_json, rfc3339, to_json
from router.errors import BadEvent
from router.event import new_id
from router.record import Record

JSON = "application/json"
STRUCTURED = "application/cloudevents+json"
BATCHED = "application/cloudevents-batch+json"
# The WebSocket subprotocol of one structured event a message.
SUBPROTOCOL = "cloudevents.json"
# What the types of notices begin with.
NOTICE = "callboard."

# What no attribute may hold: control characters, and halves of characters.
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef]")
# What a URI reference may hold as it is; all else is percent-encoded.
_URI_SAFE = ":/?#[]@!$&'()*+,;=-._~%"
# What a header may hold as it is: printable ASCII but for the blank, the double quote and the percent sign.
_HEADER_SAFE = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}\Z")


def attributes(record: Record, epoch: str) -> dict[str, Any]:
    """The context attributes of an event, in their order. The record's bytes must decode."""
    event = record.event
    assert event is not None
    found: dict[str, Any] = {
        "specversion": "1.0",
        "id": event.id,
        "source": quote(_text(event.source), safe=_URI_SAFE) or "callboard",
        "type": event.type,
        "subject": record.subject,
        "time": rfc3339(event.time),
        "datacontenttype": JSON,
        "sequence": f"{record.shard.generation:05d}{record.sequence:015d}",
        "callboardcursor": record.cursor(epoch),
    }
    if event.key and (key := _text(event.key)):
        found["partitionkey"] = key
    if event.cause and (cause := _text(event.cause)):
        found["causeid"] = cause
    if event.trace and _TRACEPARENT.match(event.trace):
        found["traceparent"] = event.trace
    if event.test:
        found["callboardtest"] = True
    if record.superseded:
        found["callboardconflated"] = record.superseded
    return found


def cloudevents(record: Record, epoch: str) -> bytes:
    """The event as one JSON object in UTF-8, without a line break. The record's bytes must decode."""
    made: bytes | None = record.encoded.get("cloudevents")
    if made is None:
        assert record.event is not None
        made = record.encoded["cloudevents"] = to_json({**attributes(record, epoch), "data": record.event.data})
    return made


def binary(record: Record, epoch: str, more: Mapping[str, str]) -> tuple[dict[str, str], bytes]:
    """The event as headers and its data as the body; `more` are further attributes. The record's bytes must decode."""
    assert record.event is not None
    found = {**attributes(record, epoch), **more}
    # It is the Content-Type.
    del found["datacontenttype"]
    return {f"ce-{name}": header_value(value) for name, value in found.items()}, to_json(record.event.data)


def header_value(value: object) -> str:
    """An attribute's value as a header has it, percent-encoded as the HTTP binding says."""
    text = ("false", "true")[value] if isinstance(value, bool) else str(value)
    return quote(text, safe=_HEADER_SAFE)


def _text(text: str) -> str:
    return _FORBIDDEN.sub("", text)


def notice_event(control: str, body: Body) -> bytes:
    """A notice, or an answer, as a CloudEvent."""
    made: dict[str, Any] = {
        "specversion": "1.0",
        "id": new_id(),
        "source": "callboard",
        "type": NOTICE + control,
        "time": rfc3339(time.time_ns()),
        "datacontenttype": JSON,
    }
    if cursor := body.get("cursor"):
        made["callboardcursor"] = cursor
    return to_json({**made, "data": body})


def _answered(found: Body) -> bytes:
    # What shows clients of the callback guide an event is said by the attributes.
    body = {name: value for name, value in found.items() if name not in ("control", "event_type", "data")}
    return notice_event(found["control"], body)


def _told(_state: Any, control: str, body: Body) -> Sequence[bytes]:
    return (notice_event(control, body),) if control in ESSENTIAL else ()


def _told_all(_state: Any, control: str, body: Body) -> Sequence[bytes]:
    return (notice_event(control, body),)


def heard(raw: str | bytes) -> Any:
    """What a client says in a CloudEvent of the type `callboard.<control>`, as an object with `control`. Raises BadEvent."""
    said = from_json(raw)
    if not isinstance(said, dict) or said.get("specversion") != "1.0":
        raise BadEvent("a message must be a CloudEvent")
    kind, data = said.get("type"), said.get("data")
    control = kind.removeprefix(NOTICE) if isinstance(kind, str) and kind.startswith(NOTICE) else None
    return {**(data if isinstance(data, dict) else {}), "control": control}


CLOUDEVENTS = SharedDialect(name="cloudevents", encode=cloudevents, for_sessions=True, tells_period=True)
# That of a WebSocket of the subprotocol.
CLOUDEVENTS_SOCKET = SharedDialect(
    name="cloudevents-socket",
    encode=cloudevents,
    messages=_told,
    controls=_told_all,
    hears=heard,
    answers=_answered,
    tells_period=True,
)
# Another form of the post; where there is none, as on a stream, there is only the one.
CLOUDEVENTS_BINARY = SharedDialect(name="cloudevents-binary", encode=cloudevents, for_sessions=True)
