"""Reports the bars of tqdm."""

from router.sdk.adapters.tqdm import reporting_bars

__all__ = ["reporting_bars"]
