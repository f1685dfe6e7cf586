"""Words an exception for those who read a run: the last line of its traceback, without what looks like a secret."""

from __future__ import annotations

import os
import re

# Characters of the line.
MAX_LINE = 500
STARS = "***"
# Shorter values are words such as `1` and `true`, which stand in other texts by chance.
_MIN_SECRET = 8
_SECRET_NAME = re.compile(r"key|token|secret|passw|credential|auth|dsn|url", re.IGNORECASE)
_SECRETS = (
    # What stands between a scheme and the host of an address.
    re.compile(r"(?<=://)[^\s/@]+(?=@)"),
    re.compile(r"(?i)\b(?:bearer|basic)\s+[\w.~+/=-]{8,}"),
    # A JWT, and keys as providers make them.
    re.compile(r"\beyJ[\w-]{5,}\.[\w-]{5,}\.[\w-]*"),
    re.compile(r"\b(?:sk|pk|rk|xox[abprs]|gh[pousr]|whsec|whsk|AKIA|AIza|hf|glpat)[-_]?[\w-]{12,}"),
    re.compile(r"(?i)(?<=[\"'])[^\"']{4,}(?=[\"']\s*\(?(?:password|secret|api.?key))"),
    re.compile(r"(?i)\b((?:[\w-]*(?:api[_-]?key|password|passwd|secret|token))[\"']?\s*[=:]\s*[\"']?)[^\s\"',;&)]+"),
)


def line_of(fault: BaseException) -> str:
    """The last line of the exception's traceback, such as `ValueError: no such row`; the first of several that it may have."""
    said = str(fault).encode(errors="replace").decode().strip().partition("\n")[0]
    return without_secrets(f"{type(fault).__qualname__}: {said}" if said else type(fault).__qualname__)[:MAX_LINE]


def without_secrets(text: str) -> str:
    """Stars what looks like a secret, and what this process was given as one in its environment."""
    for name, value in os.environ.items():
        if len(value) >= _MIN_SECRET and _SECRET_NAME.search(name) and value in text:
            text = text.replace(value, STARS)
    for pattern in _SECRETS:
        text = pattern.sub(lambda found: (found[1] if found.re.groups else "") + STARS, text)
    return text
