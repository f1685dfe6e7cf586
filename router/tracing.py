"""Traces an event across processes: W3C trace context, spans, and ids bound to log lines.

An event carries its `traceparent`. Each step that handles an event records a span under
it. Without a recorder (`recorder` is None unless OpenTelemetry is installed and configured) that costs a comparison.
`ops/process/tracing.py` sets the recorder.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import time
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Protocol

Value = str | int | float | bool

_PARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})\Z")
_EMPTY: Mapping[str, str] = {}


class Recorder(Protocol):
    """Records spans, such as an exporter of OpenTelemetry."""

    def record(
        self,
        name: str,
        kind: str,
        parent: str | None,
        own: str,
        begun: int,
        ended: int,
        attributes: Mapping[str, Value],
        fault: str | None,
    ) -> None:
        """Keeps one span: `own` is its traceparent, times are ns since the epoch. Never blocks, never raises."""


recorder: Recorder | None = None
# What share of the traces that begin here are recorded; those that came with a decision keep it.
share = 1.0

_bound: ContextVar[Mapping[str, str]] = ContextVar("bound", default=_EMPTY)


def bound() -> Mapping[str, str]:
    """The ids that the work in hand is bound to."""
    return _bound.get()


@contextlib.contextmanager
def bind(**ids: str | None) -> Iterator[None]:
    """Binds the work inside to ids that its log lines then carry: `event`, `session`, `trace`."""
    token = _bound.set({**_bound.get(), **{name: value for name, value in ids.items() if value}})
    try:
        yield
    finally:
        _bound.reset(token)


def trace_id(parent: str | None) -> str | None:
    """The trace that a traceparent belongs to; None where it is none."""
    found = _PARENT.match(parent) if parent else None
    return found[1] if found else None


def sampled(parent: str | None) -> bool:
    """Whether spans under this parent are to be recorded; without one that is so by the share."""
    if parent is None:
        return False
    found = _PARENT.match(parent)
    return bool(found and int(found[3], 16) & 1)


def begin(parent: str | None = None) -> str:
    """Makes a traceparent: a child of the given one, or a new trace, recorded by the share."""
    found = _PARENT.match(parent) if parent else None
    span = secrets.token_hex(8)
    if found:
        return f"00-{found[1]}-{span}-{found[3]}"
    flags = "01" if recorder is not None and secrets.randbelow(1_000_000) < share * 1_000_000 else "00"
    return f"00-{secrets.token_hex(16)}-{span}-{flags}"


def tell(
    name: str,
    kind: str,
    parent: str | None,
    own: str,
    begun: int,
    fault: str | None = None,
    **attributes: Value,
) -> None:
    """Tells the recorder of a span that ends now, where there is one and the trace is recorded."""
    if recorder is not None and sampled(own):
        recorder.record(name, kind, parent, own, begun, time.time_ns(), attributes, fault)
