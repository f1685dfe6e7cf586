"""Builds the payload of an attempt: the body with one event or a batch, in the dialect of its session, and its headers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from edge.dialects.callback import CALLBACK
from edge.dialects.cloudevents import BATCHED, JSON, STRUCTURED, binary, cloudevents
from edge.dialects.table import SESSION_DIALECTS
from router.codec import to_json
from router.record import Record


class Payload(NamedTuple):
    """A body, and the headers that describe it."""

    body: bytes
    content_type: str = JSON
    headers: Mapping[str, str] = {}


def build_payload(records: Sequence[Record], epoch: str, session_id: str, dialect: str, batch: bool) -> Payload:
    """Writes one event, or several as a batch, for one session. The records' bytes must decode."""
    if dialect in ("cloudevents", "cloudevents-binary"):
        if not batch and dialect == "cloudevents-binary":
            headers, body = binary(records[0], epoch, {"callboardsession": session_id})
            return Payload(body, JSON, headers)
        # An attribute's name has no underscore.
        own = b',"callboardsession":' + to_json(session_id) + b"}"
        bodies = [cloudevents(record, epoch)[:-1] + own for record in records]
        return Payload(b"[" + b",".join(bodies) + b"]", BATCHED) if batch else Payload(bodies[0], STRUCTURED)
    encode = SESSION_DIALECTS.get(dialect, CALLBACK).encode
    # A session's id is letters and digits.
    own = b',"session_id":"%b"}' % session_id.encode()
    if not batch:
        return Payload(encode(records[0], epoch)[:-1] + own)
    bodies = [encode(record, epoch)[:-1] + own for record in records]
    return Payload(b"[" + b",".join(bodies) + b"]")
