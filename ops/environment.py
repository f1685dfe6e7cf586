"""Reads what the environment says of the terminal; all that Callboard is set by is read in `ops/settings.py`."""

from __future__ import annotations

import os


def colour_wanted() -> bool:
    """Says whether the user takes colours on a terminal (NO_COLOR, TERM=dumb)."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
