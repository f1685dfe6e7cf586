"""Prints measurements as one table, or as JSON for scripts."""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ops import interpreter


@dataclass(frozen=True)
class ReportRow:
    """One thing that was measured: a figure of each run, and who was how busy meanwhile. No runs: it was left out, see `note`."""

    part: str
    what: str
    unit: str = ""
    runs: Sequence[float] = ()
    # What one CPU-second of the edge brings; of each run.
    per_cpu: Sequence[float] = ()
    # Share of one core, by process: the median of the runs.
    busy: Mapping[str, float] = field(default_factory=dict)
    note: str = ""
    # Where servers are compared: whose figure it is, and of what.
    by: str = ""
    of: str = ""

    @property
    def figure(self) -> float | None:
        return statistics.median(self.runs) if self.runs else None


def number(value: float) -> str:
    """Three digits that say something, and commas between thousands."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def middle(runs: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """The median of each value over runs that have the same names."""
    known = list(runs)
    return {name: statistics.median(run[name] for run in known) for name in known[0]}


COLUMNS = f"{'':60}{'median':>14} {'':10}{'lowest–highest':>22}{'per edge CPU-s':>16}  busy, share of a core"


def head() -> str:
    """What comes before the table: the Python that measured, and the columns."""
    return f"{interpreter.name()}\n\n{COLUMNS}"


def line(row: ReportRow) -> str:
    """One row of the table."""
    figure = row.figure
    if figure is None:
        return f"{row.what:60}{'–':>14}  {row.note}"
    span = f"{number(min(row.runs))}–{number(max(row.runs))}" if len(row.runs) > 1 else ""
    cost = number(statistics.median(row.per_cpu)) if row.per_cpu else ""
    busy = " ".join(f"{name} {share:.0%}" for name, share in row.busy.items())
    return "  ".join(
        (f"{row.what:60}{number(figure):>14} {row.unit:10}{span:>22}{cost:>16}", *filter(None, (busy, row.note)))
    )


def matrix(rows: Iterable[ReportRow]) -> str:
    """The rows that compare servers as a table in Markdown, one server a column; empty where none do."""
    compared = [row for row in rows if row.by and row.figure is not None]
    servers = list(dict.fromkeys(row.by for row in compared))
    figures: dict[str, dict[str, str]] = {}
    for row in compared:
        assert row.figure is not None
        said = f"{number(row.figure)} ({row.note})" if row.note else number(row.figure)
        figures.setdefault(f"{row.of}, {row.unit}", {})[row.by] = said
    if not servers:
        return ""
    lines = [f"| | {' | '.join(servers)} |", "|---" * (len(servers) + 1) + "|"]
    for of, found in figures.items():
        lines.append(f"| {of} | {' | '.join(found.get(each, '–') for each in servers)} |")
    return "\n".join(lines)


def as_json(rows: Iterable[ReportRow]) -> str:
    """The rows with the figure of each run, and what Python they were measured with."""
    python = interpreter.name()
    found = [{**dataclasses.asdict(row), "median": row.figure, "python": python} for row in rows]
    return json.dumps(found, ensure_ascii=False, indent=1)
