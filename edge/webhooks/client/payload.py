"""This file is where events become the body of a post, in their session's dialect, with the headers that go with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from edge.dialects import DIALECTS
from edge.dialects.callback import callback
from edge.dialects.cloudevents import BATCHED, JSON, STRUCTURED, binary, cloudevents
from router.codec import to_json
from router.record import Record


class Posting(NamedTuple):
    """What is posted."""

    body: bytes
    content_type: str = JSON
    headers: Mapping[str, str] = {}


def posting(records: Sequence[Record], epoch: str, session_id: str, dialect: str, batch: bool) -> Posting:
    """Writes one event, or several as a batch, for one session. The records' bytes must decode."""
    if dialect in ("cloudevents", "cloudevents-binary"):
        if not batch and dialect == "cloudevents-binary":
            headers, body = binary(records[0], epoch, {"callboardsession": session_id})
            return Posting(body, JSON, headers)
        # An attribute's name has no underscore.
        own = b',"callboardsession":' + to_json(session_id) + b"}"
        bodies = [cloudevents(record, epoch)[:-1] + own for record in records]
        return Posting(b"[" + b",".join(bodies) + b"]", BATCHED) if batch else Posting(bodies[0], STRUCTURED)
    encode = DIALECTS.get(dialect, callback)
    # A session's id is letters and digits.
    own = b',"session_id":"%b"}' % session_id.encode()
    if not batch:
        return Posting(encode(records[0], epoch)[:-1] + own)
    bodies = [encode(record, epoch)[:-1] + own for record in records]
    return Posting(b"[" + b",".join(bodies) + b"]")
