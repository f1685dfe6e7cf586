"""Writes the event types of the catalogue in a language, to a file or to the terminal."""

from __future__ import annotations

import sys
from pathlib import Path

from ops.types.python import python
from ops.types.typescript import typescript
from router.catalogue import all_types

LANGUAGES = {"typescript": typescript, "python": python}


def run_types(language: str, out: Path | None) -> int:
    """Writes the types; returns the exit code. Raises OSError for a file that cannot be written."""
    text = LANGUAGES[language](all_types())
    if out is None:
        sys.stdout.write(text)
    else:
        out.write_text(text, encoding="utf-8")
        print(f"{len(all_types())} event types written to {out}", file=sys.stderr)
    return 0
