"""Says which run the adapters report to."""

from router.sdk.adapters.context import reporting_to

__all__ = ["reporting_to"]
