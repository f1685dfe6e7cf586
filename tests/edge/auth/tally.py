"""Counts the hostile inputs that tests try, by kind, and checks that no answer is a fault or leaks internals.

`pytest -s -p no:xdist tests/edge/auth tests/edge/test_schemathesis.py` prints the table at its end.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

# What no answer may show: faults of ours, paths, the tests' secret, how things are named inside.
_LEAK = re.compile(
    r"Traceback|File \"|site-packages|a secret for tests only|\$KV\.|nats://|msgspec\.|object at 0x|"
    + re.escape(str(Path(__file__).parents[3]))
)


@dataclass
class Row:
    inputs: int = 0
    faults: int = 0
    leaks: int = 0


_rows: dict[str, Row] = defaultdict(Row)


def tried(kind: str, status: int = 0, answer: str = "") -> None:
    """Counts one input, and holds what it was answered with against what no answer may be. Raises AssertionError."""
    row = _rows[kind]
    row.inputs += 1
    # 503 says that the store is away, or that an issuer's keys are: it is meant.
    faulty, leaky = status >= 500 and status != 503, _LEAK.search(answer)
    row.faults += faulty
    row.leaks += bool(leaky)
    assert not faulty, (kind, status, answer)
    assert not leaky, (kind, answer)


def table() -> str:
    """All that was counted in this process."""
    lines = [f"{'kind':<44}{'inputs':>8}{'5xx':>6}{'leaks':>7}"]
    rows = [
        *sorted(_rows.items()),
        ("all", Row(*(sum(column) for column in zip(*map(_columns, _rows.values()), strict=True)))),
    ]
    lines += [f"{kind:<44}{row.inputs:>8}{row.faults:>6}{row.leaks:>7}" for kind, row in rows]
    return "\n".join(lines)


def _columns(row: Row) -> tuple[int, int, int]:
    return row.inputs, row.faults, row.leaks
