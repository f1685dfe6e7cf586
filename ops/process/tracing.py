"""Sends spans to OpenTelemetry: over OTLP, from a thread of the SDK's own, and only where that is configured.

The SDK is an optional extra (`pip install 'callboard[otel]'`) and is not imported before an endpoint is set.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from router import tracing
from router.tracing import Value

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor

# Spans that wait to be sent; one more is dropped. 8,192 of them are some 8 MB.
MOST_WAITING = 8192
SEND_SECONDS = 2.0


@dataclass(frozen=True)
class TracingSettings:
    """Where spans go, and of what share of the traces that begin here; those that came with a decision keep it."""

    # The whole address, such as http://collector:4318/v1/traces. Without one nothing is recorded.
    endpoint: str | None = None
    share: float = 1.0
    service: str = "callboard"

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError("share needs a number from 0 to 1")
        if self.endpoint is not None and not self.endpoint.startswith(("http://", "https://")):
            raise ValueError("endpoint needs an http address, such as http://collector:4318/v1/traces")


@contextlib.contextmanager
def recording(settings: TracingSettings, role: str) -> Iterator[None]:
    """Records spans while the block runs, where an endpoint is set. Raises Mistakes where the SDK is not installed."""
    if settings.endpoint is None:
        yield
        return
    from ops.settings import Mistakes

    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise Mistakes(["CALLBOARD_OTEL_ENDPOINT needs OpenTelemetry: pip install 'callboard[otel]'"]) from None
    processor = BatchSpanProcessor(
        OTLPSpanExporter(endpoint=settings.endpoint, timeout=5),
        max_queue_size=MOST_WAITING,
        schedule_delay_millis=int(SEND_SECONDS * 1000),
    )
    tracing.recorder, tracing.share = OpenTelemetry(processor, settings.service, role), settings.share
    try:
        yield
    finally:
        tracing.recorder = None
        processor.shutdown()  # type: ignore[no-untyped-call]


class OpenTelemetry:
    """Makes spans of what is told, with the ids that the events carry."""

    def __init__(self, processor: SpanProcessor, service: str, role: str) -> None:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope

        self._processor = processor
        self._resource = Resource.create({"service.name": service, "service.instance.role": role})
        self._scope = InstrumentationScope("callboard")

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
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.trace import SpanKind, Status, StatusCode

        span = ReadableSpan(
            name=name,
            context=_context(own, remote=False),
            parent=_context(parent, remote=True) if tracing.trace_id(parent) else None,
            resource=self._resource,
            attributes=dict(attributes),
            kind=SpanKind[kind.upper()],
            status=Status(StatusCode.ERROR, fault) if fault else Status(StatusCode.UNSET),
            start_time=begun,
            # Clocks of two machines may differ; a span that ends before it begins is dropped by collectors.
            end_time=max(begun, ended),
            instrumentation_scope=self._scope,
        )
        self._processor.on_end(span)


def _context(traceparent: str | None, *, remote: bool) -> Any:
    from opentelemetry.trace import SpanContext, TraceFlags

    assert traceparent is not None
    _, trace, span, flags = traceparent.split("-")
    return SpanContext(int(trace, 16), int(span, 16), remote, TraceFlags(int(flags, 16)))
