"""Dialects: the conversations that clients expect, as values. This names those that a session may choose."""

from __future__ import annotations

from collections.abc import Mapping

from edge.dialects.callback import CALLBACK
from edge.dialects.cloudevents import CLOUDEVENTS, CLOUDEVENTS_BINARY
from edge.dialects.dialect import SharedDialect

DIALECTS: Mapping[str, SharedDialect] = {
    dialect.name: dialect for dialect in (CALLBACK, CLOUDEVENTS, CLOUDEVENTS_BINARY)
}
