"""This file is where it is said what a check found: one line, a verdict, and how to mend it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ops.rollcall import Answer
from router.codec import from_json
from router.errors import BadEvent

OK, WARN, FAIL, INFO = "ok", "warn", "fail", "info"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    check: str
    verdict: str
    found: str
    mend: str = ""


def body_of(answer: Answer) -> dict[str, Any]:
    """Reads a JSON object from an answer; an empty one where it holds none."""
    try:
        value = from_json(answer.body)
    except BadEvent:
        return {}
    return value if isinstance(value, dict) else {}
