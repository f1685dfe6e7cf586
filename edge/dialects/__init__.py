"""Dialects: pure functions between stored events and the shapes that clients expect."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from edge.dialects.callback import callback
from edge.dialects.cloudevents import cloudevents
from router.record import Record

Dialect = Callable[[Record, str], bytes]
"""Encodes one record (of the given epoch) as JSON text; keeps what it made in `record.encoded`."""

DIALECTS: Mapping[str, Dialect] = {
    "callback": callback,
    "cloudevents": cloudevents,
    # Another form of the post; where there is none, as on a stream, there is only the one.
    "cloudevents-binary": cloudevents,
}
