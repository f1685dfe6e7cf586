"""Reports records of logging."""

from router.sdk.adapters.logging import RunLogHandler

__all__ = ["RunLogHandler"]
