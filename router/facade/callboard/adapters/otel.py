"""Reports spans of OpenTelemetry."""

from router.sdk.adapters.otel import RunSpanProcessor

__all__ = ["RunSpanProcessor"]
